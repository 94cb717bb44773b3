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
    // What each expert did in each word, by sentence; fetched when asked for.
    this.voices = new Map();
    this.voicesState = "closed";
    this.wordByWord = false;
    this.error = null;
    this.closest = null;
    this.abstained = false;
    this.seconds = null;
    // The library's number for it, once it has one.
    this.chatId = null;
    this.whyNotKept = null;
    // What the library said of an answer of old, and where its sources are now.
    this.old = null;
    this.sourcesNow = new Map();
    this.stopper = new AbortController();
  }

  // An answer of old, from what the library kept.
  static of(chat) {
    const { id, question, collections, experts, events: pieces } = chat;
    const answer = new Answer(`kept-${id}`, question, { collections, experts });
    Object.assign(answer, { chatId: id, old: chat, state: chat.state });
    for (const now of chat.sources_now) answer.sourcesNow.set(now.number, now);
    for (const [name, data] of pieces) {
      if (name === "error") answer.error = data;
      else answer.take(name, data);
    }
    return answer;
  }

  get address() {
    return `#/ask/${this.chatId ?? this.id}`;
  }

  // Where a source can be opened, and what to say of it: its note may have changed since.
  now(source) {
    return { ...source, remark: null, ...this.sourcesNow.get(source.number) };
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

  // Asks again for the voice in each word. It is that of this answer only where the sentence is
  // the same: notes and experts may have changed.
  async runVoices() {
    if (this.voicesState === "running" || this.voices.size) return;
    this.voicesState = "running";
    this.stopper = new AbortController();
    this.say("change");
    const body = { ...this.body(false), keep: false, voice: true };
    const own = sentencesIn(this.pieces);
    const pieces = [];
    try {
      for await (const piece of events("/api/ask", body, this.stopper.signal)) pieces.push(piece);
      const heard = sentencesIn(pieces);
      for (const [name, { sentence: place, voice }] of pieces) {
        if (name !== "voiced" || !own[place] || own[place].text !== heard[place]?.text) continue;
        this.voices.set(own[place], voice);
      }
      this.voicesState = this.stopper.signal.aborted ? "closed" : "done";
    } catch (error) {
      this.voicesState = "failed";
      this.error = error;
    }
    this.say("change");
  }

  body(withOwnWords) {
    // The model's own words are asked for as what they are: nobody checks them.
    const honest = this.options.honest && !withOwnWords;
    // The history has the answer itself, not what it is tried against.
    const keep = Boolean(this.options.keep) && !withOwnWords && !this.without;
    return { question: this.question, ...this.options, honest, own_words: withOwnWords, keep };
  }

  take(name, data) {
    if (name === "kept") {
      Object.assign(this, { chatId: data.id, asked: data.asked, whyNotKept: data.why_not });
      this.say("kept");
      return;
    }
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
    return [this.state, this.ownWordsState, this.voicesState].includes("running");
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

// By their places; null where one was kept back or forgotten.
const sentencesIn = (pieces) =>
  pieces
    .filter(([name]) => ["sentence", "withheld", "forgotten"].includes(name))
    .map(([name, data]) => (name === "sentence" ? data : (data.instead ?? null)));
