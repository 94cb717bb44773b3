// Before the first question: what to do next, with the sample notes as the example.

import { clear, make } from "/dom.js";
import { count } from "/words.js";

class AskEmpty extends HTMLElement {
  connectedCallback() {
    const { room } = this;
    const { status } = room;
    const hasNotes = status && status.num_notes > 0;
    clear(
      this,
      make("h1", {}, "Ask your notes"),
      hasNotes
        ? make(
            "p",
            { class: "lead" },
            `${count(status.num_notes, "note")} in ${count(status.num_collections, "collection")} ` +
              "on this machine. Each answer shows the lines it rests on; what the notes don’t " +
              "hold, it says.",
          )
        : make(
            "p",
            { class: "lead" },
            "There are no notes here yet. ",
            make("a", { href: "#/notes" }, "Add a folder of your own"),
            ", or run ",
            make("code", {}, "tramontane demo"),
            " for the sample notes.",
          ),
      status && make("p", { class: "lead quality" }, status.quality),
      hasNotes && room.examples.length
        ? [
            make("h2", { class: "small-heading" }, "For example"),
            make(
              "ul",
              { class: "examples" },
              room.examples.map((question) =>
                make(
                  "li",
                  {},
                  make("button", { type: "button", onclick: () => this.ask(question) }, question),
                ),
              ),
            ),
          ]
        : null,
    );
  }

  ask(question) {
    location.hash = this.room.ask(question).address;
  }
}

customElements.define("ask-empty", AskEmpty);
