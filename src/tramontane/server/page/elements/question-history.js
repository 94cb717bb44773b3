// This session's questions, newest first; kept in this tab and nowhere else.

import { clear, make } from "/dom.js";

class QuestionHistory extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ol", { class: "history", reversed: true });
    this.hint = make("p", { class: "note" }, "Your questions of this session will stand here.");
    clear(
      this,
      make(
        "nav",
        { "aria-label": "Questions of this session" },
        make("h2", { class: "small-heading" }, "History"),
        this.hint,
        this.list,
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.render();
  }

  render() {
    const { answers, current } = this.room;
    this.hint.hidden = answers.length > 0;
    clear(
      this.list,
      [...answers]
        .reverse()
        .map((answer) =>
          make(
            "li",
            {},
            make(
              "a",
              { href: `#/ask/${answer.id}`, "aria-current": answer === current ? "page" : null },
              make("span", {}, answer.question),
            ),
          ),
        ),
      answers.length > 0 &&
        make("li", { class: "new" }, make("a", { href: "#/ask" }, "New question")),
    );
  }
}

customElements.define("question-history", QuestionHistory);
