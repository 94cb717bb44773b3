// Learning an expert: choose or drop a folder, read the plan, watch it learn.

import { clear, make } from "/dom.js";
import { takeDrops } from "/dropped.js";
import { bytes, count, duration, surprise } from "/words.js";
import "/elements/choose-folder.js";
import { PlannedForm } from "/elements/planned-form.js";

const MOST_TOKENS = 100000;

class LearnForm extends PlannedForm {
  connectedCallback() {
    if (this.folder) return;
    this.folder = this.field("learn-folder", { required: true, placeholder: "/home/me/Notes" });
    this.name_ = this.field("learn-name", { required: true, maxlength: 200 });
    this.owner = this.field("learn-owner", { maxlength: 200 });
    this.licence = this.field("learn-licence", { maxlength: 200, placeholder: "CC-BY-4.0" });
    this.tokens = this.field("learn-tokens", { required: true, inputmode: "numeric" });
    this.tokens.value = String(MOST_TOKENS);
    this.folder.addEventListener("input", () => this.suggestName());
    this.known = make("datalist", { id: "known-folders" });
    this.folder.setAttribute("list", "known-folders");
    this.giver = make("choose-folder", { room: this.room });
    this.giver.addEventListener("folder-given", ({ detail }) => {
      this.take(detail);
      this.name_.focus();
    });
    this.giver.addEventListener("folder-gone", ({ detail }) => this.take("", detail));
    this.state = make("div", { class: "learn-state" });
    this.button = make("button", { type: "submit", class: "primary" }, "See the plan");
    this.details = make(
      "details",
      { class: "own-folder" },
      make("summary", {}, "Learn an expert from a folder"),
      make(
        "form",
        {
          "aria-label": "Learn an expert",
          onsubmit: (event) => this.plan(event),
        },
        make(
          "p",
          { class: "note", id: "learn-help" },
          "Type the folder’s path: its files are read where they lie. Notes that say “train: no” are left out.",
        ),
        make("label", { for: "learn-folder" }, "Folder of notes"),
        this.folder,
        this.known,
        this.giver,
        make("label", { for: "learn-name" }, "Name of the expert"),
        this.name_,
        make(
          "details",
          {},
          make("summary", {}, "More"),
          make("label", { for: "learn-owner" }, "Whose notes these are"),
          this.owner,
          make("label", { for: "learn-licence" }, "Licence it may be shared under"),
          this.licence,
          make("label", { for: "learn-tokens" }, "Tokens to learn from at most"),
          this.tokens,
        ),
        this.button,
      ),
    );
    clear(this, this.details, this.state);
    takeDrops(this, (given) => this.drop(given));
    this.room.addEventListener("change", () => this.render());
    this.render();
    this.goOnWith("learn", "Learning");
  }

  field(id, more) {
    return make("input", { id, type: "text", autocomplete: "off", spellcheck: "false", ...more });
  }

  render() {
    clear(
      this.known,
      this.room.collections.map(({ folder }) => make("option", { value: folder })),
    );
  }

  // A collection that is known keeps its name: the expert's is the same.
  suggestName() {
    const folder = this.folder.value.trim().replace(/[/\\]+$/, "");
    const known = this.room.collections.find((collection) => collection.folder === folder);
    const last = folder.split(/[/\\]/).pop() ?? "";
    this.name_.value = known?.name ?? last.toLowerCase();
  }

  drop(given) {
    this.details.open = true;
    if (!this.giver.drop(given)) this.folder.focus();
  }

  // Takes a folder's path in place of another, or of whatever is there.
  take(folder, instead = this.folder.value) {
    if (this.folder.value !== instead) return;
    this.folder.value = folder;
    this.suggestName();
  }

  get asked() {
    return { folder: this.folder.value.trim(), max_tokens: Number(this.tokens.value) };
  }

  async plan(event) {
    event.preventDefault();
    await this.begin("plan", this.asked, "Plan");
  }

  end(job) {
    if (job.state !== "done") return;
    if (job.kind === "plan") this.showPlan(job.result);
    else this.showLearnt(job);
  }

  showPlan(plan) {
    const asked = {
      ...this.asked,
      name: this.name_.value.trim(),
      owner: this.owner.value.trim(),
      licence: this.licence.value.trim(),
    };
    clear(
      this.below,
      make(
        "p",
        {},
        `It would learn from ${count(plan.notes, "note")} (${count(plan.tokens, "token")}, ` +
          `${count(plan.epochs, "time")} over) and measure itself on ${plan.held_out_notes} it has not seen.`,
      ),
      make(
        "p",
        {},
        `That takes about ${duration(plan.seconds)}, ${bytes(plan.memory_bytes)} of memory and ` +
          `${bytes(plan.disk_bytes)} of disk, most of it only until it is done.`,
      ),
      this.acts(`Learn ${asked.name}`, () =>
        this.begin("learn", asked, `Learning ${asked.name}`),
      ),
    );
  }

  async showLearnt({ result }) {
    const { expert, contested_with: others } = result;
    clear(
      this.below,
      make("p", {}, `${expert} is in place. ${surprise(result.perplexity_before, result.perplexity_after)}`),
      others?.length > 0 &&
        make(
          "p",
          {},
          `It opens on the notes of ${others.join(", ")} too: where both speak, both are named.`,
        ),
    );
    await this.room.load();
  }
}

customElements.define("learn-form", LearnForm);
