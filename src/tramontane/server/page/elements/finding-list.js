// Sentences that were reported: each a small file that others can replay, and a gate keeps out.

import { clear, make } from "/dom.js";
import { count } from "/words.js";

class FindingList extends HTMLElement {
  take(findings) {
    if (!findings.length) {
      clear(this);
      return;
    }
    clear(
      this,
      make(
        "details",
        {},
        make("summary", {}, count(findings.length, "sentence reported", "sentences reported")),
        make(
          "ul",
          { class: "findings" },
          findings.map((finding) =>
            make(
              "li",
              {},
              make("blockquote", {}, finding.sentence),
              finding.comment && make("p", {}, finding.comment),
              make("p", { class: "place" }, `Asked: ${finding.question} · ${finding.file}`),
            ),
          ),
        ),
        make(
          "p",
          { class: "note" },
          "Replay one with ",
          make("code", {}, "tramontane audit reproduce FILE"),
          "; keep them all from coming back with ",
          make("code", {}, "tramontane audit gate FOLDER"),
          ".",
        ),
      ),
    );
  }
}

customElements.define("finding-list", FindingList);
