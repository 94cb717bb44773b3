// Whose gates open on whose notes, and what to do about pairs that can't be told apart.

import { clear, make } from "/dom.js";
import { startJob } from "/jobs.js";
import { percent } from "/words.js";
import "/elements/job-view.js";

class ExpertOverlap extends HTMLElement {
  connectedCallback() {
    if (this.place) return;
    this.place = make("div", { "aria-live": "polite" });
    clear(
      this,
      make(
        "details",
        {},
        make("summary", {}, "Who opens on whose notes"),
        make(
          "p",
          { class: "note" },
          "Each expert reads each collection, as if it were alone. High figures away from its own notes mean two experts that are hard to tell apart.",
        ),
        make(
          "button",
          { type: "button", class: "quiet", onclick: () => this.measure() },
          "Measure overlap",
        ),
        this.place,
      ),
    );
  }

  async measure() {
    try {
      const view = make("job-view", { job: await startJob("overlap") });
      view.addEventListener("job-end", ({ detail }) => {
        if (detail.state === "done") this.show(detail.result);
      });
      clear(this.place, view);
    } catch (error) {
      clear(this.place, make("p", { class: "error", role: "alert" }, error.message));
    }
  }

  show({ experts, pairs }) {
    const names = Object.keys(experts);
    const texts = Object.keys(experts[names[0]] ?? {});
    clear(
      this.place,
      names.length
        ? make(
            "div",
            { class: "wide-table", role: "region", tabindex: "0", "aria-label": "Overlap" },
            make(
              "table",
              {},
              make("caption", {}, "How far each expert opens, on average"),
              make(
                "thead",
                {},
                make(
                  "tr",
                  {},
                  make("th", { scope: "col" }, "Expert"),
                  texts.map((text) => make("th", { scope: "col" }, `on ${text}`)),
                ),
              ),
              make(
                "tbody",
                {},
                names.map((name) =>
                  make(
                    "tr",
                    {},
                    make("th", { scope: "row" }, name),
                    texts.map((text) => make("td", {}, percent(experts[name][text]))),
                  ),
                ),
              ),
            ),
          )
        : make("p", { class: "note" }, "No expert is in place."),
      pairs.map(({ experts: [one, other], says }) => make("p", {}, `${one} and ${other}: ${says}.`)),
    );
  }
}

customElements.define("expert-overlap", ExpertOverlap);
