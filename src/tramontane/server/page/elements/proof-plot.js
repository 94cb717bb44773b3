// An expert's proof as bars, with the same numbers as a table behind them.

import { clear, make } from "/dom.js";
import { shape } from "/svg.js";
import { percent } from "/words.js";

const WIDTH = 360;
const LABEL = 150;
const ROW = 22;
const BAR = 12;
const VALUE = 52;
const MOST_GENRES = 6;

class ProofPlot extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    clear(
      this,
      make(
        "details",
        { ontoggle: ({ target }) => target.open && this.draw() },
        make("summary", {}, "Figures"),
        (this.place = make("div", { class: "plots" })),
      ),
    );
  }

  draw() {
    if (!this.place.firstChild) clear(this.place, groupsOf(this.expert.manifest).map(figure));
  }
}

function groupsOf({ held_out: held, gates, other_text: other, layers_moved: moved }) {
  const one = (value) => value.toFixed(1);
  const two = (value) => value.toFixed(2);
  const groups = [
    [
      `Perplexity on ${held.notes} notes held out`,
      one,
      [
        ["without the expert", held.perplexity_before, "base"],
        ["with it", held.perplexity_after, "own"],
      ],
    ],
    [
      "Gates open, of all tokens and layers",
      percent,
      [
        ["own notes held out", gates.own_held_out, "own"],
        ...Object.entries(gates.public)
          .sort((a, b) => b[1] - a[1])
          .slice(0, MOST_GENRES)
          .map(([genre, rate]) => [genre.replaceAll("_", " "), rate, "base"]),
      ],
    ],
  ];
  if (other) {
    groups.push([
      "Perplexity on public text it was not fitted on",
      two,
      [
        ["without the expert", other.perplexity_before, "base"],
        ["with it", other.perplexity_after, "own"],
      ],
    ]);
  }
  if (moved) {
    groups.push([
      "How far each layer moved",
      percent,
      Object.entries(moved).map(([layer, row]) => [`layer ${layer}`, row.moved, "own"]),
    ]);
  }
  return groups;
}

function figure([title, written, bars]) {
  const longest = Math.max(...bars.map(([, value]) => value)) || 1;
  const room = WIDTH - LABEL - VALUE;
  const drawn = bars.map(([label, value, kind], place) => {
    const y = place * ROW;
    const length = Math.max(1, Math.round((room * value) / longest));
    return [
      shape("text", { x: 0, y: y + BAR }, label),
      shape("rect", { x: LABEL, y: y + 2, width: length, height: BAR, class: `bar-${kind}` }),
      shape("text", { x: LABEL + length + 6, y: y + BAR }, written(value)),
    ];
  });
  return make(
    "figure",
    {},
    make("figcaption", {}, title),
    shape(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${bars.length * ROW}`, class: "bars", "aria-hidden": "true" },
      drawn,
    ),
    make(
      "details",
      {},
      make("summary", {}, "As a table"),
      make(
        "table",
        {},
        make("caption", { class: "unseen" }, title),
        make(
          "tbody",
          {},
          bars.map(([label, value]) =>
            make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, written(value))),
          ),
        ),
      ),
    ),
  );
}

customElements.define("proof-plot", ProofPlot);
