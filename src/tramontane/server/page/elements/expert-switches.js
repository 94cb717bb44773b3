// Which experts may speak in the next question, and how much each spoke in the last answer.

import { clear, make } from "/dom.js";
import { percent } from "/words.js";

class ExpertSwitches extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ul", { class: "switches" });
    this.hint = make("p", { class: "note" });
    clear(
      this,
      make(
        "section",
        { "aria-label": "Experts" },
        make("h2", { class: "small-heading" }, "Experts"),
        this.list,
        this.hint,
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.room.addEventListener("answer", () => this.renderShares());
    this.render();
  }

  render() {
    const { room } = this;
    const names = room.inPlace.map((expert) => expert.name).sort();
    const key = JSON.stringify(names);
    if (key !== this.key) {
      this.key = key;
      this.rows = new Map(names.map((name) => [name, this.row(name)]));
      clear(
        this.list,
        [...this.rows.values()].map((row) => row.element),
      );
    }
    for (const [name, row] of this.rows) {
      row.button.setAttribute("aria-checked", String(!room.switchedOff.has(name)));
    }
    if (names.length) this.hint.textContent = "";
    else clear(this.hint, "None yet. ", make("a", { href: "#/experts" }, "How to learn one"));
    this.renderShares();
  }

  row(name) {
    const { room } = this;
    const share = make("span", { class: "number" });
    const button = make(
      "button",
      {
        type: "button",
        role: "switch",
        class: "switch",
        onclick: () => room.toggle(room.switchedOff, name),
      },
      make("span", { class: "dot", "data-hue": room.hueOf(name), "aria-hidden": "true" }),
      make("span", { class: "name" }, name),
      share,
      make("span", { class: "track", "aria-hidden": "true" }),
    );
    return { element: make("li", {}, button), button, share };
  }

  renderShares() {
    const shares = this.room.current?.meanShares();
    for (const [name, row] of this.rows) {
      const share = shares?.[name];
      clear(row.share, share === undefined ? "" : percent(share));
      row.share.title = share === undefined ? "" : "mean share in the answer shown";
    }
  }
}

customElements.define("expert-switches", ExpertSwitches);
