// Models: which bases are here, what would fit on this machine, pulling one, the writer's check.

import { clear, make } from "/dom.js";
import { get } from "/api.js";
import { openJob, startJob } from "/jobs.js";
import { bytes, count, parameters } from "/words.js";
import "/elements/job-view.js";

class ModelsScreen extends HTMLElement {
  connectedCallback() {
    if (this.heading) return;
    this.heading = make("h1", { tabindex: "-1" }, "Models");
    this.machine = make("p", { class: "lead" });
    this.here = make("ul", { class: "expert-cards" });
    this.choices = make("ul", { class: "expert-cards" });
    this.fault = make("p", { class: "error", role: "alert" });
    this.work = make("div", { class: "work" });
    this.other = make("input", {
      id: "other-base",
      type: "text",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "hf:owner/name",
      "aria-describedby": "other-base-help",
    });
    this.addEventListener("job-end", () => this.load());
    clear(
      this,
      make(
        "div",
        { class: "column" },
        this.heading,
        this.machine,
        this.fault,
        this.work,
        make(
          "section",
          { "aria-labelledby": "models-here" },
          make("h2", { id: "models-here", class: "small-heading" }, "Here"),
          this.here,
        ),
        make(
          "section",
          { "aria-labelledby": "models-fit" },
          make("h2", { id: "models-fit", class: "small-heading" }, "What would fit"),
          this.choices,
        ),
        make(
          "form",
          { class: "stack", onsubmit: (event) => this.pullOther(event) },
          make("label", { for: "other-base" }, "Another base"),
          this.other,
          make(
            "p",
            { class: "note", id: "other-base-help" },
            "hf:owner/name from Hugging Face, with :quantisation for one GGUF of several, or the path of a file or folder on this machine.",
          ),
          make("button", { type: "submit", class: "quiet" }, "Pull"),
        ),
      ),
    );
  }

  follow() {
    this.load();
    this.goOn();
  }

  async load() {
    try {
      this.fill(await get("/api/models"));
      this.fault.textContent = "";
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  // Work that began before this page was opened is shown as it goes on.
  async goOn() {
    if (this.work.firstChild) return;
    try {
      const job = (await openJob("pull")) ?? (await openJob("check"));
      if (job) this.show(job);
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  fill({ machine, recommended, choices, here }) {
    this.machine.textContent =
      `This machine has ${count(machine.cores, "core")}, ${bytes(machine.memory_bytes)} of ` +
      `memory and ${bytes(machine.free_disk_bytes)} of disk free.`;
    clear(
      this.here,
      here.length
        ? here.map((base) => this.baseItem(base))
        : make("li", {}, make("p", { class: "note" }, "No base yet. The smallest fits anywhere.")),
    );
    clear(
      this.choices,
      choices.map((choice) => this.choiceItem(choice, choice.what === recommended)),
    );
  }

  baseItem(base) {
    return make(
      "li",
      {},
      make(
        "article",
        { "aria-label": base.name },
        make(
          "header",
          {},
          make("h3", {}, base.name),
          make(
            "button",
            {
              type: "button",
              class: "quiet",
              "aria-label": `Run the writer’s check on ${base.name}`,
              onclick: () => this.start("check", { base: base.name }),
            },
            "Writer’s check",
          ),
        ),
        make(
          "p",
          { class: "counts" },
          `${base.family}, ${parameters(base.parameters)}, ${bytes(base.bytes)}, ${base.licence}`,
        ),
        make("p", {}, checkSaid(base.check)),
        base.is_in_use
          ? make("p", { class: "standing" }, "In use.")
          : make(
              "p",
              { class: "note" },
              "To use it: ",
              make("code", {}, `tramontane --base ${base.name} serve`),
            ),
      ),
    );
  }

  choiceItem(choice, isRecommended) {
    const fits = !choice.obstacle;
    return make(
      "li",
      {},
      make(
        "article",
        { "aria-label": choice.what },
        make(
          "header",
          {},
          make("h3", {}, choice.what),
          fits &&
            !choice.is_here &&
            make(
              "button",
              {
                type: "button",
                class: isRecommended ? "primary" : "quiet",
                "aria-label": `Pull ${choice.what}`,
                onclick: () => this.start("pull", { what: choice.what }),
              },
              "Pull",
            ),
        ),
        make(
          "p",
          { class: "counts" },
          `${choice.kind}, ${parameters(choice.parameters)}, ${bytes(choice.download_bytes)} to ` +
            `fetch, ${bytes(choice.memory_bytes)} of memory, ${choice.licence}`,
        ),
        make(
          "p",
          {},
          `${isRecommended ? "Recommended here: " : ""}${choice.remark}.`,
          choice.is_here ? " It is here." : fits ? "" : ` Too large: it ${choice.obstacle}.`,
        ),
      ),
    );
  }

  pullOther(event) {
    event.preventDefault();
    this.start("pull", { what: this.other.value.trim() });
  }

  async start(kind, given) {
    this.fault.textContent = "";
    try {
      this.show(await startJob(kind, given));
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }

  show(job) {
    const what = job.arguments.what ?? job.arguments.base;
    const title = job.kind === "pull" ? `Pulling ${what}` : `The writer’s check of ${what}`;
    clear(
      this.work,
      make(
        "section",
        { "aria-label": title },
        make("h2", { class: "small-heading" }, title),
        make("job-view", { job }),
      ),
    );
  }

  takeFocus() {
    this.heading.focus();
  }
}

const checkSaid = (check) => {
  if (!check) return "The writer’s check was not run yet, so answers are quotations.";
  const { num_right: right, num_questions: all } = check;
  return check.passed
    ? `Passed the writer’s check, ${right} of ${all}: its prose is shown, each sentence checked.`
    : `Below the writer’s check, ${right} of ${all}: answers are quotations, its own words apart.`;
};

customElements.define("models-screen", ModelsScreen);
