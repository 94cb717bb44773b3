// One question and what came back, piece by piece; it tells its listeners of each piece.

import { events } from "/api.js";

export class Answer extends EventTarget {
  // `without` names the expert that this one leaves out of an answer it stands beside.
  constructor(id, question, options, without = null) {
    super();
    Object.assign(this, { id, question, options, without });
    this.beside = null;
    this.pieces = [];
    this.sources = [];
    this.sentences = [];
    this.ownWords = [];
    this.state = "running";
    this.ownWordsState = "closed";
    this.error = null;
    this.closest = null;
    this.abstained = false;
    this.seconds = null;
    this.stopper = new AbortController();
  }

  async run() {
    try {
      for await (const [name, data] of events("/api/ask", this.body(false), this.stopper.signal)) {
        this.take(name, data);
      }
      this.end(this.stopper.signal.aborted ? "stopped" : "done");
    } catch (error) {
      this.error = error;
      this.end("failed");
    }
  }

  // Asks again for the small model's own words, and keeps only those.
  async runOwnWords() {
    if (this.ownWordsState === "running" || this.ownWords.length) return;
    this.ownWordsState = "running";
    this.stopper = new AbortController();
    this.say("change");
    try {
      for await (const [name, data] of events("/api/ask", this.body(true), this.stopper.signal)) {
        if (name === "own_words") this.take(name, data);
      }
      this.ownWordsState = this.stopper.signal.aborted ? "stopped" : "done";
    } catch (error) {
      this.ownWordsState = "failed";
      this.error = error;
    }
    this.say("change");
  }

  body(withOwnWords) {
    // The model's own words are asked for as what they are: nobody checks them.
    const honest = this.options.honest && !withOwnWords;
    return { question: this.question, ...this.options, honest, own_words: withOwnWords };
  }

  take(name, data) {
    if (name === "sources") this.sources = data.sources;
    if (name === "sentence") this.sentences.push(data);
    if (name === "from_memory" && this.sentences[data.sentence])
      this.sentences[data.sentence].memory = data;
    if (name === "withheld" && data.instead) this.sentences.push(data.instead);
    if (name === "own_words") this.ownWords.push(data);
    if (name === "abstained") Object.assign(this, { abstained: true, closest: data.closest });
    if (name === "done") this.seconds = data.seconds;
    this.pieces.push([name, data]);
    this.say("piece", { name, data });
  }

  end(state) {
    this.state = state;
    this.say("change");
  }

  stop() {
    this.stopper.abort();
  }

  get isRunning() {
    return this.state === "running" || this.ownWordsState === "running";
  }

  // Each expert's mean share over the answer's sentences, weighted by their length.
  meanShares() {
    const heard = [...this.sentences, ...this.ownWords].filter((piece) => piece.shares);
    const weight = heard.reduce((sum, piece) => sum + piece.text.length, 0);
    const mean = {};
    for (const piece of heard) {
      for (const [name, share] of Object.entries(piece.shares)) {
        mean[name] = (mean[name] ?? 0) + (share * piece.text.length) / weight;
      }
    }
    return weight ? mean : null;
  }

  say(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}
