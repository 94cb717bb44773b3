// Asks the server; every error becomes a ServerError whose message is written for the reader.

export class ServerError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

const GONE =
  "The server doesn't answer. Your notes are safe; start it again with “tramontane serve” " +
  "and reload this page.";

async function send(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("Gone", GONE);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ServerError(
    body?.error?.kind ?? "Unknown",
    body?.error?.message ?? `The server answered ${response.status}; its log may say why.`,
  );
}

export async function get(path, query = {}) {
  const search = new URLSearchParams(query).toString();
  return (await send(search ? `${path}?${search}` : path)).json();
}

const posted = (body, signal) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export async function post(path, body = {}) {
  return (await send(path, posted(body))).json();
}

// Posts a file's own bytes.
export async function sendBytes(path, query, bytes, signal) {
  const headers = { "content-type": "application/octet-stream" };
  const options = { method: "POST", headers, body: bytes, signal };
  return (await send(`${path}?${new URLSearchParams(query)}`, options)).json();
}

// Posts, and hands the answer to the browser as a file.
export async function download(path, body, name) {
  const address = URL.createObjectURL(await (await send(path, posted(body))).blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  URL.revokeObjectURL(address);
}

// Yields [name, data] for each event of a stream; ends quietly when `signal` aborts.
export async function* events(path, body, signal) {
  let response;
  try {
    response = await send(path, posted(body, signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    throw error;
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      held += value;
      const blocks = held.split(/\r?\n\r?\n/);
      held = blocks.pop();
      for (const block of blocks) {
        const event = readBlock(block);
        if (!event) continue;
        if (event[0] === "error") throw new ServerError(event[1].kind, event[1].message);
        yield event;
      }
    }
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof ServerError) throw error;
    throw new ServerError("Gone", GONE);
  } finally {
    reader.cancel().catch(() => undefined);
  }
}

function readBlock(block) {
  let name = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? [name, JSON.parse(data.join("\n"))] : null;
}
