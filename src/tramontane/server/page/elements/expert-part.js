// One expert's part in an audit's figures, the items that flip without it, and what can be done.

import { clear, make, newId } from "/dom.js";
import { pValue } from "/elements/audit-comparison.js";
import { count } from "/words.js";
import "/elements/expert-acts.js";
import "/elements/flipped-items.js";

class ExpertPart extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    const { audit, expert: name, parts, room } = this;
    const id = newId("part");
    const clear_ = parts.filter((part) => part.is_clear);
    const unclear = parts.filter((part) => !part.is_clear);
    const doesHarm = parts.some((part) => part.is_harm);
    clear(
      this,
      make(
        "article",
        { "aria-labelledby": id },
        make(
          "h3",
          { id },
          make("span", { class: "dot", "data-hue": room.hueOf(name), "aria-hidden": "true" }),
          ` ${name}`,
        ),
        make(
          "p",
          {},
          clear_.length
            ? `Its interval leaves out zero in ${clear_.length} of ${count(parts.length, "figure")}.`
            : `Its part can’t be told from nothing in any of ${count(parts.length, "figure")}: a result too.`,
        ),
        clear_.map((part) => this.partBlock(part)),
        unclear.length > 0 &&
          make(
            "details",
            {},
            make("summary", {}, `${count(unclear.length, "figure")} with no part that could be told`),
            unclear.map((part) => this.partBlock(part)),
          ),
        make("expert-acts", { audit, expert: name, isOpen: doesHarm }),
      ),
    );
  }

  partBlock(part) {
    return make(
      "div",
      { class: "part" },
      make("p", {}, make("b", {}, `${part.suite_title}: ${part.title}`), `: ${part.says}.`),
      make(
        "p",
        { class: "counts" },
        `With it ${part.before}, without it ${part.after}; ${part.test}, p ${pValue(part.p)}, corrected.`,
      ),
      part.num_flipped > 0 && make("flipped-items", { audit: this.audit, figure: part }),
    );
  }
}

customElements.define("expert-part", ExpertPart);
