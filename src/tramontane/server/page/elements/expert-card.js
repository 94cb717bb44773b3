// One expert: what it learnt, what that is worth, and Withdraw or Restore.

import { clear, make, newId } from "/dom.js";
import { post } from "/api.js";
import { count, percent, shortHash, surprise } from "/words.js";
import "/elements/certificate-view.js";
import "/elements/forget-dialog.js";
import "/elements/pack-dialog.js";
import "/elements/proof-plot.js";

class ExpertCard extends HTMLElement {
  connectedCallback() {
    if (this.body) return;
    const id = newId("expert");
    this.name_ = make("h2", { id });
    this.body = make("div", { class: "facts" });
    this.button = make("button", { type: "button", class: "quiet", onclick: () => this.act() });
    this.state = make("div", { "aria-live": "polite" });
    clear(
      this,
      make(
        "article",
        { "aria-labelledby": id },
        make("header", {}, this.name_, this.button),
        this.body,
        make("proof-plot", { expert: this.expert }),
        make(
          "div",
          { class: "actions" },
          this.action("Pack", () => this.packing.open(this.expert)),
          this.action("Forget", () => this.forgetting.open(this.expert.name)),
        ),
        this.state,
      ),
      (this.confirm = this.question()),
      (this.forgetting = make("forget-dialog", { room: this.room })),
      (this.packing = make("pack-dialog")),
    );
    this.update(this.expert);
  }

  action(word, act) {
    const label = `${word} ${this.expert.name}`;
    return make("button", { type: "button", class: "quiet", "aria-label": label, onclick: act }, word);
  }

  question() {
    const id = newId("withdraw");
    return make(
      "dialog",
      { "aria-labelledby": id },
      make("h2", { id }, `Withdraw ${this.expert.name}?`),
      make(
        "p",
        {},
        "It stops speaking everywhere. Afterwards the model is, bit for bit, what it would have been without it, and a certificate says whether that was so when checked.",
      ),
      make("p", {}, "Your notes stay as they are. Restore brings the expert back."),
      make(
        "div",
        { class: "actions" },
        make(
          "button",
          { type: "button", class: "primary", onclick: () => this.withdraw() },
          "Withdraw",
        ),
        make(
          "button",
          { type: "button", class: "quiet", onclick: () => this.confirm.close() },
          "Keep it",
        ),
      ),
    );
  }

  update(expert) {
    this.expert = expert;
    if (!this.body) return;
    const { name, is_withdrawn: isGone } = expert;
    clear(
      this.name_,
      make("span", { class: "dot", "data-hue": this.room.hueOf(name), "aria-hidden": "true" }),
      name,
    );
    this.classList.toggle("is-withdrawn", isGone);
    this.button.textContent = isGone ? "Restore" : "Withdraw";
    this.button.setAttribute("aria-label", `${this.button.textContent} ${name}`);
    const place = isGone
      ? "Withdrawn: it has no part in any answer."
      : expert.is_in_place
        ? ""
        : "Learnt, but not in the mixture in use.";
    // Experts learnt before this was looked at say nothing of it.
    const known = expert.manifest?.memorised;
    clear(
      this.body,
      place && make("p", { class: "standing" }, place),
      make(
        "p",
        {},
        `Learnt from ${count(expert.num_notes, "note")} of ${expert.collection}. ${surprise(expert.perplexity_before, expert.perplexity_after)}`,
      ),
      make(
        "p",
        {},
        `It speaks up in ${percent(expert.own_open_rate)} of places in its own notes, and in ${percent(expert.public_open_rate)} in other text.`,
      ),
      known &&
        make(
          "p",
          {},
          `By heart: it continues ${known.expert} of ${count(known.prompts, "passage")} of its notes word for word; without it the model does ${known.base}.`,
        ),
      make(
        "p",
        { class: "place" },
        lineage(expert.manifest),
        " Hash ",
        make("code", { title: expert.hash }, shortHash(expert.hash)),
      ),
    );
  }

  act() {
    if (this.expert.is_withdrawn) this.restore();
    else this.confirm.showModal();
  }

  async withdraw() {
    this.confirm.close();
    await this.work("Withdrawing, and checking it against a model that never had it…", async () => {
      const { certificate } = await post(
        `/api/experts/${encodeURIComponent(this.expert.name)}/withdraw`,
      );
      clear(
        this.state,
        certificate
          ? make("certificate-view", { certificate })
          : make(
              "p",
              { class: "note" },
              "It was in no mixture of this base: nothing was to prove.",
            ),
      );
    });
  }

  async restore() {
    await this.work("Restoring…", async () => {
      await post(`/api/experts/${encodeURIComponent(this.expert.name)}/restore`);
      clear(this.state, make("p", { class: "note" }, "It is back in the mixture."));
    });
  }

  async work(says, act) {
    this.button.disabled = true;
    clear(this.state, make("p", { class: "note" }, says));
    try {
      await act();
      await this.room.load();
    } catch (error) {
      clear(this.state, make("p", { class: "error", role: "alert" }, error.message));
    } finally {
      this.button.disabled = false;
      this.button.focus();
    }
  }
}

function lineage({ owner, licence, base, notes }) {
  const learnt = notes?.tokens ? `, ${notes.tokens.toLocaleString("en")} tokens` : "";
  const whose = owner ? `By ${owner}` : "Nobody said whose it is";
  const terms = licence ? `under ${licence}` : "no licence was said";
  const on = base ? `; learnt on ${base.name} ${shortHash(base.sha256)}${learnt}` : "";
  return `${whose}, ${terms}${on}.`;
}

customElements.define("expert-card", ExpertCard);
