// A draft while it is written: sections as they come, what it abstained with, where it was kept.

import { events } from "/api.js";

export class DraftStream extends EventTarget {
  constructor(asked) {
    super();
    Object.assign(this, { asked, sections: [], sources: [], kept: null, abstained: null });
    this.state = "running";
    this.error = null;
    this.stopper = new AbortController();
  }

  async run() {
    try {
      for await (const [name, data] of events("/api/write", this.asked, this.stopper.signal)) {
        this.take(name, data);
      }
      this.state = this.stopper.signal.aborted ? "stopped" : "done";
    } catch (error) {
      this.error = error;
      this.state = "failed";
    }
    this.dispatchEvent(new Event("end"));
  }

  take(name, data) {
    if (name === "sources") this.sources = data.sources;
    if (name === "heading") {
      const sources = this.sources.filter(({ number }) => data.sources.includes(number));
      this.sections.push({ heading: data.text, sources, pieces: [] });
    }
    if (name === "sentence" || name === "withheld") this.sections.at(-1).pieces.push(data);
    if (name === "abstained") this.abstained = data;
    if (name === "kept") this.kept = data.id;
    this.dispatchEvent(new CustomEvent("piece", { detail: { name, data } }));
  }

  stop() {
    this.stopper.abort();
  }
}

// A piece is a sentence, or says that one was kept back and what stands instead, if anything.
export const sentenceOf = (piece) => ("instead" in piece ? piece.instead : piece);

export const isDoubtful = (piece) => {
  const sentence = sentenceOf(piece);
  return Boolean(sentence && sentence.kind !== "quotation" && sentence.mark !== "supported");
};

export const numWords = (sections) =>
  sections
    .flatMap((section) => section?.pieces ?? [])
    .map((piece) => sentenceOf(piece)?.text.split(/\s+/).length ?? 0)
    .reduce((sum, number) => sum + number, 0);
