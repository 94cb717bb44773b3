// What can be done about an expert: close it and audit again, raise its threshold, learn it anew,
// withdraw it.

import { clear, make } from "/dom.js";
import { startJob } from "/jobs.js";
import "/elements/job-view.js";

class ExpertActs extends HTMLElement {
  connectedCallback() {
    if (this.state) return;
    const { expert: name, isOpen } = this;
    this.state = make("div", { "aria-live": "polite" });
    clear(
      this,
      make(
        "details",
        { open: isOpen },
        make("summary", {}, `What can be done about ${name}`),
        make(
          "ul",
          { class: "acts" },
          this.act(
            "Close it and audit again",
            "The mixture stays as it is; the next audit leaves the expert closed. Compare the two.",
            () => this.closeAndAudit(),
          ),
          this.act(
            "Raise its threshold",
            "The same expert behind gates that open less often; what that costs on its own notes is measured. The first one stays; the new one is put beside it.",
            () => this.raise(),
          ),
          this.act(
            "Learn it anew with swapped pairs",
            "From its notes and their twins, in which words for men and women stand in each other’s place. The first one stays; the new one is put beside it.",
            () => this.relearn(),
          ),
          make(
            "li",
            {},
            make("a", { href: "#/experts", "aria-label": `Withdraw ${name}` }, "Withdraw it"),
            make("p", { class: "note" }, "Exact, with a certificate, and undone by Restore."),
          ),
        ),
        this.state,
      ),
    );
  }

  act(title, about, onclick) {
    const label = `${title}: ${this.expert}`;
    return make(
      "li",
      {},
      make("button", { type: "button", class: "quiet", "aria-label": label, onclick }, title),
      make("p", { class: "note" }, about),
    );
  }

  closeAndAudit() {
    const { audit, expert: name } = this;
    const detail = {
      scale: audit.scale,
      seed: audit.seed,
      experts: audit.experts.filter((other) => other !== name),
      name: `${audit.name}-without-${name}`.slice(0, 80),
    };
    this.dispatchEvent(new CustomEvent("audit-again", { detail, bubbles: true }));
  }

  raise() {
    this.begin("raise", { name: this.expert }, ({ expert, says }) => [
      `${says} ${expert} is not in place yet. To audit a mixture with it: `,
      make("code", {}, `tramontane mixture add MIXTURE ${expert}`),
    ]);
  }

  relearn() {
    this.begin("relearn", { name: this.expert }, ({ expert }) => [
      `${expert} is learnt, and not in place yet. To audit a mixture with it: `,
      make("code", {}, `tramontane mixture add MIXTURE ${expert}`),
    ]);
  }

  async begin(kind, asked, said) {
    try {
      const view = make("job-view", { job: await startJob(kind, asked) });
      const below = make("p", {});
      view.addEventListener("job-end", ({ detail }) => {
        if (detail.state === "done") clear(below, said(detail.result));
      });
      clear(this.state, view, below);
    } catch (error) {
      clear(this.state, make("p", { class: "error", role: "alert" }, error.message));
    }
  }
}

customElements.define("expert-acts", ExpertActs);
