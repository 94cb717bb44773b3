// A form that plans long work, starts it, and shows it, also when the page was closed meanwhile.
// Who extends it has `button` and `state`, and says what comes at a job's end.

import { clear, make } from "/dom.js";
import { openJob, startJob } from "/jobs.js";
import "/elements/job-view.js";

export class PlannedForm extends HTMLElement {
  async begin(kind, asked, title) {
    this.button.disabled = true;
    try {
      this.show(await startJob(kind, asked), title);
    } catch (error) {
      this.sayFault(error.message);
    } finally {
      this.button.disabled = false;
    }
  }

  // Work goes on without the page, and is here again when the page is.
  async goOnWith(kind, doing) {
    try {
      const job = await openJob(kind);
      if (job) this.show(job, `${doing} ${job.arguments.name}`);
    } catch (error) {
      this.sayFault(error.message);
    }
  }

  show(job, title) {
    const view = make("job-view", { job });
    view.addEventListener("job-end", ({ detail }) => this.end(detail));
    this.below = make("div", { "aria-live": "polite" });
    clear(
      this.state,
      make(
        "section",
        { "aria-label": title },
        make("h2", { class: "small-heading" }, title),
        view,
        this.below,
      ),
    );
  }

  // What a plan ends with: do it, or not now.
  acts(label, onclick) {
    const button = (attributes, text) => make("button", { type: "button", ...attributes }, text);
    return make(
      "div",
      { class: "actions" },
      button({ class: "primary", onclick }, label),
      button({ class: "quiet", onclick: () => clear(this.state) }, "Not now"),
    );
  }

  sayFault(message) {
    clear(this.state, make("p", { class: "error", role: "alert" }, message));
  }
}
