// Ask: the question, its answer, its sources beside it, experts and history in the rail.

import { clear, make } from "/dom.js";
import "/elements/answer-view.js";
import "/elements/ask-box.js";
import "/elements/ask-empty.js";
import "/elements/collection-filter.js";
import "/elements/expert-switches.js";
import "/elements/honest-switch.js";
import "/elements/question-history.js";
import "/elements/remove-dialog.js";
import "/elements/source-list.js";

class AskScreen extends HTMLElement {
  connectedCallback() {
    if (this.box) return;
    const { room } = this;
    this.box = make("ask-box", { room });
    this.column = make("div", { class: "answer-place" });
    this.sources = make("source-list", { room });
    this.rail = make(
      "aside",
      { class: "rail", id: "rail", "aria-label": "Experts, collections and history" },
      (this.questions = make("question-history", { room })),
      make("expert-switches", { room }),
      make("honest-switch", { room }),
      make("collection-filter", { room }),
    );
    this.opener = make(
      "button",
      {
        type: "button",
        class: "rail-opener quiet",
        "aria-expanded": "false",
        "aria-controls": "rail",
        onclick: () => this.openRail(!this.rail.classList.contains("is-open")),
      },
      "Experts and history",
    );
    this.rail.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.rail.classList.contains("is-open")) {
        event.preventDefault();
        this.openRail(false);
        this.opener.focus();
      }
    });
    clear(
      this,
      this.rail,
      make(
        "section",
        { class: "column", "aria-label": "Question and answer" },
        this.opener,
        this.column,
        this.box,
      ),
      this.sources,
      // Not in the rail, which may be closed while an answer's own view asks for it.
      (this.questions.dialog = make("remove-dialog", {
        onremoved: () => this.questions.afterRemoval(),
      })),
    );
    this.addEventListener("question-edit", () => this.box.edit(room.current.question));
    this.addEventListener("answer-remove", () =>
      this.questions.remove(room.current.chatId, room.current.question),
    );
    this.addEventListener("history-left", () => this.box.focus());
    room.addEventListener("change", () => this.render());
  }

  openRail(isOpen) {
    this.rail.classList.toggle("is-open", isOpen);
    this.opener.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return;
    const acting = [...this.rail.querySelectorAll("a, button, input")];
    acting.find((element) => element.checkVisibility())?.focus();
  }

  follow([id]) {
    const answer = id ? this.room.find(id) : null;
    this.openRail(false);
    if (id && !answer && /^\d+$/.test(id)) {
      this.room.open(id);
      this.render();
      return;
    }
    if (id && !answer) history.replaceState(null, "", "#/ask");
    if (answer !== this.room.current || this.room.fault || this.room.opening)
      this.room.show(answer);
    this.render();
  }

  render() {
    const { current, fault, status } = this.room;
    const error = this.room.error ?? fault;
    // Without an answer the status is what is shown: how many notes there are.
    const isOpening = !error && !current && this.room.opening;
    const shown = isOpening ? "opening" : (error ?? current ?? status);
    if (this.shown === shown && this.column.firstChild) return;
    this.shown = shown;
    if (error) {
      clear(this.column, make("p", { class: "error", role: "alert" }, error.message));
    } else if (isOpening) {
      clear(this.column, make("p", { class: "note" }, "Opening…"));
    } else if (current) {
      clear(this.column, make("answer-view", { room: this.room, answer: current }));
      scrollTo(0, 0);
    } else {
      clear(this.column, make("ask-empty", { room: this.room }));
    }
  }

  takeFocus() {
    this.box.focus();
  }

  focusBox() {
    this.box.focus();
  }

  // On narrow screens it lies in the sheet.
  focusHistory() {
    if (!this.rail.checkVisibility()) this.openRail(true);
    this.questions.focus();
  }

  toggleColours() {
    this.room.coloursByExpert = !this.room.coloursByExpert;
    this.room.say();
  }
}

customElements.define("ask-screen", AskScreen);
