// A folder by any way but its path: dropped or chosen, read and copied, with a way to stop. Says
// "folder-given" with the path that the server reads it from, "folder-gone" when that is no more.

import { clear, make, newId } from "/dom.js";
import { get, post } from "/api.js";
import { chosenFolder, droppedFolder, pathOf, sendCopy } from "/dropped.js";
import { bytes, count, list } from "/words.js";
import { pathList } from "/elements/sync-report.js";

class ChooseFolder extends HTMLElement {
  connectedCallback() {
    if (this.button) return;
    const help = newId("choose-help");
    this.input = make("input", {
      type: "file",
      hidden: true,
      webkitdirectory: true,
      "aria-label": "Folder to copy",
      onchange: () => this.choose(),
    });
    this.button = make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-describedby": help,
        onclick: () => this.input.click(),
      },
      "Choose a folder…",
    );
    this.state = make("div", { class: "sync", "aria-live": "polite" });
    clear(
      this,
      make(
        "p",
        { class: "note", id: help },
        "Or drop a folder here, or choose it. The browser hides where such a folder lies: " +
          "Tramontane keeps a copy of its notes, which doesn’t follow later changes. Give the " +
          "folder again to update the copy.",
      ),
      this.button,
      this.input,
      this.state,
    );
    this.room.addEventListener("change", () => this.offerRemoving());
  }

  // Returns whether something came that can be read.
  drop(given) {
    const path = pathOf(given);
    if (path) {
      clear(this.state);
      this.give(path);
      return true;
    }
    const folder = droppedFolder(given);
    this.take(folder);
    return !folder.fault;
  }

  choose() {
    this.take(chosenFolder([...this.input.files]));
    this.input.value = "";
  }

  give(folder) {
    this.dispatchEvent(new CustomEvent("folder-given", { detail: folder, bubbles: true }));
  }

  async take({ name, read, fault }) {
    if (this.halt) return;
    if (fault) {
      this.sayFault(fault);
      return;
    }
    this.halt = new AbortController();
    this.button.disabled = true;
    try {
      await this.copy(name, read, this.halt.signal);
    } catch (error) {
      if (error.name === "AbortError") this.say("Stopped; nothing of it is kept.");
      else this.sayFault(error.message);
    } finally {
      this.halt = null;
      this.button.disabled = false;
      // The button that had it may be gone.
      if (document.activeElement === document.body) this.button.focus();
    }
  }

  async copy(name, read, signal) {
    this.showProgress(name);
    const may = await get("/api/dropped", { name });
    const found = await read(may, signal);
    signal.throwIfAborted();
    if (!found.files.length) {
      this.sayFault(`No notes were found in ${name}.`, this.leftOut(found.skipped));
      return;
    }
    const as = await this.nameFor(may, signal);
    const wasAsked = this.state.contains(document.activeElement);
    this.showProgress(name);
    if (wasAsked) this.cancel.focus();
    const { copy, skipped } = await sendCopy(as, found, signal, (files, size) =>
      this.tell(files, size, found),
    );
    this.showCopy(copy, skipped);
    this.give(copy.folder);
  }

  // A copy of the same name is updated only if it is meant: folders are often called alike.
  nameFor(may, signal) {
    const known = may.copies.find((copy) => copy.name === may.name);
    if (!known) return may.name;
    const readers = this.room.collections
      .filter(({ folder }) => folder === known.folder)
      .map(({ name }) => name);
    const said =
      `There is a copy named ${may.name} already, of ${count(known.num_files, "file")}` +
      `${readers.length ? `, which ${list(readers)} is read from` : ""}.`;
    return new Promise((take, fail) => {
      signal.addEventListener("abort", () => fail(signal.reason));
      const button = (label, act, kind) =>
        make("button", { type: "button", class: kind, onclick: act }, label);
      const update = button("Update that copy", () => take(may.name), "primary");
      clear(
        this.state,
        make("p", {}, said),
        make(
          "div",
          { class: "actions" },
          update,
          button(`Keep both, this one as ${may.free_name}`, () => take(may.free_name), "quiet"),
          button("Cancel", () => this.halt.abort(), "quiet"),
        ),
      );
      update.focus();
    });
  }

  showProgress(name) {
    const id = newId("copying");
    this.bar = make("progress", { max: "1", "aria-labelledby": id });
    this.far = make("p", { class: "note", "aria-live": "off" });
    this.cancel = make(
      "button",
      { type: "button", class: "quiet", onclick: () => this.halt.abort() },
      "Cancel",
    );
    clear(
      this.state,
      make("p", { id }, `Copying ${name}…`),
      this.bar,
      this.far,
      make("div", { class: "actions" }, this.cancel),
    );
  }

  tell(numFiles, numBytes, found) {
    this.bar.value = found.numBytes ? numBytes / found.numBytes : 1;
    this.far.textContent =
      `${numFiles.toLocaleString("en")} of ${count(found.files.length, "file")}, ` +
      `${bytes(numBytes)} of ${bytes(found.numBytes)}`;
    // What has all come can't be stopped any more.
    this.cancel.disabled = numFiles === found.files.length;
  }

  showCopy(copy, skipped) {
    this.kept = copy;
    this.remover = make(
      "div",
      { class: "actions" },
      make(
        "button",
        { type: "button", class: "quiet", onclick: () => this.removeCopy() },
        "Remove the copy",
      ),
    );
    clear(
      this.state,
      make(
        "p",
        {},
        `${copy.name} is copied: ${count(copy.num_files, "file")}, ${bytes(copy.num_bytes)}.`,
      ),
      this.leftOut(skipped),
      this.remover,
    );
    this.offerRemoving();
  }

  // A copy that a collection is read from goes with it, not by itself.
  offerRemoving() {
    if (!this.kept) return;
    this.remover.hidden = this.room.collections.some(({ folder }) => folder === this.kept.folder);
  }

  async removeCopy() {
    const { name, folder } = this.kept;
    try {
      await post("/api/dropped/remove", { name });
      this.kept = null;
      this.say(`The copy of ${name} is removed.`);
      this.button.focus();
      this.dispatchEvent(new CustomEvent("folder-gone", { detail: folder, bubbles: true }));
    } catch (error) {
      this.sayFault(error.message);
    }
  }

  leftOut(skipped) {
    const said = [...skipped].map((one) => (Array.isArray(one) ? one.join(": ") : one));
    return pathList("left out", said) ?? [];
  }

  say(text) {
    clear(this.state, make("p", {}, text));
  }

  sayFault(message, ...more) {
    clear(this.state, make("p", { class: "error", role: "alert" }, message), ...more);
  }
}

customElements.define("choose-folder", ChooseFolder);
