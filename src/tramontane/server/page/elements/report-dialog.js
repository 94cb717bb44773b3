// "Report this": a sentence of an answer is saved as a finding, with what one has to say about it.

import { clear, make, newId } from "/dom.js";
import { post } from "/api.js";

class ReportDialog extends HTMLElement {
  // `asked` is what the server needs to hear the sentence again.
  open(asked) {
    const id = newId("report");
    this.comment = make("textarea", { id: `${id}-comment`, rows: 3, maxlength: 4000 });
    this.state = make("p", { class: "note", role: "status" });
    this.button = make("button", { type: "submit", class: "primary" }, "Save the finding");
    this.dialog = make(
      "dialog",
      { "aria-labelledby": id, onclose: () => this.opener?.focus() },
      make("h2", { id }, "Report this"),
      make("blockquote", {}, asked.sentence),
      make(
        "p",
        {},
        asked.kind === "quotation"
          ? "It was quoted from a note. The finding keeps the question, the passage and what you say; whoever has the notes can ask again."
          : "The model is asked once more, which takes about as long as its answer took. If it says the sentence again, the finding keeps the prompt, the hashes and the experts’ shares: whoever has the same mixture hears the same.",
      ),
      make(
        "form",
        { class: "stack", onsubmit: (event) => this.save(event, asked) },
        make("label", { for: `${id}-comment` }, "What is wrong with it"),
        this.comment,
        this.state,
        make(
          "div",
          { class: "actions" },
          this.button,
          (this.closer = make(
            "button",
            { type: "button", class: "quiet", onclick: () => this.dialog.close() },
            "Close",
          )),
        ),
      ),
    );
    clear(this, this.dialog);
    this.opener = document.activeElement;
    this.dialog.showModal();
  }

  async save(event, asked) {
    event.preventDefault();
    this.button.disabled = true;
    this.state.className = "note";
    this.state.textContent = "Asking again…";
    try {
      const { finding } = await post("/api/findings", {
        ...asked,
        comment: this.comment.value.trim(),
      });
      clear(this.state, "Saved as ", make("code", {}, finding.file), ".");
      // The button that had the focus is of no use any more.
      this.closer.focus();
    } catch (error) {
      this.state.className = "error";
      this.state.textContent = error.message;
      this.button.disabled = false;
    }
  }
}

customElements.define("report-dialog", ReportDialog);

// What the server takes of an answer's source.
export const reportedSource = (source) => ({
  number: source.number,
  collection: source.collection,
  path: source.path,
  title: source.title,
  first_line: source.first_line,
  last_line: source.last_line,
  text: source.text,
  note_sha256: source.note_sha256,
});

// Asks for the dialog, which the answer's view holds.
export const reportButton = (element, detail) =>
  make(
    "button",
    {
      type: "button",
      class: "report",
      "aria-label": `Report this: ${detail.sentence.slice(0, 60)}`,
      onclick: () =>
        element.dispatchEvent(new CustomEvent("sentence-report", { detail, bubbles: true })),
    },
    "report this",
  );
