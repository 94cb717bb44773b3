// The passages that the answer rests on, beside it; under it on narrow screens.

import { clear, make } from "/dom.js";
import { lines } from "/words.js";
import { noteAddress } from "/router.js";

class SourceList extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ol", { class: "sources" });
    this.hint = make("p", { class: "note" });
    clear(
      this,
      make(
        "aside",
        { "aria-labelledby": "sources-heading" },
        make("h2", { id: "sources-heading", class: "small-heading" }, "Sources"),
        this.hint,
        this.list,
      ),
    );
    this.room.addEventListener("change", () => this.render());
    this.room.addEventListener("answer", () => this.render());
    this.render();
  }

  render() {
    const answer = this.room.current;
    const sources = answer?.sources ?? [];
    this.hidden = !answer;
    if (sources.length) this.hint.textContent = "";
    else if (answer?.abstained) this.hint.textContent = "None: the answer is that they don’t say.";
    else this.hint.textContent = answer?.isRunning ? "Searching…" : "None.";
    const state = `${answer?.id} ${sources.length}`;
    if (state !== this.state) {
      this.state = state;
      this.numMarked = 0;
      clear(
        this.list,
        sources.map((source) => sourceItem(source, answer.now(source))),
      );
      for (const passage of this.list.querySelectorAll(".passage")) {
        if (passage.scrollHeight > passage.clientHeight) passage.tabIndex = 0;
      }
    }
    // Marks come with the sentences and change no line: nothing moves.
    for (; this.numMarked < (answer?.sentences.length ?? 0); this.numMarked += 1) {
      this.mark(answer.sentences[this.numMarked]);
    }
  }

  mark({ kind, source, text }) {
    const passage = this.item(source)?.querySelector(".passage");
    if (kind !== "quotation" || !passage) return;
    for (const node of [...passage.childNodes]) {
      const at = node.nodeType === Node.TEXT_NODE ? node.data.indexOf(text) : -1;
      if (at < 0) continue;
      const quoted = node.splitText(at);
      quoted.splitText(text.length);
      quoted.replaceWith(make("mark", {}, text));
      break;
    }
    const first = passage.querySelector("mark");
    if (first) passage.scrollTop = first.offsetTop;
  }

  // Their numbers stay though one of them was forgotten.
  item(number) {
    return [...this.list.children].find((item) => item.dataset.number === String(number));
  }

  show(number) {
    const item = this.item(number);
    if (!item) return;
    for (const other of this.list.children) other.classList.toggle("is-current", other === item);
    item.scrollIntoView({ block: "nearest" });
    item.querySelector("a")?.focus({ preventScroll: true });
  }
}

// What has become of an old answer's note; nothing where all is as it was.
export const changedSince = (remark) =>
  remark && make("p", { class: "note" }, `${remark[0].toUpperCase()}${remark.slice(1)}.`);

function sourceItem(source, now) {
  const place = lines(source.first_line, source.last_line);
  return make(
    "li",
    { "data-number": source.number },
    make("h3", {}, source.path),
    make("p", { class: "place" }, `${source.collection} · ${place}`),
    changedSince(now.remark),
    make(
      "p",
      {
        class: "passage",
        role: "group",
        "aria-label": `Passage of source ${source.number}`,
      },
      source.text,
    ),
    now.path &&
      make(
        "a",
        { href: noteAddress(now), "aria-label": `Open note ${source.path} at ${place}` },
        "Open note",
      ),
  );
}

customElements.define("source-list", SourceList);
