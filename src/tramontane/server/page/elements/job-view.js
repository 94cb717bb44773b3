// One piece of long work: how far it is, its loss while it learns, and pause, resume and cancel.

import { clear, make, newId } from "/dom.js";
import { followJob, hasEnded, steerJob } from "/jobs.js";
import { percent } from "/words.js";
import "/elements/loss-curve.js";

const STATES = {
  waiting: "Waiting for its turn…",
  paused: "Paused. It goes on where it stopped.",
  cancelled: "Cancelled. What was there before is whole.",
  done: "Done.",
};

class JobView extends HTMLElement {
  lastLine = 0;

  connectedCallback() {
    if (this.bar) {
      this.follow();
      return;
    }
    const id = newId("job");
    this.bar = make("progress", { max: "1", "aria-labelledby": id });
    this.state = make("p", { id, class: "note", role: "status" });
    this.curve = make("loss-curve");
    this.lines = make("ol", { class: "job-lines" });
    this.pause = this.button("Pause", "pause");
    this.resume = this.button("Resume", "resume");
    this.cancel = this.button("Cancel", "cancel");
    clear(
      this,
      this.state,
      this.bar,
      this.curve,
      make("div", { class: "actions" }, this.pause, this.resume, this.cancel),
      make("details", {}, make("summary", {}, "What it said"), this.lines),
    );
    this.render();
    this.follow();
  }

  disconnectedCallback() {
    this.stopFollowing?.();
  }

  button(name, wish) {
    const act = async () => {
      try {
        this.take(await steerJob(this.job, wish));
        this.follow();
      } catch (error) {
        this.state.textContent = error.message;
      }
    };
    return make("button", { type: "button", class: "quiet", onclick: act }, name);
  }

  follow() {
    this.stopFollowing?.();
    this.stopFollowing = followJob(
      this.job,
      (job) => this.take(job),
      (line) => this.say(line),
    );
  }

  take(job) {
    const wasOver = hasEnded(this.job);
    this.job = job;
    this.render();
    if (hasEnded(job) && !wasOver) {
      this.dispatchEvent(new CustomEvent("job-end", { detail: job, bubbles: true }));
    }
  }

  say({ id, text }) {
    // Followed anew, a job tells everything again.
    if (id <= this.lastLine) return;
    this.lastLine = id;
    const loss = text.match(/loss (\d+\.\d+)$/);
    if (loss) this.curve.add(Number(loss[1]));
    else this.lines.append(make("li", {}, text));
  }

  render() {
    const { job } = this;
    const share = job.total ? Math.min(1, job.done / job.total) : 0;
    const isOpen = job.state === "running";
    this.bar.hidden = hasEnded(job);
    this.bar.value = share;
    const wished = job.wish && isOpen ? ` It was asked to ${job.wish}.` : "";
    if (job.state === "failed") this.state.textContent = job.error;
    else
      this.state.textContent =
        STATES[job.state] ?? `${capital((job.what || job.kind).replaceAll("_", " "))}, ${percent(share)}.${wished}`;
    this.state.classList.toggle("error", job.state === "failed");
    this.pause.hidden = !isOpen;
    this.resume.hidden = job.state !== "paused";
    this.cancel.hidden = hasEnded(job);
  }
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

customElements.define("job-view", JobView);
