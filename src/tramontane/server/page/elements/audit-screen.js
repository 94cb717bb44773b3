// Audit: how truthful and how even-handed the mixture in use is, and which expert that came from.
// #/audit lists what is kept, #/audit/NAME shows one, #/audit/BEFORE/AFTER compares two.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import "/elements/audit-comparison.js";
import "/elements/audit-form.js";
import "/elements/audit-list.js";
import "/elements/audit-view.js";
import "/elements/finding-list.js";

class AuditScreen extends HTMLElement {
  connectedCallback() {
    if (this.heading) return;
    this.heading = make("h1", { tabindex: "-1" }, "Audit");
    this.fault = make("p", { class: "error", role: "alert" });
    this.place = make("div", {});
    this.form = make("audit-form", { room: this.room });
    this.list = make("audit-list");
    this.findings = make("finding-list");
    this.all = make(
      "div",
      {},
      make(
        "p",
        { class: "lead" },
        "How truthful and how even-handed the mixture in use is, what it can do, what it knows by heart, and which expert each of that came from. Every figure says how sure it is.",
      ),
      this.form,
      this.list,
      this.findings,
    );
    this.addEventListener("job-end", () => this.load());
    this.addEventListener("audit-goes-on", ({ detail }) =>
      this.form.show(detail, `Auditing ${detail.arguments.name}`),
    );
    this.addEventListener("audit-again", ({ detail }) => this.again(detail));
    clear(this, make("div", { class: "column" }, this.heading, this.fault, this.place));
  }

  follow([name, other]) {
    const key = [name, other].filter(Boolean).join(" and ");
    if (key === this.shown && name) return;
    this.shown = key;
    this.fault.textContent = "";
    if (!name) {
      this.showAll();
    } else if (other) {
      this.heading.textContent = `${name} and ${other}`;
      this.open(make("audit-comparison"), "/api/comparison", { before: name, after: other });
    } else {
      this.heading.textContent = name;
      const view = make("audit-view", { room: this.room });
      this.open(view, `/api/audits/${encodeURIComponent(name)}`);
    }
  }

  async showAll() {
    this.shown = "";
    this.heading.textContent = "Audit";
    // Moved, a form that has focus would lose it.
    if (!this.all.isConnected) clear(this.place, this.all);
    await this.load();
  }

  async load() {
    try {
      const [told, { findings }] = await Promise.all([get("/api/audits"), get("/api/findings")]);
      this.form.take(told);
      this.list.take(told);
      this.findings.take(findings);
      this.fault.textContent = "";
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  async open(element, path, query) {
    const { shown } = this;
    clear(this.place, back(), make("p", { class: "note", role: "status" }, "Reading…"));
    try {
      element.found = await get(path, query);
    } catch (error) {
      if (this.shown !== shown) return;
      clear(this.place, back());
      this.fault.textContent = error.message;
      return;
    }
    if (this.shown === shown) clear(this.place, back(), element);
  }

  // From what one audit found to the next: the form, filled in.
  async again(asked) {
    await this.showAll();
    location.hash = "#/audit";
    this.form.fill(asked);
  }

  takeFocus() {
    this.heading.focus();
  }
}

const back = () => make("p", { class: "back" }, make("a", { href: "#/audit" }, "All audits"));

customElements.define("audit-screen", AuditScreen);
