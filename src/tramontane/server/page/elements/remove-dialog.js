// Asks before answers are removed from the history: there is no way back.

import { clear, make, newId } from "/dom.js";

class RemoveDialog extends HTMLElement {
  // `act` removes them; the dialog stays with what the server said where it can't.
  open({ title, said, act }) {
    const id = newId("remove");
    this.fault = make("p", { class: "error", role: "alert" });
    this.button = make(
      "button",
      { type: "button", class: "primary", onclick: () => this.act(act) },
      "Delete for good",
    );
    this.dialog = make(
      "dialog",
      { "aria-labelledby": id },
      make("h2", { id }, title),
      make("p", {}, said, " There is no undo."),
      this.fault,
      make(
        "div",
        { class: "actions" },
        this.button,
        make(
          "button",
          { type: "button", class: "quiet", onclick: () => this.dialog.close() },
          "Keep",
        ),
      ),
    );
    clear(this, this.dialog);
    this.dialog.showModal();
  }

  async act(act) {
    this.button.disabled = true;
    try {
      await act();
      this.dialog.close();
      this.dispatchEvent(new Event("removed"));
    } catch ({ message }) {
      this.fault.textContent = message;
      this.button.disabled = false;
    }
  }
}

customElements.define("remove-dialog", RemoveDialog);
