// Experts: what was learnt from which notes, how well, and taking it back.

import { clear, make } from "/dom.js";
import "/elements/add-expert.js";
import "/elements/expert-card.js";
import "/elements/expert-overlap.js";
import "/elements/learn-form.js";

class ExpertsScreen extends HTMLElement {
  connectedCallback() {
    if (this.cards) return;
    this.heading = make("h1", { tabindex: "-1" }, "Experts");
    this.lead = make(
      "p",
      { class: "lead" },
      "An expert is what was learnt from one collection: its style and its terms. Facts come from the notes themselves.",
    );
    this.cards = make("ul", { class: "expert-cards" });
    this.empty = make(
      "section",
      { class: "empty", "aria-label": "No experts yet" },
      make(
        "p",
        {},
        "No expert has been learnt yet. Choose a folder below; it takes minutes, on this machine. The sample notes do for a first one.",
      ),
    );
    this.learn = make("learn-form", { room: this.room });
    this.overlap = make("expert-overlap");
    this.fault = make("p", { class: "error", role: "status" });
    clear(
      this,
      make(
        "div",
        { class: "column" },
        this.heading,
        this.lead,
        this.fault,
        this.empty,
        this.learn,
        this.cards,
        this.overlap,
        make("add-expert", { room: this.room }),
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.render();
  }

  follow() {
    this.render();
  }

  render() {
    const { experts, error } = this.room;
    // By name and nothing else: an expert stays where it is when it is withdrawn.
    const sorted = [...experts].sort((one, other) => one.name.localeCompare(other.name));
    this.empty.hidden = experts.length > 0 || Boolean(error);
    this.fault.textContent = error?.message ?? "";
    this.overlap.hidden = this.room.inPlace.length === 0;
    const known = new Map([...this.cards.children].map((item) => [item.dataset.name, item]));
    const items = sorted.map((expert) => {
      const key = `${expert.name} ${expert.hash}`;
      const item =
        known.get(key) ??
        make("li", { "data-name": key }, make("expert-card", { room: this.room, expert }));
      item.firstChild.update(expert);
      return item;
    });
    // Moving an element that has focus would lose it: only a new order is laid out anew.
    if (
      items.length !== this.cards.children.length ||
      items.some((item, at) => item !== this.cards.children[at])
    ) {
      const focused = document.activeElement;
      clear(this.cards, items);
      if (this.cards.contains(focused)) focused.focus();
    }
  }

  takeFocus() {
    this.heading.focus();
  }
}

customElements.define("experts-screen", ExpertsScreen);
