// "Use my own folder": a path on this machine, or a folder dropped or chosen, becomes a collection.

import { clear, make } from "/dom.js";
import { events } from "/api.js";
import { takeDrops } from "/dropped.js";
import { collectionAddress } from "/router.js";
import "/elements/choose-folder.js";
import { DID, reportLists, sentenceOf } from "/elements/sync-report.js";

class AddFolder extends HTMLElement {
  connectedCallback() {
    if (this.name_) return;
    this.folder = make("input", {
      id: "own-folder",
      type: "text",
      required: true,
      autocomplete: "off",
      spellcheck: "false",
      placeholder: "/home/me/Notes",
      "aria-describedby": "own-folder-help",
      oninput: () => this.suggestName(),
    });
    this.name_ = make("input", {
      id: "own-name",
      type: "text",
      required: true,
      autocomplete: "off",
      maxlength: 200,
    });
    this.button = make("button", { type: "submit", class: "primary" }, "Add this folder");
    this.state = make("div", { class: "sync", "aria-live": "polite" });
    this.giver = make("choose-folder", { room: this.room });
    this.giver.addEventListener("folder-given", ({ detail }) => this.take(detail));
    this.giver.addEventListener("folder-gone", ({ detail }) => this.leave(detail));
    clear(
      this,
      (this.form = make(
        "details",
        { class: "own-folder" },
        make("summary", {}, "Use my own folder"),
        make(
          "form",
          { "aria-label": "Add a folder", onsubmit: (event) => this.add(event) },
          make(
            "p",
            { class: "note", id: "own-folder-help" },
            "The path of a folder of Markdown or text on this machine. Files are read where they lie and never changed, and a sync finds what is new; nothing leaves this machine.",
          ),
          make("label", { for: "own-folder" }, "Folder"),
          this.folder,
          this.giver,
          make("label", { for: "own-name" }, "Name of the collection"),
          this.name_,
          this.button,
        ),
        this.state,
      )),
    );
    takeDrops(this, (given) => this.drop(given));
    this.room.addEventListener("change", () => this.offer());
    this.offer();
  }

  drop(given) {
    this.form.open = true;
    if (!this.giver.drop(given)) this.folder.focus();
  }

  // The copy of a collection that is known has just changed: it is read anew at once.
  take(folder) {
    this.folder.value = folder;
    this.suggestName();
    if (this.known) this.querySelector("form").requestSubmit();
    else this.name_.focus();
  }

  leave(folder) {
    if (this.folder.value !== folder) return;
    this.folder.value = this.name_.value = "";
  }

  get known() {
    const folder = this.folder.value.trim().replace(/[/\\]+$/, "");
    return this.room.collections.find((collection) => collection.folder === folder);
  }

  // In an empty library it is the one thing to do.
  offer() {
    if (this.isOffered || !this.room.status) return;
    this.isOffered = true;
    this.form.open = !this.room.collections.length;
  }

  suggestName() {
    if (this.hasOwnName()) return;
    const last =
      this.folder.value
        .replace(/[/\\]+$/, "")
        .split(/[/\\]/)
        .pop() ?? "";
    this.suggested = this.known?.name ?? last.toLowerCase();
    this.name_.value = this.suggested;
  }

  hasOwnName() {
    return this.name_.value !== "" && this.name_.value !== this.suggested;
  }

  async add(event) {
    event.preventDefault();
    const body = { name: this.name_.value.trim(), folder: this.folder.value.trim() };
    const state = make("p", {}, "Reading…");
    clear(this.state, state);
    this.button.disabled = true;
    try {
      for await (const [name, data] of events("/api/collections", body)) {
        if (name === "progress") {
          state.textContent = `${data.what}, ${data.done.toLocaleString("en")} of ${data.total.toLocaleString("en")}`;
        } else if (name === "report") {
          clear(
            this.state,
            make("p", {}, `“${body.name}” is ready: ${sentenceOf(data, DID)}`),
            make("p", {}, make("a", { href: "#/ask" }, "Ask your notes")),
            reportLists(data, DID),
          );
          this.folder.value = this.name_.value = "";
          await this.room.load();
          location.hash = collectionAddress(body.name);
        }
      }
    } catch (error) {
      clear(this.state, make("p", { class: "error", role: "alert" }, error.message));
    } finally {
      this.button.disabled = false;
    }
  }
}

customElements.define("add-folder", AddFolder);
