// Whether an answer keeps back what no source backs; of use only with a base that writes.

import { clear, make } from "/dom.js";

class HonestSwitch extends HTMLElement {
  connectedCallback() {
    if (this.button) return;
    const { room } = this;
    this.button = make(
      "button",
      {
        type: "button",
        role: "switch",
        class: "switch",
        title: "A sentence that no source backs is kept back; a quotation stands there if one can.",
        onclick: () => {
          room.isHonest = !room.isHonest;
          room.say();
        },
      },
      make("span", { class: "name" }, "Only what my notes back"),
      make("span", { class: "track", "aria-hidden": "true" }),
    );
    clear(this, this.button);
    room.addEventListener("change", () => this.render());
    this.render();
  }

  render() {
    const { room } = this;
    this.hidden = !room.status?.can_write;
    this.button.setAttribute("aria-checked", String(room.isHonest));
  }
}

customElements.define("honest-switch", HonestSwitch);
