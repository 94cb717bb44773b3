// The items that an expert's absence flips or moves, fetched when asked for. Texts that may hurt
// stay behind a second fold.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import { count } from "/words.js";

const WHEN = { with: "likeliest with it", without: "likeliest without it" };

class FlippedItems extends HTMLElement {
  connectedCallback() {
    if (this.place) return;
    const { figure: part } = this;
    const what = part.flips
      ? `${count(part.num_flipped, "item")} that flip without ${part.expert}`
      : `The ${count(part.num_flipped, "item")} that ${part.expert} moves most`;
    this.place = make("div", { "aria-live": "polite" });
    clear(
      this,
      make(
        "details",
        { ontoggle: ({ target }) => target.open && this.load() },
        make("summary", {}, what),
        this.place,
      ),
    );
  }

  async load() {
    if (this.place.firstChild) return;
    const { suite, measure, expert } = this.figure;
    clear(this.place, make("p", { class: "note" }, "Reading…"));
    try {
      const path = `/api/audits/${encodeURIComponent(this.audit.name)}/flipped`;
      this.show(await get(path, { suite, measure, expert }));
    } catch (error) {
      clear(this.place, make("p", { class: "error" }, error.message));
    }
  }

  show({ items, num_items: total, is_sensitive: mayHurt }) {
    const shown = make("ol", { class: "flipped" }, items.map(itemOf));
    const more = total > items.length && make("p", { class: "note" }, `${total - items.length} more are in the audit’s files.`);
    clear(
      this.place,
      mayHurt
        ? make(
            "details",
            {},
            make("summary", {}, "Show the texts: they hold stereotypes and may hurt"),
            shown,
            more,
          )
        : [shown, more],
    );
  }
}

function itemOf(item) {
  return make(
    "li",
    {},
    item.question && make("p", {}, item.question),
    make(
      "ul",
      {},
      item.texts.map(({ text, is_right: isRight, likeliest }) => {
        const marks = [...likeliest.map((when) => WHEN[when]), isRight && "right"].filter(Boolean);
        return make("li", {}, text, marks.length > 0 && make("b", {}, ` (${marks.join(", ")})`));
      }),
    ),
    make("p", { class: "place" }, `${item.group}, ${item.row}`),
  );
}

customElements.define("flipped-items", FlippedItems);
