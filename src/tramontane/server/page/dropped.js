// Folders that are dropped or chosen. A browser hides where they lie, unless an address is dragged
// as text; so their files are read here and sent to the server, which keeps them.

import { post, sendBytes, ServerError } from "/api.js";

const SENT_AT_ONCE = 4;
const MOST_SEEN = 200000;
const HERE = ["localhost", "127.0.0.1", "[::1]"];

// The path of what is dropped where the browser tells it, and it is one of the server's machine.
export function pathOf(given) {
  const address = given.getData("text/uri-list").split(/\r?\n/)[0] ?? "";
  const text = given.getData("text/plain").trim();
  const path = address.startsWith("file://") ? decodeURIComponent(new URL(address).pathname) : text;
  return HERE.includes(location.hostname) && path.startsWith("/") ? path : "";
}

// The one folder that is dropped, or a reason why not. It is handed out only during the event.
export function droppedFolder(given) {
  const entries = [...given.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.())
    .filter(Boolean);
  if (!entries.length) return { fault: "Nothing came that can be read; type its path instead." };
  if (entries.length > 1) return { fault: "Drop one folder at a time." };
  if (!entries[0].isDirectory) {
    return { fault: `${entries[0].name} is a file; drop the folder that holds your notes.` };
  }
  return { name: entries[0].name, read: (may, signal) => readBelow(entries[0], may, signal) };
}

// What an <input webkitdirectory> holds; an empty folder gives no file, and so no name.
export function chosenFolder(files) {
  const [first] = files;
  if (!first) return { fault: "That folder holds no file." };
  return { name: first.webkitRelativePath.split("/")[0], read: (may) => readChosen(files, may) };
}

// What is found below a folder: files to send, and what is left out with why.
class Found {
  files = [];
  skipped = new Map();
  numBytes = 0;
  numSeen = 0;

  constructor(may) {
    this.may = may;
    this.endings = new Set(may.endings);
  }

  see() {
    this.numSeen += 1;
    if (this.numSeen > MOST_SEEN) throw tooMuch(`${MOST_SEEN.toLocaleString("en")} files`);
  }

  // Why a name is left out, whatever is in it; empty where it isn't.
  whyNot(name, isFolder) {
    if (name.startsWith(".")) return !isFolder && name === this.may.ignore_file ? "" : "hidden";
    if (isFolder || this.endings.has(endingOf(name))) return "";
    return `not a kind of note: ${endingOf(name)} files are not read`;
  }

  add(path, file) {
    this.numBytes += file.size;
    if (this.files.length === this.may.most_files) {
      throw tooMuch(`${this.may.most_files.toLocaleString("en")} notes`);
    }
    if (this.numBytes > this.may.most_bytes) throw tooMuch(`${this.may.most_bytes >> 30} GB`);
    this.files.push({ path, file });
  }
}

const tooMuch = (bound) =>
  new Error(
    `That folder holds more than the ${bound} that a copy may have. Type its path instead: ` +
      "then nothing is copied.",
  );

// As the server's readers see it: what follows the last full stop, if something is before it.
function endingOf(name) {
  const at = name.lastIndexOf(".");
  return at > 0 ? name.slice(at).toLowerCase() : "";
}

async function readBelow(top, may, signal) {
  const found = new Found(may);
  const open = [{ entry: top, path: "", depth: 0 }];
  while (open.length) {
    const { entry, path, depth } = open.pop();
    for (const inner of await entriesOf(entry, path, found)) {
      signal.throwIfAborted();
      found.see();
      const at = path + inner.name;
      const reason = found.whyNot(inner.name, inner.isDirectory);
      if (reason) found.skipped.set(at, reason);
      else if (!inner.isDirectory) await addFile(inner, at, found);
      else if (depth === may.most_folders)
        found.skipped.set(at, `nested deeper than ${depth} folders`);
      else open.push({ entry: inner, path: `${at}/`, depth: depth + 1 });
    }
  }
  return found;
}

// A reader hands out some entries at a time, and none at the end.
async function entriesOf(folder, path, found) {
  const reader = folder.createReader();
  const entries = [];
  try {
    for (;;) {
      const some = await new Promise((take, fail) => reader.readEntries(take, fail));
      if (!some.length) return entries;
      entries.push(...some);
    }
  } catch {
    found.skipped.set(path || folder.name, "cannot be read");
    return entries;
  }
}

async function addFile(entry, path, found) {
  let file;
  try {
    file = await new Promise((take, fail) => entry.file(take, fail));
  } catch {
    found.skipped.set(path, "cannot be read");
    return;
  }
  found.add(path, file);
}

function readChosen(files, may) {
  const found = new Found(may);
  for (const file of files) {
    found.see();
    const names = file.webkitRelativePath.split("/").slice(1);
    const name = names.at(-1);
    const hidden = names.slice(0, -1).findIndex((folder) => folder.startsWith("."));
    if (hidden >= 0) {
      found.skipped.set(names.slice(0, hidden + 1).join("/"), "hidden");
      continue;
    }
    const reason = found.whyNot(name, false);
    if (reason) found.skipped.set(names.join("/"), reason);
    else found.add(names.join("/"), file);
  }
  return found;
}

// Sends what was found as the copy of a name; returns the copy, and what was left out.
// `tell` is called with how many files and bytes have gone.
export async function sendCopy(name, found, signal, tell) {
  const { id } = await post("/api/dropped", { name });
  const sending = { id, found, signal, tell, left: [...found.files], numFiles: 0, numBytes: 0 };
  const skipped = [...found.skipped].map(([path, reason]) => `${path}: ${reason}`);
  try {
    await Promise.all(Array.from({ length: SENT_AT_ONCE }, () => sendFiles(sending, skipped)));
    signal.throwIfAborted();
  } catch (error) {
    sending.left = [];
    await post(`/api/dropped/${id}/cancel`).catch(() => undefined);
    throw error;
  }
  const { copy, skipped: later } = await post(`/api/dropped/${id}/done`);
  return { copy, skipped: [...skipped, ...later.map(({ path, reason }) => `${path}: ${reason}`)] };
}

async function sendFiles(sending, skipped) {
  for (let next = sending.left.pop(); next; next = sending.left.pop()) {
    const fault = await sendFile(next, sending);
    if (fault) skipped.push(fault);
    sending.numFiles += 1;
    sending.tell(sending.numFiles, sending.numBytes);
  }
}

// Returns why this file isn't kept, if so; whatever ends the whole is thrown.
async function sendFile({ path, file }, sending) {
  const { piece_bytes: length } = sending.found.may;
  let at = 0;
  do {
    sending.signal.throwIfAborted();
    const bytes = await file
      .slice(at, at + length)
      .arrayBuffer()
      .catch(() => null);
    if (!bytes) return `${path}: cannot be read, or changed meanwhile`;
    try {
      const query = { path, at, size: file.size };
      await sendBytes(`/api/dropped/${sending.id}/file`, query, bytes, sending.signal);
    } catch (error) {
      if (error instanceof ServerError && error.kind === "NotesError") return error.message;
      throw error;
    }
    at += length;
    sending.numBytes += bytes.byteLength;
    sending.tell(sending.numFiles, sending.numBytes);
  } while (at < file.size);
  return "";
}

// Has an element take what is dropped on it; `act` is called with the event's DataTransfer.
export function takeDrops(element, act) {
  const mark = (isOver) => element.toggleAttribute("data-over", isOver);
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  element.addEventListener("dragleave", (event) => {
    if (!element.contains(event.relatedTarget)) mark(false);
  });
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    act(event.dataTransfer);
  });
}
