// The question box: Enter sends, Shift+Enter starts a line, Escape or the button stops.

import { clear, make } from "/dom.js";
import { list } from "/words.js";

const MAX_CHARACTERS = 4000;

class AskBox extends HTMLElement {
  connectedCallback() {
    if (this.field) return;
    this.field = make("textarea", {
      id: "question",
      rows: "1",
      maxlength: MAX_CHARACTERS,
      placeholder: "Ask your notes…",
      autocomplete: "off",
      "aria-describedby": "question-help",
      oninput: () => this.grow(),
      onkeydown: (event) => this.press(event),
    });
    this.button = make("button", { type: "submit", class: "primary" }, "Ask");
    this.scope = make("p", { class: "scope", id: "question-help" });
    clear(
      this,
      make(
        "form",
        { onsubmit: (event) => this.send(event) },
        make("label", { for: "question", class: "unseen" }, "Your question"),
        make("div", { class: "box" }, this.field, this.button),
        this.scope,
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.room.addEventListener("answer", () => this.render());
    this.render();
    if (matchMedia("(hover: hover)").matches) this.field.focus();
  }

  focus() {
    this.field.focus();
  }

  // A question asked before, to be asked otherwise.
  edit(question) {
    this.field.value = question;
    this.grow();
    this.field.focus();
  }

  grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, 200)}px`;
  }

  press(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.send(event);
    }
  }

  send(event) {
    event.preventDefault();
    // The button says Stop while an answer comes; Enter asks the next question all the same.
    if (this.isRunning && event.type === "submit") {
      this.room.stop();
      return;
    }
    const question = this.field.value.trim();
    if (!question) return;
    this.field.value = "";
    this.grow();
    location.hash = this.room.ask(question).address;
  }

  get isRunning() {
    return Boolean(this.room.running);
  }

  render() {
    this.button.textContent = this.isRunning ? "Stop" : "Ask";
    this.button.title = this.isRunning ? "Escape stops too" : "Enter sends";
    const { status, current, chosenCollections, chosenExperts } = this.room;
    const parts = [];
    if (chosenCollections) {
      parts.push(
        chosenCollections.length
          ? `Looking in ${list(chosenCollections)} only.`
          : "No collection is chosen.",
      );
    }
    if (chosenExperts) {
      parts.push(
        chosenExperts.length
          ? `Experts on: ${list(chosenExperts)}.`
          : "All experts are off: the base alone.",
      );
    }
    // In the empty room it stands above the examples.
    if (!parts.length && status && current) parts.push(status.quality);
    this.scope.textContent = parts.join(" ");
  }
}

customElements.define("ask-box", AskBox);
