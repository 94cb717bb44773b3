// The passages that a draft rests on, beside it; each says what has become of its note since.

import { clear, make } from "/dom.js";
import { noteAddress } from "/router.js";
import { lines } from "/words.js";

class DraftSources extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ol", { class: "sources" });
    clear(
      this,
      make(
        "aside",
        { "aria-labelledby": "draft-sources-heading" },
        make("h2", { id: "draft-sources-heading", class: "small-heading" }, "Sources"),
        this.list,
      ),
    );
    this.hidden = true;
  }

  take({ sections, where }) {
    const sources = sections.flatMap((section) => section?.sources ?? []);
    sources.sort((one, other) => one.number - other.number);
    this.hidden = !sources.length;
    clear(
      this.list,
      sources.map((source) => item(source, where[source.number])),
    );
    for (const passage of this.list.querySelectorAll(".passage")) {
      if (passage.scrollHeight > passage.clientHeight) passage.tabIndex = 0;
    }
  }

  show(number) {
    for (const item of this.list.children) {
      const isIt = item.value === number;
      item.classList.toggle("is-current", isIt);
      if (!isIt) continue;
      item.scrollIntoView({ block: "nearest" });
      (item.querySelector("a") ?? item.querySelector(".passage")).focus({ preventScroll: true });
    }
  }
}

function item(source, where) {
  const path = where?.path ?? source.path;
  const first = where?.first_line ?? source.first_line;
  const last = where?.last_line ?? source.last_line;
  const place = lines(first, last);
  const canOpen = where?.state !== "gone";
  return make(
    "li",
    { value: source.number, "data-number": source.number },
    make("h3", {}, path),
    make("p", { class: "place" }, `${source.collection} · ${place}`),
    where?.remark && make("p", { class: "note" }, `${sentence(where.remark)}.`),
    make(
      "p",
      { class: "passage", role: "group", "aria-label": `Passage of source ${source.number}` },
      source.text,
    ),
    canOpen &&
      make(
        "a",
        {
          href: noteAddress({ ...source, path, first_line: first, last_line: last }),
          "aria-label": `Open note ${path} at ${place}`,
        },
        "Open note",
      ),
  );
}

const sentence = (remark) => remark[0].toUpperCase() + remark.slice(1);

customElements.define("draft-sources", DraftSources);
