// The name, the places to go, and which base answers with how many experts.

import { clear, make } from "/dom.js";
import { count } from "/words.js";

class PageHeader extends HTMLElement {
  // Its markup is in the page itself, so that it is there at the first paint.
  begin(room) {
    this.room = room;
    this.links = [...this.querySelectorAll("[data-place]")];
    this.state = this.querySelector(".state");
    room.addEventListener("change", () => this.render());
    this.render();
  }

  show(screen) {
    for (const link of this.links) {
      if (link.dataset.place === screen) {
        link.setAttribute("aria-current", "page");
        // On narrow screens the places scroll sideways.
        link.scrollIntoView({ block: "nearest", inline: "nearest" });
      } else link.removeAttribute("aria-current");
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
