// The notes of a collection. Only the rows in view exist, so that ten thousand scroll as ten do.

import { clear, make } from "/dom.js";
import { count } from "/words.js";
import { noteAddress } from "/router.js";

const ROW_PIXELS = 56;
const ROWS_BEYOND = 8;

class NoteList extends HTMLElement {
  connectedCallback() {
    if (this.rows) return;
    this.rows = make("ul", { class: "rows", onkeydown: (event) => this.press(event) });
    this.window = make("div", { class: "window", onscroll: () => this.render() }, this.rows);
    clear(this, this.window);
    this.shownRows = new Map();
    this.resized = new ResizeObserver(() => this.render());
    this.resized.observe(this.window);
  }

  show(notes) {
    this.notes = [...notes].sort((one, other) => one.path.localeCompare(other.path));
    this.shownRows.clear();
    clear(this.rows);
    this.rows.style.height = `${this.notes.length * ROW_PIXELS}px`;
    this.window.scrollTop = 0;
    this.render();
  }

  render() {
    if (!this.notes) return;
    const first = Math.max(0, Math.floor(this.window.scrollTop / ROW_PIXELS) - ROWS_BEYOND);
    const inView = Math.ceil(this.window.clientHeight / ROW_PIXELS) + 2 * ROWS_BEYOND;
    const last = Math.min(this.notes.length, first + inView);
    for (const [at, row] of this.shownRows) {
      if ((at < first || at >= last) && !row.contains(document.activeElement)) {
        row.remove();
        this.shownRows.delete(at);
      }
    }
    for (let at = first; at < last; at += 1) {
      if (this.shownRows.has(at)) continue;
      const row = this.row(at);
      this.shownRows.set(at, row);
      // In order, so that the Tab key and screen readers meet the rows as the eye does.
      const next = [...this.shownRows.keys()]
        .filter((other) => other > at)
        .sort((a, b) => a - b)[0];
      this.rows.insertBefore(row, next === undefined ? null : this.shownRows.get(next));
    }
  }

  row(at) {
    const note = this.notes[at];
    const remarks = [
      count(note.num_lines, "line"),
      !note.may_train && "not learnt from",
      !note.may_share && "not shared",
    ].filter(Boolean);
    const row = make(
      "li",
      { "aria-setsize": this.notes.length, "aria-posinset": at + 1, "data-at": at },
      make(
        "a",
        { href: noteAddress(note) },
        make("span", { class: "title" }, note.title || note.path),
      ),
      make("span", { class: "place" }, note.path, ` · ${remarks.join(" · ")}`),
    );
    row.style.transform = `translateY(${at * ROW_PIXELS}px)`;
    return row;
  }

  press(event) {
    const at = Number(event.target.closest("li")?.dataset.at);
    const end = this.notes.length - 1;
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: end }[event.key];
    if (next === undefined || next < 0 || next > end) return;
    event.preventDefault();
    const top = next * ROW_PIXELS;
    const bottom = top + ROW_PIXELS - this.window.clientHeight;
    if (top < this.window.scrollTop) this.window.scrollTop = top;
    else if (bottom > this.window.scrollTop) this.window.scrollTop = bottom;
    this.render();
    this.shownRows.get(next)?.querySelector("a").focus({ preventScroll: true });
  }
}

customElements.define("note-list", NoteList);
