// A note as the library read it, its cited lines marked, over the screen it was opened from.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import { count, lines } from "/words.js";
import { leaveNote } from "/router.js";

const LINES_PER_BLOCK = 100;

class NoteDialog extends HTMLElement {
  connectedCallback() {
    this.title_ = make("h2", { id: "note-title" });
    this.place = make("p", { class: "place" });
    this.changed = make(
      "p",
      { class: "changed", hidden: true },
      "This note has changed since. Sync its collection to read it anew.",
    );
    this.text = make("div", {
      class: "note-text",
      role: "region",
      tabindex: "0",
      "aria-labelledby": "note-title",
    });
    this.dialog = make(
      "dialog",
      {
        class: "panel",
        "aria-labelledby": "note-title",
        onclose: () => this.leave(),
        onclick: (event) => event.target === this.dialog && this.dialog.close(),
      },
      make(
        "div",
        { class: "panel-body" },
        make(
          "header",
          {},
          make("div", {}, this.title_, this.place),
          make(
            "button",
            { type: "button", class: "quiet", onclick: () => this.dialog.close() },
            "Close",
          ),
        ),
        this.changed,
        this.text,
      ),
    );
    clear(this, this.dialog);
    addEventListener("hashchange", (event) => {
      this.cameFrom = new URL(event.oldURL).hash;
    });
  }

  async follow(query) {
    const path = query.get("note");
    if (!path) {
      this.address = null;
      if (this.dialog.open) this.dialog.close();
      return;
    }
    const address = location.hash;
    if (address === this.address) return;
    this.address = address;
    this.cameFromHere = this.cameFrom !== undefined;
    const collection = query.get("collection") ?? "";
    const first = Number(query.get("first")) || 0;
    const last = Number(query.get("last")) || first;
    clear(this.title_, path);
    this.place.textContent = first ? `${collection} · ${lines(first, last)}` : collection;
    this.changed.hidden = true;
    clear(this.text, make("p", { class: "note" }, "Opening…"));
    if (!this.dialog.open) this.dialog.showModal();
    try {
      const note = await get("/api/note", { collection, path });
      if (this.address !== address) return;
      this.fill(note, first, last);
    } catch (error) {
      clear(this.text, make("p", { class: "error", role: "alert" }, error.message));
    }
  }

  fill(note, first, last) {
    clear(this.title_, note.title || note.path);
    const where = first ? lines(first, last) : count(note.num_lines, "line");
    clear(this.place, note.collection, " / ", note.path, ` · ${where}`);
    this.changed.hidden = !note.has_changed;
    const texts = note.text.replace(/\n$/, "").split("\n");
    const blocks = [];
    for (let start = 0; start < texts.length; start += LINES_PER_BLOCK) {
      const part = texts.slice(start, start + LINES_PER_BLOCK);
      blocks.push(
        make(
          "div",
          { class: "lines" },
          part.map((text, at) => line(text, start + at + 1, first, last)),
        ),
      );
    }
    clear(this.text, blocks);
    this.text.scrollTop = 0;
    const cited = this.text.querySelector("mark");
    cited?.scrollIntoView({ block: "center" });
    this.text.focus({ preventScroll: true });
  }

  // Escape, the button and the backdrop all end here; the address follows.
  leave() {
    if (!this.address) return;
    this.address = null;
    leaveNote(this.cameFromHere);
  }
}

function line(text, number, first, last) {
  const isCited = first && number >= first && number <= last;
  return make(
    "div",
    { class: isCited ? "line is-cited" : "line", "data-number": number },
    isCited ? make("mark", {}, text || " ") : text,
  );
}

customElements.define("note-dialog", NoteDialog);
