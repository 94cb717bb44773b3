// One sentence of a kept draft: its mark, its source, and what its writer may do about it.

import { clear, make, newId } from "/dom.js";
import { isDoubtful, sentenceOf } from "/draft.js";
import "/elements/marked-sentence.js";

// A piece as it reads: a quotation apart, prose with its mark, or a word on what was kept back.
export function pieceElement(piece, { room, sources }) {
  const sentence = sentenceOf(piece);
  if (!sentence) return make("p", { class: "note" }, "A sentence was kept back: no source backs it.");
  // What the marks, tips and source numbers ask of an answer.
  const answer = { question: "", sources, options: { experts: null } };
  const memory = sentence.memory && { expert: sentence.memory };
  const marked = make("marked-sentence", { room, answer, sentence: { ...sentence, memory } });
  marked.isKept = true;
  return sentence.kind === "quotation" ? make("blockquote", {}, marked) : make("p", {}, marked);
}

class DraftSentence extends HTMLElement {
  connectedCallback() {
    if (this.details) return;
    const { piece } = this;
    const sentence = sentenceOf(piece);
    this.dataset.doubtful = String(isDoubtful(piece) || !sentence);
    const id = newId("sentence");
    this.field = make("textarea", { id, rows: "3", maxlength: 2000, value: sentence?.text ?? "" });
    this.more = make("textarea", { id: `${id}-more`, rows: "2", maxlength: 2000 });
    const name = sentence ? sentence.text.slice(0, 60) : "the sentence kept back";
    this.details = make(
      "details",
      { class: "fix" },
      make("summary", { "aria-label": `Change: ${name}` }, "change"),
      isDoubtful(piece) && sentence.is_accepted && make("p", { class: "note" }, "You accepted it."),
      make(
        "div",
        { class: "actions" },
        isDoubtful(piece) && !sentence.is_accepted && this.button("Accept as it is", "accept"),
        isDoubtful(piece) && this.button("Quote the source instead", "quote"),
        this.button("Take it out", "remove"),
      ),
      make("label", { for: id }, "Say it otherwise"),
      this.field,
      make(
        "div",
        { class: "actions" },
        this.button("Check and keep", "rewrite", () => this.field.value),
      ),
      make("label", { for: `${id}-more` }, "Add a sentence after it"),
      this.more,
      make(
        "div",
        { class: "actions" },
        this.button("Check and add", "add", () => this.more.value),
      ),
    );
    clear(this, pieceElement(piece, this), this.details);
  }

  button(label, act, text) {
    const ask = () => {
      const detail = { act, place: this.at, element: this };
      if (text) detail.text = text();
      this.dispatchEvent(new CustomEvent("sentence-act", { detail, bubbles: true }));
    };
    return make("button", { type: "button", class: "quiet", onclick: ask }, label);
  }

  takeFocus() {
    (this.querySelector(".sentence") ?? this.details.firstChild).focus();
  }
}

customElements.define("draft-sentence", DraftSentence);
