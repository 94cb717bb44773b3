// The address is the place: #/ask/3?note=garden/garlic.md&collection=garden&first=3&last=5. Back
// and forward work because every screen and every opened note is an address.

import { PLACES } from "/places.js";

export function place(hash = location.hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [screen, ...rest] = path.split("/").map(decodeURIComponent);
  return {
    screen: screen in PLACES ? screen : "ask",
    rest,
    query: new URLSearchParams(query),
  };
}

export function noteAddress({ collection, path, first_line: first, last_line: last }) {
  const query = new URLSearchParams({ collection, note: path });
  if (first) query.set("first", first);
  if (last) query.set("last", last);
  return `${location.hash.split("?")[0] || "#/ask"}?${query}`;
}

// Closes an opened note: back to where one was, or, on a link opened afresh, the screen alone.
export function leaveNote(cameFromHere) {
  if (cameFromHere) history.back();
  else location.replace(location.hash.split("?")[0] || "#/ask");
}

export const collectionAddress = (name) => `#/notes/${encodeURIComponent(name)}`;
