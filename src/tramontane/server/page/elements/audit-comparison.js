// Two audits of the same items: what changed, and what is no more than noise.

import { clear, make } from "/dom.js";
import { count, list } from "/words.js";

class AuditComparison extends HTMLElement {
  connectedCallback() {
    const { found } = this;
    const changed = found.changes.filter((change) => change.verdict === "changed");
    const noise = found.changes.filter((change) => change.verdict === "noise");
    const same = found.changes.length - changed.length - noise.length;
    clear(
      this,
      make("p", { class: "lead" }, said(found, changed, noise.length, same)),
      found.differences.length > 0 &&
        make("p", { class: "note" }, `Besides: ${list(found.differences)}.`),
      section("What changed", changed, "Nothing changed by more than noise."),
      noise.length > 0 &&
        make(
          "details",
          {},
          make("summary", {}, `${count(noise.length, "figure")} that differ by no more than noise`),
          table("No more than noise", noise),
        ),
      make(
        "p",
        { class: "note" },
        "The same items are paired. p-values are corrected for how many figures were looked at: of two equal models, at most one comparison in twenty calls anything changed.",
      ),
    );
  }
}

const said = (found, changed, noise, same) =>
  found.is_identical
    ? `Identical: all ${count(found.items_paired, "item")} were read with the same bits.`
    : `${count(found.items_paired, "item")} are in both, ${found.items_equal} of them read with the same bits. ` +
      `${count(changed.length, "figure")} changed, ${noise} differ by no more than noise, ${same} are the same.`;

function section(title, changes, nothing) {
  return make(
    "section",
    { "aria-label": title },
    make("h2", { class: "small-heading" }, title),
    changes.length ? table(title, changes) : make("p", {}, nothing),
  );
}

function table(caption, changes) {
  return make(
    "div",
    { class: "wide-table", tabindex: "0", role: "region", "aria-label": caption },
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, caption),
      make(
        "thead",
        {},
        make(
          "tr",
          {},
          ["Figure", "Before → after", "Difference, 95 % interval", "Items", "p"].map((title) =>
            make("th", { scope: "col" }, title),
          ),
        ),
      ),
      make(
        "tbody",
        {},
        changes.map((change) =>
          make(
            "tr",
            {},
            make("th", { scope: "row" }, `${change.suite_title}: ${change.title}`),
            make("td", {}, `${change.before} → ${change.after}`),
            make("td", {}, change.difference),
            make(
              "td",
              {},
              change.test === "McNemar"
                ? `${change.num_won} won, ${change.num_lost} lost of ${change.n}`
                : String(change.n),
            ),
            make("td", {}, pValue(change.p)),
          ),
        ),
      ),
    ),
  );
}

export const pValue = (p) => (p === null ? "not tested" : p < 0.001 ? "< 0.001" : p.toFixed(3));

customElements.define("audit-comparison", AuditComparison);
