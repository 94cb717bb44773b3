// The drafts that are kept, the last changed first.

import { clear, make } from "/dom.js";
import { count } from "/words.js";

class DraftList extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ul", { class: "cards" });
    this.hint = make("p", { class: "note" });
    clear(
      this,
      make(
        "section",
        { "aria-labelledby": "drafts-heading" },
        make("h2", { id: "drafts-heading" }, "Drafts"),
        this.hint,
        this.list,
      ),
    );
  }

  take(drafts) {
    this.hint.textContent = drafts.length
      ? ""
      : "None yet. What you write is kept here, with every version of it.";
    clear(
      this.list,
      drafts.map((draft) =>
        make(
          "li",
          {},
          make("h3", {}, make("a", { href: `#/write/${draft.id}` }, draft.task)),
          make(
            "p",
            { class: "counts" },
            `${draft.form} · ${count(draft.num_versions, "version")} · ` +
              new Date(draft.changed).toLocaleString() +
              (draft.is_finished ? "" : " · broken off"),
          ),
        ),
      ),
    );
  }
}

customElements.define("draft-list", DraftList);
