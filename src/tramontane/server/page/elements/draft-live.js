// A draft as it is written, until it is kept.

import { clear, make } from "/dom.js";
import { DraftStream, numWords } from "/draft.js";
import { count } from "/words.js";
import { nothingFound } from "/elements/draft-outline.js";
import { pieceElement } from "/elements/draft-sentence.js";

class DraftLive extends HTMLElement {
  connectedCallback() {
    if (this.stream) return;
    this.stream = new DraftStream(this.asked);
    this.body = make("div", { class: "draft", "aria-live": "polite", "aria-busy": "true" });
    this.state = make("p", { class: "answer-state", role: "status" }, "Writing…");
    this.button = make(
      "button",
      { type: "button", class: "quiet", onclick: () => this.stream.stop() },
      "Stop",
    );
    clear(this, this.body, this.state, make("div", { class: "actions" }, this.button));
    this.stream.addEventListener("piece", ({ detail }) => this.add(detail.name, detail.data));
    this.stream.addEventListener("end", () => this.end());
    this.stream.run();
    this.button.focus();
  }

  disconnectedCallback() {
    this.stream.stop();
  }

  add(name, data) {
    const { stream } = this;
    if (name === "sources") this.tell({ sections: [{ sources: data.sources }], where: {} });
    if (name === "heading") {
      this.section = make("section", {}, make("h2", {}, data.text));
      this.body.append(this.section);
    }
    if (name === "sentence" || name === "withheld") {
      this.section.append(pieceElement(data, { room: this.room, sources: stream.sources }));
      this.state.textContent = `Writing… ${count(numWords(stream.sections), "word")}`;
    }
    if (name === "abstained") this.body.append(...[nothingFound(data.reason, data.closest)].flat());
  }

  end() {
    const { state, error, kept, sections } = this.stream;
    this.body.setAttribute("aria-busy", "false");
    this.button.hidden = true;
    if (kept) {
      this.tell(kept, "draft-kept");
      return;
    }
    const isFault = state === "failed";
    this.state.className = isFault ? "answer-state error" : "answer-state";
    if (isFault) this.state.textContent = error.message;
    else if (state === "stopped" && sections.length)
      this.state.textContent = "Stopped. What stands is kept among your drafts.";
    else this.state.textContent = "Nothing was written.";
    this.append(make("p", { class: "back" }, make("a", { href: "#/write" }, "All drafts")));
  }

  tell(detail, name = "draft-changed") {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}

customElements.define("draft-live", DraftLive);
