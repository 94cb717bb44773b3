// One answer as it comes: quotations or marked prose, "your notes don't say", own words below.

import { clear, make } from "/dom.js";
import { count, lines, list, lost, time } from "/words.js";
import { noteAddress } from "/router.js";
import "/elements/marked-sentence.js";
import "/elements/own-words.js";
import "/elements/report-dialog.js";
import { changedSince } from "/elements/source-list.js";

class AnswerView extends HTMLElement {
  connectedCallback() {
    const { answer, room } = this;
    // Announces sentences as they are finished, politely, and nothing else.
    this.body = make("div", { class: "sentences", "aria-live": "polite", "aria-busy": "false" });
    this.state = make("p", { class: "answer-state", role: "status" });
    this.foot = make("div", { class: "answer-foot" });
    clear(
      this,
      make(
        "article",
        { "aria-label": answer.without ? `Answer without ${answer.without}` : "Answer" },
        answer.without
          ? make("h2", { class: "small-heading" }, `Without ${answer.without}`)
          : make("h1", { class: "question" }, answer.question || "A question that was forgotten"),
        answer.old && ofOld(answer.old),
        this.body,
        this.state,
        this.foot,
        (this.besidePlace = make("div", { class: "beside-answer" })),
      ),
      (this.reporting = make("report-dialog")),
    );
    this.addEventListener("sentence-report", (event) => {
      // An answer that stands beside another one lies within its view.
      event.stopPropagation();
      this.reporting.open(event.detail);
    });
    this.onpiece = ({ detail }) => this.add(detail.name, detail.data);
    this.onchange = () => this.render();
    answer.addEventListener("piece", this.onpiece);
    answer.addEventListener("change", this.onchange);
    room.addEventListener("change", this.onchange);
    for (const [name, data] of answer.pieces) this.add(name, data);
    this.render();
  }

  disconnectedCallback() {
    this.answer.removeEventListener("piece", this.onpiece);
    this.answer.removeEventListener("change", this.onchange);
    this.room.removeEventListener("change", this.onchange);
  }

  add(name, data) {
    if (name === "sentence") this.addSentence(data);
    if (name === "withheld") this.addWithheld(data.instead);
    if (name === "forgotten") {
      const said = "A sentence was forgotten with its collection.";
      this.body.append(make("p", { class: "note" }, said));
    }
    if (name === "from_memory")
      this.body.querySelectorAll("marked-sentence")[data.sentence]?.tellMemory();
    if (name === "heading") this.body.append(make("h2", {}, data.text));
    if (name === "abstained") this.body.append(...this.abstention(data));
    this.renderState();
  }

  addSentence(sentence) {
    const element = make("marked-sentence", { room: this.room, answer: this.answer, sentence });
    if (sentence.kind === "quotation") {
      this.body.append(make("blockquote", {}, element));
      return;
    }
    if (!this.body.lastElementChild?.matches("p.prose"))
      this.body.append(make("p", { class: "prose" }));
    this.body.lastElementChild.append(element, " ");
  }

  // Kept back in honesty mode, and said: a quotation stands there, or a word about it.
  addWithheld(instead) {
    if (instead) this.addSentence(instead);
    else
      this.body.append(
        make("p", { class: "note" }, "A sentence was kept back: no source backs it."),
      );
  }

  abstention({ reason, closest }) {
    const said = make("p", { class: "abstained" }, reason);
    if (!closest) return [said];
    const now = this.answer.now(closest);
    const place = `${closest.path}, ${lines(closest.first_line, closest.last_line)}`;
    return [
      said,
      make(
        "section",
        { class: "closest", "aria-label": "Closest passage" },
        make("h2", { class: "small-heading" }, "Closest"),
        make("blockquote", {}, make("p", { class: "passage" }, closest.text)),
        now.path &&
          make("a", { href: noteAddress(now), "aria-label": `Open note ${place}` }, place),
        changedSince(now.remark),
      ),
    ];
  }

  render() {
    const { answer, room } = this;
    this.body.setAttribute("aria-busy", String(answer.state === "running"));
    this.classList.toggle("by-expert", room.coloursByExpert);
    this.renderState();
    const parts = [];
    const hasShares = answer.sentences.some((sentence) => sentence.shares);
    if (answer.state !== "running" && hasShares) {
      this.colouring ??= this.colourToggle();
      parts.push(this.colouring);
    }
    if (["done", "stopped", "unfinished", "failed"].includes(answer.state) && !answer.without)
      parts.push(this.otherwise());
    if (answer.sentences.some((sentence) => sentence.kind === "prose")) {
      parts.push(...promises(answer), legend());
    }
    const canSpeak = room.status && !room.status.can_write;
    const isQuoted = answer.state === "done" && !answer.abstained && answer.sentences.length;
    if (canSpeak && !answer.old && isQuoted) {
      this.ownWords ??= make("own-words", { room, answer });
      parts.push(this.ownWords);
    }
    if (parts.length !== this.numParts) {
      // Elements already there stay in place, so that an open list keeps its state and focus.
      const focused = this.foot.contains(document.activeElement) ? document.activeElement : null;
      clear(this.foot, parts);
      if (focused?.isConnected) focused.focus();
    }
    this.renderBeside();
    this.renderVoices();
    this.numParts = parts.length;
  }

