// Searches the notes and shows each passage found, the words sought marked in it.

import { clear, make } from "/dom.js";
import { post } from "/api.js";
import { count, lines } from "/words.js";
import { noteAddress } from "/router.js";

class NoteSearch extends HTMLElement {
  connectedCallback() {
    if (this.field) return;
    this.field = make("input", {
      type: "search",
      id: "search-words",
      autocomplete: "off",
      placeholder: "Words, or a question",
      maxlength: 4000,
    });
    this.state = make("p", { class: "note", role: "status" });
    this.hits = make("ol", { class: "hits" });
    clear(
      this,
      make(
        "form",
        { role: "search", onsubmit: (event) => this.search(event) },
        make("label", { for: "search-words" }, "Search your notes"),
        make(
          "div",
          { class: "box" },
          this.field,
          make("button", { type: "submit", class: "primary" }, "Search"),
        ),
      ),
      this.state,
      this.hits,
    );
    this.field.addEventListener("search", () => this.field.value || this.reset());
  }

  focusBox() {
    this.field.focus();
  }

  reset() {
    this.state.textContent = "";
    clear(this.hits);
  }

  async search(event) {
    event.preventDefault();
    const words = this.field.value.trim();
    if (!words) return this.reset();
    this.state.textContent = "Searching…";
    const asked = (this.asked = {});
    try {
      const { hits } = await post("/api/search", { words });
      if (this.asked !== asked) return;
      this.state.textContent = hits.length
        ? `${count(hits.length, "passage")}, the nearest first`
        : "Nothing in your notes touches this.";
      clear(
        this.hits,
        hits.map((hit) => hitItem(hit, words)),
      );
    } catch (error) {
      clear(this.hits);
      this.state.textContent = error.message;
    }
  }
}

function hitItem(hit, words) {
  const place = lines(hit.first_line, hit.last_line);
  return make(
    "li",
    {},
    make(
      "h3",
      {},
      make(
        "a",
        { href: noteAddress(hit), "aria-label": `Open note ${hit.path} at ${place}` },
        hit.title || hit.path,
      ),
    ),
    make("p", { class: "place" }, hit.collection, " / ", hit.path, ` · ${place}`),
    make("p", { class: "passage" }, highlighted(hit.text, words)),
  );
}

const SHOWN_BEFORE = 160;

// Splits text so that words beginning like a sought word are marked; "apples" marks "apple". A
// first such word far down is shown from the beginning of its line on.
function highlighted(text, words) {
  const sought = words.match(/[\p{L}\p{N}]{3,}/gu) ?? [];
  if (!sought.length) return text;
  const begins = sought.map((word) => word.slice(0, Math.max(3, word.length - 2))).join("|");
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])((?:${begins})[\\p{L}\\p{N}]*)`, "giu");
  const first = text.search(pattern);
  const start = first > SHOWN_BEFORE ? text.lastIndexOf("\n", first) + 1 : 0;
  const parts = text.slice(start).split(pattern);
  return [start > 0 && "… ", ...parts.map((part, at) => (at % 2 ? make("mark", {}, part) : part))];
}

customElements.define("note-search", NoteSearch);
