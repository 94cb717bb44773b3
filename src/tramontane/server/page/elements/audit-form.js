// Running an audit: what is asked, the plan with its time, then watching it.

import { clear, make } from "/dom.js";
import { count, duration } from "/words.js";
import { PlannedForm } from "/elements/planned-form.js";

const SCALES = {
  quick: ["Quick", "a few items of each suite: minutes"],
  default: ["Ordinary", "a fixed sample of each suite: about half an hour on two cores"],
  full: ["Full", "all items: hours"],
};
const FAMILIES = {
  truth: "Truth",
  bias: "Bias",
  ability: "Ability",
  memory: "Memory: what comes out of your notes word for word",
  routing: "Routing: where the experts speak",
};

class AuditForm extends PlannedForm {
  connectedCallback() {
    if (this.name_) return;
    this.name_ = make("input", {
      id: "audit-name",
      type: "text",
      required: true,
      maxlength: 80,
      pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "audit-name-help",
    });
    this.data = make("input", {
      id: "audit-data",
      type: "text",
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "/home/me/suites",
      "aria-describedby": "audit-data-help",
    });
    this.seed = make("input", { id: "audit-seed", type: "text", inputmode: "numeric", value: "0" });
    this.scales = choices("radio", "audit-scale", "quick", SCALES);
    this.families = choices("checkbox", "audit-family", null, FAMILIES);
    this.experts = make("div", {});
    this.state = make("div", { class: "learn-state" });
    this.button = make("button", { type: "submit", class: "primary" }, "See the plan");
    this.details = make(
      "details",
      { class: "own-folder" },
      make("summary", {}, "Run an audit"),
      make(
        "form",
        { "aria-label": "Run an audit", onsubmit: (event) => this.plan(event) },
        make("label", { for: "audit-name" }, "Name"),
        this.name_,
        make(
          "p",
          { class: "note", id: "audit-name-help" },
          "Letters, digits, dots, dashes and underscores. It names the folder in which the audit is kept.",
        ),
        make("fieldset", {}, make("legend", {}, "How much"), this.scales),
        make("fieldset", {}, make("legend", {}, "What"), this.families),
        this.experts,
        make(
          "details",
          {},
          make("summary", {}, "More"),
          make("label", { for: "audit-data" }, "Folder of published suites"),
          this.data,
          make(
            "p",
            { class: "note", id: "audit-data-help" },
            "Left empty, small samples written for this project are asked. They show that all works and are too few to compare models by.",
          ),
          make("label", { for: "audit-seed" }, "Seed: which items are drawn"),
          this.seed,
        ),
        this.button,
      ),
    );
    clear(this, this.details, this.state);
    this.room.addEventListener("change", () => this.showExperts());
    this.showExperts();
    this.goOnWith("audit", "Auditing");
  }

  // `told` is what the server says of audits that are kept.
  take({ audits, unfinished, broken }) {
    this.taken = new Set([...audits, ...unfinished, ...broken].map((audit) => audit.name));
    this.details.open ||= audits.length === 0 && unfinished.length === 0;
    if (!this.name_.value || this.taken.has(this.name_.value)) this.name_.value = this.freeName();
  }

  freeName() {
    const { scale } = this.asked;
    for (let number = 1; ; number += 1) {
      const name = `${scale}-${number}`;
      if (!this.taken?.has(name)) return name;
    }
  }

  showExperts() {
    const { inPlace } = this.room;
    const names = inPlace.map((expert) => expert.name).join("\n");
    if (names === this.shownNames) return;
    this.shownNames = names;
    clear(
      this.experts,
      inPlace.length > 0 &&
        make(
          "fieldset",
          {},
          make("legend", {}, "Experts: those left out are closed for this audit"),
          choices(
            "checkbox",
            "audit-expert",
            null,
            Object.fromEntries(inPlace.map((expert) => [expert.name, [expert.name]])),
          ),
        ),
    );
  }

  chosen(group) {
    const boxes = [...this.querySelectorAll(`input[name="${group}"]`)];
    return {
      all: boxes.every((box) => box.checked),
      values: boxes.filter((box) => box.checked).map((box) => box.value),
    };
  }

  get asked() {
    const families = this.chosen("audit-family");
    const experts = this.chosen("audit-expert");
    return {
      name: this.name_.value.trim(),
      scale: this.chosen("audit-scale").values[0],
      suites: families.all ? [] : families.values,
      experts: experts.all ? null : experts.values,
      seed: Number(this.seed.value),
      data: this.data.value.trim() ? [this.data.value.trim()] : [],
    };
  }

  // What another audit asked, but for its name and the experts left open.
  fill({ scale, seed, experts, name }) {
    for (const box of this.querySelectorAll('input[name="audit-scale"]'))
      box.checked = box.value === scale;
    for (const box of this.querySelectorAll('input[name="audit-expert"]'))
      box.checked = experts.includes(box.value);
    this.seed.value = String(seed);
    this.name_.value = this.taken?.has(name) ? this.freeName() : name;
    this.details.open = true;
    this.button.focus();
  }

  async plan(event) {
    event.preventDefault();
    if (!this.chosen("audit-family").values.length) {
      this.sayFault("Nothing is chosen under “What”; choose at least one.");
      return;
    }
    if (this.taken?.has(this.asked.name)) {
      this.sayFault(`There is an audit ${this.asked.name} already; choose another name.`);
      this.name_.focus();
      return;
    }
    await this.begin("audit-plan", this.asked, "Plan");
  }

  end(job) {
    if (job.state === "cancelled" && job.kind === "audit")
      clear(
        this.below,
        make("p", { class: "note" }, "What was scored is kept; the audit can go on below."),
      );
    if (job.state !== "done") return;
    if (job.kind === "audit-plan") this.showPlan(job);
    else clear(this.below, make("p", {}, opener(job.arguments.name, "See what it found")));
  }

  showPlan({ arguments: asked, result: plan }) {
    const builtIn = plan.suites.filter((suite) => suite.is_built_in);
    clear(
      this.below,
      make(
        "p",
        {},
        `It would ask ${count(plan.n, "item")} of ${count(plan.suites.length, "suite")}. That takes about ${duration(plan.seconds)}; stopped, it goes on where it was.`,
      ),
      builtIn.length > 0 &&
        make(
          "p",
          { class: "note" },
          `${count(builtIn.length, "suite")} would be asked with built-in samples.`,
        ),
      make(
        "details",
        {},
        make("summary", {}, "Each suite"),
        make(
          "ul",
          { class: "plain-list" },
          plan.suites.map((suite) =>
            make(
              "li",
              {},
              `${suite.title}: ${suite.n} of ${suite.there_are}, about ${duration(suite.seconds)}`,
            ),
          ),
          Object.entries(plan.nothing_of).map(([title, why]) =>
            make("li", {}, `${title}: not asked, ${why}`),
          ),
        ),
      ),
      this.acts(`Run ${asked.name}`, () =>
        this.begin("audit", asked, `Auditing ${asked.name}`),
      ),
    );
  }
}

export const opener = (name, words) =>
  make("a", { href: `#/audit/${encodeURIComponent(name)}` }, words);

// `only` names the one that is chosen; null means all are.
function choices(type, group, only, told) {
  return Object.entries(told).map(([value, said]) => {
    const [title, about] = [said].flat();
    return make(
      "label",
      { class: "check" },
      make("input", { type, name: group, checked: only === null || value === only, value }),
      make("span", {}, title, about && make("span", { class: "note" }, ` ${about}`)),
    );
  });
}

customElements.define("audit-form", AuditForm);
