// An expert as a file to give away: whose it is and under which licence must be said.

import { clear, make, newId } from "/dom.js";
import { download } from "/api.js";

class PackDialog extends HTMLElement {
  open({ name, manifest }) {
    const id = newId("pack");
    const field = (word, value) =>
      make("input", { id: `${id}-${word}`, type: "text", required: true, maxlength: 200, value });
    this.owner = field("owner", manifest.owner ?? "");
    this.licence = field("licence", manifest.licence ?? "");
    this.state = make("p", { class: "note", role: "status" });
    this.dialog = make(
      "dialog",
      { "aria-labelledby": id },
      make("h2", { id }, `Pack ${name}`),
      make(
        "p",
        {},
        "The file is checked to carry no eight words in a row of any note. Its weights were learnt from them: short stretches might still be drawn out of it.",
      ),
      make(
        "form",
        { class: "stack", onsubmit: (event) => this.pack(event, name) },
        make("label", { for: `${id}-owner` }, "Whose it is"),
        this.owner,
        make("label", { for: `${id}-licence` }, "Licence"),
        this.licence,
        this.state,
        make(
          "div",
          { class: "actions" },
          make("button", { type: "submit", class: "primary" }, "Pack"),
          make(
            "button",
            { type: "button", class: "quiet", onclick: () => this.dialog.close() },
            "Close",
          ),
        ),
      ),
    );
    clear(this, this.dialog);
    this.dialog.showModal();
  }

  async pack(event, name) {
    event.preventDefault();
    this.state.className = "note";
    this.state.textContent = "Checking against the notes…";
    const asked = { owner: this.owner.value.trim(), licence: this.licence.value.trim() };
    try {
      const path = `/api/experts/${encodeURIComponent(name)}/pack`;
      await download(path, asked, `${name}.safetensors`);
      this.state.textContent = "Packed; your browser has the file.";
    } catch (error) {
      this.state.className = "error";
      this.state.textContent = error.message;
    }
  }
}

customElements.define("pack-dialog", PackDialog);
