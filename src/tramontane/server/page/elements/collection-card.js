// One collection: how many notes, where they lie, a sync that shows what it would do first, and the
// way to a promise about marks on text like one's own.

import { clear, make } from "/dom.js";
import { events } from "/api.js";
import { count } from "/words.js";
import { collectionAddress } from "/router.js";
import "/elements/label-dialog.js";
import { changesNothing, DID, reportLists, sentenceOf, WOULD } from "/elements/sync-report.js";

class CollectionCard extends HTMLElement {
  connectedCallback() {
    if (this.link) return;
    const { name } = this.collection;
    this.link = make("a", { href: collectionAddress(name) }, name);
    this.counts = make("p", { class: "counts" });
    this.folder = make("p", { class: "folder" });
    this.button = make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Sync ${name}`,
        onclick: () => this.preview(),
      },
      "Sync",
    );
    this.labelling = make("label-dialog");
    const calibrator = make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Calibrate ${name}`,
        onclick: () => this.labelling.open(name),
      },
      "Calibrate",
    );
    this.panel = make("div", { class: "sync", "aria-live": "polite" });
    clear(
      this,
      make(
        "article",
        { "aria-label": `Collection ${name}` },
        make(
          "header",
          {},
          make("h3", {}, this.link),
          make("div", { class: "acts-beside" }, calibrator, this.button),
        ),
        this.counts,
        this.folder,
        this.panel,
      ),
      this.labelling,
    );
    this.update(this.collection);
  }

  update(collection) {
    this.collection = collection;
    if (!this.counts) return;
    this.counts.textContent = `${count(collection.num_notes, "note")}, ${count(collection.num_passages, "passage")}`;
    this.folder.textContent = collection.is_copy
      ? `${collection.folder}, a copy: drop the folder again to update it`
      : collection.folder;
  }

  setCurrent(isCurrent) {
    if (isCurrent) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }

  async preview() {
    const report = await this.run(true, "Comparing with the folder…");
    if (!report) return;
    if (changesNothing(report)) {
      clear(
        this.panel,
        make("p", {}, "Nothing to do: the library holds each note as it is in the folder."),
        reportLists(report, WOULD),
      );
      return;
    }
    clear(
      this.panel,
      make("p", {}, `A sync now: ${sentenceOf(report, WOULD)}`),
      reportLists(report, WOULD),
      report.removed.length > 0 &&
        make(
          "p",
          { class: "note" },
          "Removing takes a note out of the library only. Your files are never touched; a file put back is read again at the next sync.",
        ),
      make(
        "div",
        { class: "actions" },
        make(
          "button",
          { type: "button", class: "primary", onclick: () => this.sync() },
          "Sync now",
        ),
        make("button", { type: "button", class: "quiet", onclick: () => this.leave() }, "Leave it"),
      ),
    );
    this.panel.querySelector("button").focus();
  }

  async sync() {
    const report = await this.run(false, "Syncing…");
    if (!report) return;
    clear(this.panel, make("p", {}, `Done: ${sentenceOf(report, DID)}`), reportLists(report, DID));
    this.button.focus();
    await this.room.load();
  }

  leave() {
    clear(this.panel);
    this.button.focus();
  }

  // Returns the report, or null when an error is shown instead.
  async run(dryRun, says) {
    this.button.disabled = true;
    const state = make("p", {}, says);
    clear(this.panel, state);
    try {
      const body = { name: this.collection.name, dry_run: dryRun };
      for await (const [name, data] of events("/api/sync", body)) {
        if (name === "report") return data;
        state.textContent = `${says} ${data.what}, ${data.done.toLocaleString("en")} of ${data.total.toLocaleString("en")}`;
      }
    } catch (error) {
      clear(this.panel, make("p", { class: "error", role: "alert" }, error.message));
    } finally {
      this.button.disabled = false;
    }
    return null;
  }
}

customElements.define("collection-card", CollectionCard);
