// What to write: the task, its form and length, where to look, and who takes part.

import { clear, make } from "/dom.js";
import { get, post } from "/api.js";
import "/elements/collection-filter.js";
import "/elements/expert-switches.js";
import "/elements/honest-switch.js";

const FORM_NAMES = {
  post: "A post",
  report: "A report",
  letter: "A letter",
  summary: "A summary",
  minutes: "Minutes",
};

class WriteForm extends HTMLElement {
  connectedCallback() {
    if (this.task) return;
    const { room } = this;
    this.task = make("textarea", {
      id: "write-task",
      rows: "2",
      required: true,
      maxlength: 4000,
      placeholder: "Growing leeks, from sowing to kitchen",
    });
    this.kind = make("select", { id: "write-form", onchange: () => this.takeLength() });
    this.words = make("input", { id: "write-words", type: "number", min: 50, max: 3000, step: 10 });
    this.state = make("p", { class: "note", role: "status" });
    this.button = make("button", { type: "submit", class: "primary" }, "See the outline");
    clear(
      this,
      make(
        "form",
        { "aria-label": "What to write", class: "stack", onsubmit: (event) => this.plan(event) },
        make("label", { for: "write-task" }, "What to write about"),
        this.task,
        make(
          "div",
          { class: "side-by-side" },
          make("div", {}, make("label", { for: "write-form" }, "Form"), this.kind),
          make("div", {}, make("label", { for: "write-words" }, "Words, about"), this.words),
        ),
        make(
          "details",
          {},
          make("summary", {}, "Where to look, and who takes part"),
          make("collection-filter", { room }),
          make("expert-switches", { room }),
          make("honest-switch", { room }),
        ),
        this.button,
      ),
      this.state,
    );
    this.loadForms();
  }

  async loadForms() {
    try {
      const { forms } = await get("/api/forms");
      this.lengths = Object.fromEntries(forms.map((form) => [form.name, form.words]));
      clear(
        this.kind,
        forms.map(({ name }) => make("option", { value: name }, FORM_NAMES[name] ?? name)),
      );
      this.takeLength();
    } catch (error) {
      this.say(error.message, true);
    }
  }

  // A form has its usual length.
  takeLength() {
    this.words.value = this.lengths[this.kind.value];
  }

  focusBox() {
    this.task.focus();
  }

  get asked() {
    const { room } = this;
    return {
      task: this.task.value.trim(),
      collections: room.chosenCollections,
      form: this.kind.value,
      words: Number(this.words.value),
    };
  }

  async plan(event) {
    event.preventDefault();
    const { asked, room } = this;
    this.button.disabled = true;
    this.say("Looking what your notes hold…");
    try {
      const planned = await post("/api/outline", asked);
      this.say("");
      const rest = { experts: room.chosenExperts, honest: room.isHonest };
      const detail = { ...planned, asked: { ...asked, ...rest } };
      this.dispatchEvent(new CustomEvent("outline-made", { detail, bubbles: true }));
    } catch (error) {
      this.say(error.message, true);
    } finally {
      this.button.disabled = false;
    }
  }

  say(text, isFault = false) {
    this.state.className = isFault ? "error" : "note";
    this.state.textContent = text;
  }
}

customElements.define("write-form", WriteForm);
