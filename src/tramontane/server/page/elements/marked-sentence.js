// One sentence with its mark, its source's number, and the experts' shares in it on demand.

import { aside, clear, make } from "/dom.js";
import { lines, markMeaning } from "/words.js";
import { reportButton, reportedSource } from "/elements/report-dialog.js";
import { offersTip } from "/elements/share-tip.js";

class MarkedSentence extends HTMLElement {
  connectedCallback() {
    if (this.text) return;
    const { sentence, answer, room } = this;
    const isQuotation = sentence.kind === "quotation";
    const source = answer.sources.find((source) => source.number === sentence.source);
    this.text = make(
      "span",
      { class: `sentence mark-${isQuotation ? "supported" : sentence.mark}`, tabindex: "0" },
      isQuotation ? `“${sentence.text}”` : withCopies(sentence),
    );
    offersTip(this.text, () => this.tip(source));
    clear(
      this,
      this.text,
      isQuotation && sentence.day && make("time", { datetime: sentence.day }, ` (${sentence.day})`),
      !isQuotation && sentence.mark !== "supported" && aside(` (${this.meaning(source)}) `),
      source && sourceNumber(source),
      reportButton(this, {
        question: answer.question,
        sentence: sentence.text,
        kind: sentence.kind,
        sources: answer.sources.map(reportedSource),
        source: sentence.source,
        experts: answer.options.experts,
      }),
    );
    const strongest = loudest(sentence.shares);
    if (strongest) {
      this.dataset.hue = room.hueOf(strongest);
      this.append(make("span", { class: "expert-name", "aria-hidden": "true" }, strongest));
    }
  }

  meaning(source) {
    const { sentence } = this;
    const meaning = source ? (markMeaning[sentence.mark] ?? "") : markMeaning.unsupported;
    const absent = (sentence.missing ?? []).slice(0, 4).map((word) => `“${word}”`);
    if (absent.length) return `${meaning}: no source holds ${absent.join(", ")}`;
    return source ? `${meaning}, source ${source.number}` : meaning;
  }

  tip(source) {
    const { sentence } = this;
    const isQuotation = sentence.kind === "quotation";
    return {
      title: isQuotation ? quotedFrom(sentence, source) : this.meaning(source),
      shares: sentence.shares,
      of: "each word, on average",
    };
  }
}

// What honesty mode found to be copied word for word stands in quotation marks.
function withCopies({ text, copied = [] }) {
  let at = 0;
  const parts = copied.flatMap(([begin, end]) => {
    const before = text.slice(at, begin);
    at = end;
    return [before, make("q", {}, text.slice(begin, end))];
  });
  return [...parts, text.slice(at)];
}

const quotedFrom = (sentence, source) =>
  source
    ? `Quoted from ${source.path}, ${lines(sentence.first_line, sentence.last_line)}`
    : "Quoted";

export function loudest(shares) {
  const names = Object.entries(shares ?? {}).filter(([, share]) => share > 0);
  return names.sort((one, other) => other[1] - one[1])[0]?.[0];
}

function sourceNumber(source) {
  return make(
    "a",
    {
      class: "source-number",
      href: `#source-${source.number}`,
      "aria-label": `Source ${source.number}: ${source.path}, ${lines(source.first_line, source.last_line)}`,
      onclick: (event) => {
        // The address names the screen; a source is shown without leaving it.
        event.preventDefault();
        document.querySelector("source-list")?.show(source.number);
      },
    },
    String(source.number),
  );
}

customElements.define("marked-sentence", MarkedSentence);
