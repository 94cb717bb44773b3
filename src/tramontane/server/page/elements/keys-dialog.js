// The keys, and a switch for those that are single letters.

import { clear, make } from "/dom.js";
import { PLACES } from "/places.js";
import { list } from "/words.js";

const KEYS = [
  ["/", "go to the question or search box"],
  ["Enter", "send; Shift + Enter starts a new line"],
  ["Esc", "stop the answer; close what is open"],
  [
    Object.values(PLACES)
      .map(({ key }) => `g ${key}`)
      .join(" · "),
    `go to ${list(Object.values(PLACES).map(({ title }) => title))}`,
  ],
  ["h", "go to the history"],
  ["↑ ↓ · Delete", "in the history: go to the next question; delete it, once you say so"],
  ["c", "colour by expert"],
  ["?", "this list"],
];
const STORED = "tramontane.single-keys";

class KeysDialog extends HTMLElement {
  areOn = localStorage.getItem(STORED) !== "off";

  connectedCallback() {
    this.dialog = make(
      "dialog",
      { "aria-labelledby": "keys-title" },
      make("h2", { id: "keys-title" }, "Keys"),
      make(
        "dl",
        { class: "keys" },
        KEYS.map(([key, does]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, does)]),
      ),
      make(
        "label",
        { class: "check" },
        make("input", {
          type: "checkbox",
          checked: this.areOn,
          onchange: (event) => this.keep(event.target.checked),
        }),
        make("span", {}, "Single-letter keys are on"),
      ),
      make("form", { method: "dialog" }, make("button", { class: "quiet" }, "Close")),
    );
    clear(
      this,
      make("button", { type: "button", class: "keys-opener", onclick: () => this.open() }, "Keys"),
      this.dialog,
    );
  }

  open() {
    this.dialog.showModal();
  }

  keep(areOn) {
    this.areOn = areOn;
    localStorage.setItem(STORED, areOn ? "on" : "off");
  }
}

customElements.define("keys-dialog", KeysDialog);
