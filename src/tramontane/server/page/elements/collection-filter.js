// In which collections to look; hidden while there is only one.

import { clear, make } from "/dom.js";

class CollectionFilter extends HTMLElement {
  connectedCallback() {
    if (this.isReady) return;
    this.isReady = true;
    this.room.addEventListener("change", () => this.render());
    this.render();
  }

  render() {
    const { room } = this;
    const names = room.collections.map((collection) => collection.name);
    this.hidden = names.length < 2;
    const key = JSON.stringify(names);
    if (key !== this.key) {
      this.key = key;
      this.boxes = new Map(
        names.map((name) => [
          name,
          make("input", { type: "checkbox", onchange: () => room.toggle(room.leftOut, name) }),
        ]),
      );
      clear(
        this,
        make(
          "fieldset",
          {},
          make("legend", { class: "small-heading" }, "Look in"),
          [...this.boxes].map(([name, box]) =>
            make("label", { class: "check" }, box, make("span", {}, name)),
          ),
        ),
      );
    }
    for (const [name, box] of this.boxes) box.checked = !room.leftOut.has(name);
  }
}

customElements.define("collection-filter", CollectionFilter);
