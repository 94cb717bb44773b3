// Forgetting an expert and its collection: what would go, what is out of reach, and no way back.

import { clear, make, newId } from "/dom.js";
import { get, post } from "/api.js";
import { bytes, count, list } from "/words.js";

class ForgetDialog extends HTMLElement {
  async open(name) {
    this.build(name);
    this.dialog.showModal();
    try {
      this.tell(name, await get(`/api/experts/${encodeURIComponent(name)}/forgetting`));
    } catch (error) {
      this.sayFault(error);
    }
  }

  build(name) {
    const id = newId("forget");
    this.body = make("div", { "aria-live": "polite" }, make("p", {}, "Looking what there is…"));
    this.forget = make(
      "button",
      { type: "button", class: "primary", disabled: true, onclick: () => this.act(name) },
      "Forget for good",
    );
    this.keep = make(
      "button",
      { type: "button", class: "quiet", onclick: () => this.dialog.close() },
      "Keep it",
    );
    this.dialog = make(
      "dialog",
      { "aria-labelledby": id },
      make("h2", { id }, `Forget ${name}?`),
      this.body,
      make("div", { class: "actions" }, this.forget, this.keep),
    );
    clear(this, this.dialog);
  }

  tell(name, { mixtures, library, files, num_file_bytes: size, copies, out_of_reach: stays }) {
    const copied = copies.map((copy) => `${copy.folder} (${count(copy.num_files, "file")})`);
    clear(
      this.body,
      make(
        "p",
        {},
        `${count(files.length, "file")} with ${bytes(size)}, ${count(library.notes, "note")} and ` +
          `${count(library.passages, "passage")} in the library, ${count(library.jobs, "job")}, ` +
          `what ${count(library.chats, "answer")} in the history quote` +
          `${copied.length ? `, the copy ${list(copied)}` : ""}` +
          `${mixtures.length ? `, and its place in ${list(mixtures)}` : ""} go. There is no undo.`,
      ),
      make(
        "details",
        {},
        make("summary", {}, "What is out of reach here"),
        make(
          "ul",
          { class: "plain-list" },
          stays.map((one) => make("li", {}, one)),
        ),
      ),
    );
    this.forget.disabled = false;
  }

  async act(name) {
    this.forget.disabled = true;
    clear(this.body, make("p", {}, "Forgetting, and writing the library anew…"));
    try {
      await post(`/api/experts/${encodeURIComponent(name)}/forget`);
      this.dialog.close();
      await this.room.load();
    } catch (error) {
      this.sayFault(error);
    }
  }

  sayFault({ message }) {
    clear(this.body, make("p", { class: "error", role: "alert" }, message));
  }
}

customElements.define("forget-dialog", ForgetDialog);
