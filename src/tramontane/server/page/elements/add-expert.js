// An expert that somebody gave away: checked before it gets a place.

import { clear, make } from "/dom.js";
import { startJob } from "/jobs.js";
import "/elements/job-view.js";

class AddExpert extends HTMLElement {
  connectedCallback() {
    if (this.file) return;
    this.file = make("input", {
      id: "expert-file",
      type: "text",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "/home/me/Downloads/recipes.safetensors",
      "aria-describedby": "expert-file-help",
    });
    this.state = make("div", { "aria-live": "polite" });
    clear(
      this,
      make(
        "details",
        { class: "own-folder" },
        make("summary", {}, "Add an expert somebody gave you"),
        make(
          "form",
          { "aria-label": "Add an expert", onsubmit: (event) => this.add(event) },
          make(
            "p",
            { class: "note", id: "expert-file-help" },
            "Its form, hashes, licence and gates are checked first; nothing in it can run.",
          ),
          make("label", { for: "expert-file" }, "File of the expert"),
          this.file,
          make("button", { type: "submit", class: "primary" }, "Check and add"),
        ),
        this.state,
      ),
    );
  }

  async add(event) {
    event.preventDefault();
    try {
      const view = make("job-view", { job: await startJob("add", { file: this.file.value.trim() }) });
      view.addEventListener("job-end", ({ detail }) => this.end(detail));
      clear(this.state, view);
    } catch (error) {
      clear(this.state, make("p", { class: "error", role: "alert" }, error.message));
    }
  }

  async end({ state, result }) {
    if (state !== "done") return;
    clear(
      this.state,
      make("p", {}, `${result.expert} is in place.`),
      result.remarks.map((remark) => make("p", { class: "note" }, remark)),
    );
    this.file.value = "";
    await this.room.load();
  }
}

customElements.define("add-expert", AddExpert);
