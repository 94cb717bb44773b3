// What the small model would say freely: closed until asked for, each piece with its experts.

import { clear, make } from "/dom.js";
import { loudest } from "/elements/marked-sentence.js";
import { reportButton, reportedSource } from "/elements/report-dialog.js";
import { offersTip } from "/elements/share-tip.js";

class OwnWords extends HTMLElement {
  connectedCallback() {
    if (this.words) return;
    const { answer } = this;
    // One stop for the Tab key; the arrows go from piece to piece.
    this.words = make("p", {
      class: "own-words",
      role: "group",
      "aria-label": "The small model’s own words",
      onkeydown: (event) => this.press(event),
    });
    this.state = make("p", { class: "answer-state", role: "status" });
    this.reportPlace = make("div", { class: "actions" });
    this.details = make(
      "details",
      { ontoggle: () => this.details.open && answer.runOwnWords() },
      make("summary", {}, "The small model’s own words"),
      make(
        "p",
        { class: "note" },
        "What the base would say freely with the sources before it. It has not passed the " +
          "writer’s check: read it as a curiosity, not as an answer.",
      ),
      this.words,
      this.state,
      this.reportPlace,
    );
    clear(this, this.details);
    answer.addEventListener(
      "piece",
      ({ detail }) => detail.name === "own_words" && this.add(detail.data),
    );
    answer.addEventListener("change", () => this.render());
    for (const piece of answer.ownWords) this.add(piece);
    this.render();
  }

  add(piece) {
    const { room } = this;
    const isFirst = !this.words.firstChild;
    const element = make("span", { class: "piece", tabindex: isFirst ? "0" : "-1" }, piece.text);
    const name = loudest(piece.shares);
    if (name) element.dataset.hue = room.hueOf(name);
    offersTip(element, () => ({
      title: `“${piece.text.trim()}”`,
      shares: piece.shares,
      of: "these letters",
    }));
    this.words.append(element);
    if (this.state) this.render();
  }

  press(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const pieces = [...this.words.children];
    const next = pieces[pieces.indexOf(document.activeElement) + step];
    if (!step || !next) return;
    event.preventDefault();
    for (const piece of pieces) piece.tabIndex = piece === next ? 0 : -1;
    next.focus();
  }

  render() {
    const { answer } = this;
    const says = {
      closed: "",
      running: answer.ownWords.length ? "Speaking…" : "Thinking of words…",
      stopped: "Stopped.",
      failed: answer.error?.message ?? "",
      done: answer.ownWords.length ? "" : "It said nothing.",
    };
    this.state.textContent = says[answer.ownWordsState];
    const said = answer.ownWords.map((piece) => piece.text).join("").trim();
    if (answer.ownWordsState !== "done" || !said || this.reportPlace.firstChild) return;
    clear(
      this.reportPlace,
      reportButton(this, {
        question: answer.question,
        sentence: said,
        kind: "own_words",
        sources: answer.sources.map(reportedSource),
        source: null,
        experts: answer.options.experts,
      }),
    );
  }
}

customElements.define("own-words", OwnWords);