  // What each expert that spoke is worth here: the same question without it; or another question.
  otherwise() {
    // Against an answer of old, its notes may have changed too.
    const spoke = Object.entries((!this.answer.old && this.answer.meanShares()) || {})
      .filter(([, share]) => share > 0)
      .map(([name]) => name);
    const button = (name, act) =>
      make("button", { type: "button", class: "quiet", onclick: act }, name);
    return make(
      "div",
      { class: "actions", role: "group", "aria-label": "Ask otherwise" },
      spoke.map((name) =>
        button(`Without ${name}`, () => {
          this.room.askWithout(name);
          this.renderBeside();
        }),
      ),
      button("Edit", () =>
        this.dispatchEvent(new CustomEvent("question-edit", { bubbles: true })),
      ),
      button("Ask again", () => this.again()),
      this.answer.chatId !== null &&
        button("Delete", () =>
          this.dispatchEvent(new CustomEvent("answer-remove", { bubbles: true })),
        ),
    );
  }

  renderBeside() {
    const { beside } = this.answer;
    if (!beside || this.besidePlace.firstChild?.answer === beside) return;
    clear(this.besidePlace, make("answer-view", { room: this.room, answer: beside }));
  }

  renderState() {
    const { answer } = this;
    this.state.classList.toggle("error", answer.state === "failed");
    if (answer.state === "running") {
      this.state.textContent = answer.pieces.length ? "Reading…" : "Looking in your notes…";
    } else if (answer.state === "stopped") {
      this.state.textContent = "Stopped. What stands here is whole as far as it goes.";
    } else if (answer.state === "unfinished") {
      this.state.textContent =
        "Not finished: the page was left, or the server ended, before the answer did.";
    } else if (answer.state === "failed") {
      this.state.textContent = answer.error?.message ?? "It was ended by an error.";
    } else {
      const found = answer.abstained
        ? ""
        : `${count(answer.sentences.length, "sentence")} from ${count(answer.sources.length, "source")}. `;
      const took = answer.seconds === null ? "" : `${answer.seconds.toFixed(1)} s.`;
      const unkept = answer.whyNotKept ? ` It is not kept: ${answer.whyNotKept}` : "";
      this.state.textContent = `${found}${took}${unkept}`;
    }
  }

  again() {
    location.hash = this.room.ask(this.answer.question).address;
  }

  colourToggle() {
    const { answer, room } = this;
    const toggle = (name, act) =>
      make(
        "button",
        { type: "button", role: "switch", class: "switch", onclick: act },
        make("span", { class: "track", "aria-hidden": "true" }),
        name,
      );
    this.byExpert = toggle("Colour by expert", () => {
      room.coloursByExpert = !room.coloursByExpert;
      room.say();
    });
    // Asked for apart: the answer is read once more without each expert.
    this.byWord = toggle("Word by word", () => {
      answer.wordByWord = !answer.wordByWord;
      if (answer.wordByWord) {
        room.coloursByExpert = true;
        answer.runVoices();
      } else answer.stop();
      room.say();
    });
    this.hearing = make("span", { class: "note", role: "status" });
    return make("div", { class: "colouring" }, this.byExpert, this.byWord, this.hearing);
  }

  renderVoices() {
    const { answer, room } = this;
    if (!this.colouring) return;
    this.byExpert.setAttribute("aria-checked", String(room.coloursByExpert));
    this.byWord.setAttribute("aria-checked", String(answer.wordByWord));
    const isOther = answer.voicesState === "done" && !answer.voices.size;
    const said = {
      running: "Listening to each word…",
      failed: answer.error?.message,
      done: isOther && "Asked again, it says something else: notes or experts changed.",
    };
    this.hearing.textContent = (answer.wordByWord && said[answer.voicesState]) || "";
    for (const element of this.body.querySelectorAll("marked-sentence")) {
      element.showVoice((answer.wordByWord && answer.voices.get(element.sentence)) || null);
    }
  }
}

// When it was asked, of what, and what forgetting has taken from it.
function ofOld({ asked, collections, experts, forgotten }) {
  const where = collections.length ? ` in ${list(collections)}` : "";
  const who = experts.length ? ` Experts on: ${list(experts)}.` : "";
  return make("p", { class: "note" }, `Asked ${time(asked)}${where}.${who} ${lost(forgotten)}`);
}

// What stands behind the marks, for prose from a collection that was calibrated.
function promises({ sentences, state }) {
  if (state === "running") return [];
  const prose = sentences.filter((sentence) => sentence.kind === "prose");
  const said = [...new Set(prose.map((sentence) => sentence.promise ?? null))];
  return said.map((promise) =>
    make(
      "p",
      { class: "note" },
      promise ?? [
        "The marks are not calibrated on text like this. ",
        make("a", { href: "#/notes" }, "Calibrate a collection"),
        ".",
      ],
    ),
  );
}

function legend() {
  return make(
    "details",
    { class: "legend" },
    make("summary", {}, "What the marks mean"),
    make(
      "ul",
      {},
      make(
        "li",
        {},
        make("span", {}, "Plain"),
        ": most of the sentence’s words stand in its source.",
      ),
      make("li", {}, make("span", { class: "mark-weak" }, "Dotted"), ": only some of them do."),
      make("li", {}, make("span", { class: "mark-unsupported" }, "Wavy"), ": not in your notes."),
      make(
        "li",
        {},
        make("span", { class: "mark-memory" }, "Dashed"),
        ": not in your notes either; the expert named raised it, from what it learnt.",
      ),
    ),
    make(
      "p",
      {},
      "The marks compare words and numbers, not meaning: a sentence that turns a fact round with " +
        "the same words passes. Read the source before you rely on it.",
    ),
  );
}

customElements.define("answer-view", AnswerView);
