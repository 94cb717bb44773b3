// The name, the three places to go, and which base answers with how many experts.

import { clear, make } from "/dom.js";
import { count } from "/words.js";

const PLACES = [
  ["ask", "Ask"],
  ["notes", "Notes"],
  ["experts", "Experts"],
];

class PageHeader extends HTMLElement {
  connectedCallback() {
    this.links = PLACES.map(([place, name]) =>
      make("a", { href: `#/${place}`, "data-place": place }, name),
    );
    this.state = make("p", { class: "state" });
    clear(
      this,
      make(
        "header",
        { class: "bar" },
        make("nav", { "aria-label": "Places" }, this.links),
        this.state,
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.render();
  }

  show(screen) {
    for (const link of this.links) {
      if (link.dataset.place === screen) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  render() {
    const { status, error } = this.room;
    if (error) this.state.textContent = "not connected";
    else if (status) {
      const names = count(this.room.inPlace.length, "expert");
      clear(
        this.state,
        make("span", { class: "wide-only" }, "base: "),
        `${status.base} · ${names}`,
      );
    }
  }
}

customElements.define("page-header", PageHeader);
