// One audit: each expert's part in it first, then every suite's figures with their intervals.

import { clear, make, newId } from "/dom.js";
import { count, list, shortHash } from "/words.js";
import "/elements/expert-part.js";

class AuditView extends HTMLElement {
  connectedCallback() {
    const { found } = this;
    const families = Map.groupBy(found.suites, (suite) => suite.family);
    clear(
      this,
      make(
        "p",
        { class: "lead" },
        `${found.base} with ${found.experts.length ? list(found.experts) : "no expert"}: ${count(found.n, "item")}, ${found.scale}, seed ${found.seed}.`,
      ),
      make(
        "p",
        { class: "actions" },
        make(
          "a",
          {
            href: `/api/audits/${encodeURIComponent(found.name)}/report`,
            target: "_blank",
            rel: "noopener",
          },
          "Open the report, to read, print or give away",
        ),
      ),
      found.tampered.length > 0 &&
        make(
          "p",
          { class: "error", role: "alert" },
          `Not as it was written: ${list(found.tampered)}. Run it anew before you rely on it.`,
        ),
      found.has_built_in &&
        make(
          "p",
          { class: "note" },
          "Some suites were asked with built-in samples: enough to see that all works, too few to compare models by.",
        ),
      this.experts(),
      [...families].map(([family, suites]) =>
        make(
          "section",
          { "aria-label": family },
          make("h2", { class: "small-heading" }, family),
          suites.map(suiteBlock),
        ),
      ),
      leftOut(found.left_out),
      make(
        "p",
        { class: "note" },
        "Mixture ",
        make("code", { title: found.mixture_hash }, shortHash(found.mixture_hash)),
        ". To check hashes and read items anew: ",
        make("code", {}, "tramontane audit verify"),
        " with the audit’s folder.",
      ),
    );
  }

  experts() {
    const { found, room } = this;
    const id = newId("which");
    const parts = Map.groupBy(found.parts, (part) => part.expert);
    return make(
      "section",
      { "aria-labelledby": id },
      make("h2", { id, class: "small-heading" }, "Which expert"),
      found.experts.length === 0 &&
        make("p", {}, "No expert was open: all of this is the base’s own."),
      found.experts.length > 0 &&
        found.parts.length === 0 &&
        make("p", {}, "Parts were not measured in this audit."),
      found.parts.length > 0 &&
        make(
          "p",
          { class: "note" },
          found.attribution === "shapley"
            ? "An expert’s part is its mean contribution over all orders in which the experts could have been added; the parts add up to the difference from the base."
            : "An expert’s part is what leaving it out takes away.",
        ),
      found.experts
        .filter((name) => parts.has(name))
        .map((name) => make("expert-part", { room, audit: found, expert: name, parts: parts.get(name) })),
      found.parts.length > 0 &&
        make(
          "p",
          { class: "note" },
          "None of this is promised for the base itself: steering a published model’s own routes has not been found to take bias out of it.",
        ),
    );
  }
}

function suiteBlock(suite) {
  return make(
    "article",
    { class: "suite", "aria-label": suite.title },
    make("h3", {}, suite.title),
    make(
      "p",
      { class: "note" },
      `${suite.about} ${suite.n} of ${count(suite.there_are, "item")}${suite.is_built_in ? ", a built-in sample" : ""}.`,
    ),
    cautions(suite.figures).map((caution) => make("p", { class: "standing" }, caution)),
    make(
      "ul",
      { class: "main-figures" },
      suite.figures.map((figure) =>
        make(
          "li",
          {},
          `${figure.title}: `,
          make("b", {}, figure.value),
          ` (${figure.interval}). ${figure.caution ? "" : figure.says}`,
          figure.beside && ` Beside it: ${figure.beside}.`,
        ),
      ),
    ),
  );
}

// Said once of a suite, not of each of its figures.
const cautions = (figures) => [...new Set(figures.map((figure) => figure.caution).filter(Boolean))];

function leftOut(rows) {
  if (!rows.length) return null;
  return make(
    "details",
    {},
    make("summary", {}, `${count(rows.length, "row")} left out or remarked on`),
    make(
      "ul",
      { class: "plain-list" },
      rows.map(({ suite, row, why }) => make("li", {}, `${suite} ${row}: ${why}`)),
    ),
  );
}

customElements.define("audit-view", AuditView);
