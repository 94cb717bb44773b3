// Write: what to write, the outline, the draft as it comes; and each draft that is kept.
// #/write asks and lists what is kept, #/write/3 shows a draft, #/write/3/2 its second version.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import "/elements/draft-list.js";
import "/elements/draft-live.js";
import "/elements/draft-outline.js";
import "/elements/draft-sources.js";
import "/elements/draft-view.js";
import "/elements/write-form.js";

class WriteScreen extends HTMLElement {
  connectedCallback() {
    if (this.heading) return;
    const { room } = this;
    this.heading = make("h1", { tabindex: "-1" }, "Write");
    this.fault = make("p", { class: "error", role: "alert" });
    this.place = make("div", {});
    this.sources = make("draft-sources");
    this.form = make("write-form", { room });
    this.outlinePlace = make("div", { "aria-live": "polite" });
    this.list = make("draft-list");
    this.all = make(
      "div",
      {},
      make(
        "p",
        { class: "lead" },
        "First you see which notes a text would rest on, then it is written from them, each sentence with its source.",
      ),
      this.form,
      this.outlinePlace,
      this.list,
    );
    this.addEventListener("outline-made", ({ detail }) => this.showOutline(detail));
    this.addEventListener("draft-begin", ({ detail }) => this.begin(detail));
    this.addEventListener("draft-kept", ({ detail }) => (location.hash = `#/write/${detail}`));
    this.addEventListener("draft-changed", ({ detail }) => this.sources.take(detail));
    this.addEventListener("draft-deleted", () => (location.hash = "#/write"));
    clear(
      this,
      make(
        "section",
        { class: "column", "aria-label": "Drafts" },
        this.heading,
        this.fault,
        this.place,
      ),
      this.sources,
    );
  }

  follow([id, version]) {
    const key = [id, version].filter(Boolean).join("/");
    if (key === this.shown && id) return;
    this.shown = key;
    this.fault.textContent = "";
    if (id) this.open(id, version);
    else this.showAll();
  }

  async showAll() {
    this.heading.textContent = "Write";
    this.heading.hidden = false;
    this.sources.take({ sections: [], where: {} });
    // Moved, a form that has focus would lose it.
    if (!this.all.isConnected) clear(this.place, this.all);
    try {
      this.list.take((await get("/api/drafts")).drafts);
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  showOutline(planned) {
    const element = make("draft-outline");
    element.planned = planned;
    clear(this.outlinePlace, element);
  }

  // The draft being written stands where the form stood, until it is kept.
  begin(asked) {
    const live = make("draft-live", { room: this.room });
    live.asked = asked;
    clear(this.outlinePlace);
    this.heading.textContent = asked.task;
    clear(this.place, live);
  }

  async open(id, version) {
    const { shown } = this;
    clear(this.place, back(), make("p", { class: "note", role: "status" }, "Opening…"));
    try {
      const query = version ? { version } : {};
      const draft = await get(`/api/drafts/${encodeURIComponent(id)}`, query);
      if (this.shown !== shown) return;
      const view = make("draft-view", { room: this.room });
      view.draft = draft;
      this.heading.textContent = draft.head.task;
      clear(this.place, back(), view);
      this.sources.take(draft);
      scrollTo(0, 0);
    } catch (error) {
      if (this.shown !== shown) return;
      this.heading.textContent = "Write";
      clear(this.place, back());
      this.fault.textContent = error.message;
    }
  }

  takeFocus() {
    this.heading.focus();
  }

  focusBox() {
    if (this.all.isConnected) this.form.focusBox();
  }
}

const back = () => make("p", { class: "back" }, make("a", { href: "#/write" }, "All drafts"));

customElements.define("write-screen", WriteScreen);
