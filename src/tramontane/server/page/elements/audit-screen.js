// Audit: how truthful and how even-handed the mixture in use is, measured on named suites.

import { clear, make } from "/dom.js";

class AuditScreen extends HTMLElement {
  connectedCallback() {
    if (this.heading) return;
    this.heading = make("h1", { tabindex: "-1" }, "Audit");
    clear(
      this,
      make(
        "div",
        { class: "column" },
        this.heading,
        make(
          "p",
          { class: "lead" },
          "Scores of the mixture in use on suites of truthfulness and social bias, with intervals. One command measures and writes a report:",
        ),
        make("pre", {}, make("code", {}, "tramontane audit")),
      ),
    );
  }

  follow() {}

  takeFocus() {
    this.heading.focus();
  }
}

customElements.define("audit-screen", AuditScreen);
