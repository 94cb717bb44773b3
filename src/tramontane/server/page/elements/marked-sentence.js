// One sentence with its mark, its source's number, and the experts' shares in it on demand.

import { aside, clear, make } from "/dom.js";
import { lines, markMeaning } from "/words.js";
import { reportButton, reportedSource } from "/elements/report-dialog.js";
import { offersTip } from "/elements/share-tip.js";
import { voicedWords } from "/voiced-words.js";

class MarkedSentence extends HTMLElement {
  voice = null;

  connectedCallback() {
    if (this.text) return;
    const { sentence, answer, room } = this;
    const isQuotation = sentence.kind === "quotation";
    const source = answer.sources.find((source) => source.number === sentence.source);
    this.text = make(
      "span",
      {
        class: `sentence mark-${isQuotation ? "supported" : sentence.mark}`,
        tabindex: "0",
        onkeydown: (event) => this.press(event),
      },
      dressed(sentence),
    );
    offersTip(this.text, () => this.tip(source));
    this.source = source;
    clear(
      this,
      this.text,
      isQuotation && sentence.day && make("time", { datetime: sentence.day }, ` (${sentence.day})`),
      (this.doubt =
        !isQuotation && sentence.mark !== "supported" && aside(` (${this.meaning(source)}) `)),
      source && sourceNumber(source),
      // What stands in a draft is its writer's; there are other acts on it.
      !this.isKept &&
        reportButton(this, {
          question: answer.question,
          sentence: sentence.text,
          kind: sentence.kind,
          sources: answer.sources.map(reportedSource),
          source: sentence.source,
          experts: answer.options.experts,
        }),
    );
    if (this.isKept && sentence.memory) this.tellMemory();
    const named = namedFor(sentence);
    if (named.length) {
      this.dataset.hue = room.hueOf(named[0]);
      const names = named.join(" or ");
      this.append(make("span", { class: "expert-name", "aria-hidden": "true" }, names));
    }
  }

  // Known once the whole answer was read again: which expert raised what no passage carries.
  tellMemory() {
    this.text.classList.replace("mark-unsupported", "mark-memory");
    this.text.after(
      make("span", { class: "memory-of", "aria-hidden": "true" }, this.sentence.memory.expert),
    );
    this.doubt.textContent = ` (${this.meaning(this.source)}) `;
  }

  // Word by word, as its voice has them, or as one again; no letter moves.
  showVoice(voice) {
    if (voice === this.voice) return;
    this.voice = voice;
    const words = voice && voicedWords(this.sentence.text, voice.tokens);
    const part = words ? (begin, end) => this.words(words, begin, end) : undefined;
    clear(this.text, dressed(this.sentence, part));
  }

  words(words, begin, end) {
    const { text } = this.sentence;
    const parts = [];
    let at = begin;
    for (const word of words) {
      const [from, to] = [Math.max(word.begin, begin), Math.min(word.end, end)];
      if (from >= to) continue;
      const name = loudest(word.shares);
      const piece = make(
        "span",
        { class: "piece", tabindex: "-1", "data-hue": name && this.room.hueOf(name) },
        text.slice(from, to),
      );
      offersTip(piece, () => ({
        title: `“${text.slice(word.begin, word.end)}”`,
        shares: word.shares,
        of: "this word",
      }));
      parts.push(text.slice(at, from), piece);
      at = to;
    }
    return [...parts, text.slice(at, end)];
  }

  // From the sentence the arrows go to its words.
  press(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const words = [...this.text.querySelectorAll(".piece")];
    const next = step && words[words.indexOf(document.activeElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  meaning(source) {
    const { sentence } = this;
    if (sentence.memory) return memoryMeaning(sentence.memory);
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
      contested: namedFor(sentence).length > 1 ? sentence.named : [],
    };
  }
}

const memoryMeaning = ({ expert, effect }) =>
  `From the memory of ${expert}: no source holds it` +
  (effect ? `, and without ${expert} it would be ${times(effect)} less likely` : "");

const times = (effect) => `${Math.round(Math.exp(Math.min(effect, 13))).toLocaleString("en")} times`;

// A quotation stands in quotation marks, and so does what honesty mode found to be copied word for
// word. `part` makes what is shown for the letters from one place to another.
function dressed({ kind, text, copied = [] }, part = (begin, end) => text.slice(begin, end)) {
  if (kind === "quotation") {
    const whole = part(0, text.length);
    return typeof whole === "string" ? [`“${whole}”`] : ["“", whole, "”"];
  }
  let at = 0;
  const parts = copied.flatMap(([begin, end]) => {
    const before = part(at, begin);
    at = end;
    return [before, make("q", {}, part(begin, end))];
  });
  return [...parts, part(at, text.length)];
}

const quotedFrom = (sentence, source) =>
  source
    ? `Quoted from ${source.path}, ${lines(sentence.first_line, sentence.last_line)}`
    : "Quoted";

// Whom a sentence is named after: nobody, one expert, or several that look alike. What was kept by
// an older version doesn't say.
const namedFor = ({ named, shares }) => named ?? [loudest(shares)].filter(Boolean);

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
        document.querySelector("source-list, draft-sources")?.show(source.number);
      },
    },
    String(source.number),
  );
}

customElements.define("marked-sentence", MarkedSentence);
