// Notes: collections beside, search and the notes of the chosen collection in the column.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import { count } from "/words.js";
import "/elements/add-folder.js";
import "/elements/collection-card.js";
import "/elements/note-list.js";
import "/elements/note-search.js";

class NotesScreen extends HTMLElement {
  connectedCallback() {
    if (this.cards) return;
    const { room } = this;
    this.heading = make("h1", { tabindex: "-1" }, "Notes");
    this.cards = make("ul", { class: "cards" });
    this.search = make("note-search", { room });
    this.list = make("note-list");
    this.listHeading = make("h2", { id: "list-heading" });
    this.listState = make("p", { class: "note", role: "status" });
    clear(
      this,
      make(
        "section",
        { class: "column", "aria-label": "Search and notes" },
        this.heading,
        this.search,
        make(
          "section",
          { class: "notes-of", "aria-labelledby": "list-heading" },
          this.listHeading,
          this.listState,
          this.list,
        ),
      ),
      make(
        "section",
        { class: "beside", "aria-label": "Collections" },
        make("h2", { class: "small-heading" }, "Collections"),
        this.cards,
        make("add-folder", { room }),
      ),
    );
    room.addEventListener("change", () => this.render());
    this.render();
  }

  follow([name]) {
    this.wanted = name;
    this.render();
  }

  get chosen() {
    const { collections } = this.room;
    return (
      collections.find((collection) => collection.name === this.wanted) ??
      (this.wanted ? null : collections[0])
    );
  }

  render() {
    const { collections, error } = this.room;
    // Cards stay while the collections stay the same: one of them may be syncing.
    const key = JSON.stringify(collections);
    if (key !== this.key) {
      this.key = key;
      const known = new Map([...this.cards.children].map((item) => [item.dataset.name, item]));
      clear(
        this.cards,
        collections.map((collection) => {
          const item =
            known.get(collection.name) ??
            make(
              "li",
              { "data-name": collection.name },
              make("collection-card", { room: this.room, collection }),
            );
          item.firstChild.update?.(collection);
          return item;
        }),
      );
      this.shown = undefined;
    }
    for (const item of this.cards.children)
      item.firstChild.setCurrent(item.dataset.name === this.chosen?.name);
    this.search.hidden = !collections.length;
    if (error) this.listState.textContent = error.message;
    else if (!collections.length) this.sayEmpty();
    else if (!this.chosen)
      this.listState.textContent = `There is no collection named ${this.wanted}.`;
    else this.fill();
  }

  sayEmpty() {
    this.listHeading.textContent = "No notes yet";
    clear(
      this.listState,
      "Add a folder of your own here, or run ",
      make("code", {}, "tramontane demo"),
      " for the sample notes.",
    );
  }

  async fill() {
    const { name, num_notes: total } = this.chosen;
    if (this.shown === name) return;
    this.shown = name;
    this.listHeading.textContent = name;
    this.listState.textContent = `${count(total, "note")}…`;
    try {
      const { notes } = await get("/api/notes", { collection: name });
      if (this.shown !== name) return;
      this.listState.textContent = count(notes.length, "note");
      this.list.show(notes);
    } catch (error) {
      this.listState.textContent = error.message;
    }
  }

  takeFocus() {
    this.heading.focus();
  }

  focusBox() {
    this.search.focusBox();
  }
}

customElements.define("notes-screen", NotesScreen);
