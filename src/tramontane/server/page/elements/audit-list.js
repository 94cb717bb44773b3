// The audits that are kept, the newest first: main figures in words, two to compare, those begun.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import { startJob, steerJob } from "/jobs.js";
import { opener } from "/elements/audit-form.js";
import { count, list, shortHash } from "/words.js";

class AuditList extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    this.list = make("ul", { class: "expert-cards" });
    this.begun = make("ul", { class: "expert-cards" });
    this.state = make("p", { class: "error", role: "alert" });
    this.compare = make(
      "button",
      { type: "button", class: "quiet", onclick: () => this.goCompare() },
      "Compare",
    );
    this.hint = make("p", { class: "note", role: "status" });
    this.comparing = make("div", { class: "actions" }, this.compare, this.hint);
    this.empty = make(
      "section",
      { class: "empty", "aria-label": "No audits yet" },
      make(
        "p",
        {},
        "No audit yet. A quick one with the built-in samples takes a few minutes and shows what the figures look like. For figures to compare models by, name a folder of published suites under “More”.",
      ),
      make("p", { class: "note" }, "From a terminal: ", make("code", {}, "tramontane audit --quick")),
    );
    this.chosen = [];
    clear(this, this.empty, this.state, this.begun, this.comparing, this.list);
    this.renderChoice();
  }

  take({ audits, unfinished, broken }) {
    this.empty.hidden = audits.length + unfinished.length + broken.length > 0;
    this.comparing.hidden = audits.length < 2;
    const names = audits.map((audit) => audit.name);
    this.chosen = this.chosen.filter((name) => names.includes(name));
    clear(
      this.begun,
      unfinished.map((audit) => this.begunItem(audit)),
    );
    clear(
      this.list,
      audits.map((audit) => this.item(audit, audits.length > 1)),
      broken.map(({ name, why }) =>
        make("li", {}, make("h2", {}, name), make("p", { class: "error" }, why)),
      ),
    );
    this.renderChoice();
  }

  item(audit, canCompare) {
    const experts = audit.experts.length ? list(audit.experts) : "no expert";
    return make(
      "li",
      {},
      make(
        "article",
        { "aria-label": audit.name },
        make(
          "header",
          {},
          make("h2", {}, opener(audit.name, audit.name)),
          canCompare &&
            make(
              "label",
              { class: "check" },
              make("input", {
                type: "checkbox",
                checked: this.chosen.includes(audit.name),
                "aria-label": `Compare ${audit.name}`,
                onchange: ({ target }) => this.choose(audit.name, target.checked),
              }),
              "compare",
            ),
        ),
        make(
          "p",
          { class: "counts" },
          `${audit.base} with ${experts}; ${count(audit.n, "item")}, ${audit.scale}, seed ${audit.seed}; mixture `,
          make("code", { title: audit.mixture_hash }, shortHash(audit.mixture_hash)),
        ),
        audit.has_built_in &&
          make(
            "p",
            { class: "note" },
            "Some of it with built-in samples: too few items to compare models by.",
          ),
        make(
          "ul",
          { class: "main-figures" },
          audit.main.map((figure) =>
            make(
              "li",
              {},
              make("b", {}, figure.suite_title),
              ` ${figure.title}: ${figure.value} (${figure.interval}). ${figure.says}`,
            ),
          ),
        ),
      ),
    );
  }

  begunItem({ name, num_scored: scored }) {
    return make(
      "li",
      {},
      make(
        "article",
        { "aria-label": `${name}, begun` },
        make(
          "header",
          {},
          make("h2", {}, name),
          make(
            "button",
            {
              type: "button",
              class: "quiet",
              "aria-label": `Go on with ${name}`,
              onclick: () => this.goOn(name),
            },
            "Go on",
          ),
        ),
        make("p", {}, `Begun: ${count(scored, "item")} scored so far, all of it kept.`),
      ),
    );
  }

  async goOn(name) {
    this.state.textContent = "";
    try {
      const { jobs } = await get("/api/jobs");
      const job = jobs.find((one) => one.kind === "audit" && one.arguments.name === name);
      if (!job)
        throw new Error(
          `No job of ${name} is known any more. The same command that began it goes on with it.`,
        );
      if (["running", "waiting"].includes(job.state)) return;
      const going = job.state === "done" ? await startJob("audit", job.arguments) : await steerJob(job, "resume");
      this.dispatchEvent(new CustomEvent("audit-goes-on", { detail: going, bubbles: true }));
    } catch (error) {
      this.state.textContent = error.message;
    }
  }

  choose(name, isChosen) {
    this.chosen = this.chosen.filter((other) => other !== name);
    if (isChosen) this.chosen.push(name);
    this.renderChoice();
  }

  renderChoice() {
    const { length } = this.chosen;
    this.compare.disabled = length !== 2;
    this.hint.textContent =
      length === 2
        ? `${this.chosen[0]} before, ${this.chosen[1]} after.`
        : "Choose two audits: the one before first, then the one after.";
  }

  goCompare() {
    location.hash = `#/audit/${this.chosen.map(encodeURIComponent).join("/")}`;
  }
}

customElements.define("audit-list", AuditList);
