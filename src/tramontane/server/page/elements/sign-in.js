// Asks for a key where the server wants one; the key goes into a cookie that no script reads.

import { clear, make } from "/dom.js";
import { post } from "/api.js";

class SignIn extends HTMLElement {
  connectedCallback() {
    this.room.addEventListener("change", () => this.render());
    this.render();
  }

  // Built only where a key is wanted: a form that isn't needed is no form to fill in.
  build() {
    this.field = make("input", {
      id: "key",
      type: "password",
      required: true,
      autocomplete: "current-password",
      spellcheck: "false",
      "aria-describedby": "key-help",
    });
    this.fault = make("p", { class: "error", role: "alert" });
    this.dialog = make(
      "dialog",
      { "aria-labelledby": "sign-in-title" },
      make("h2", { id: "sign-in-title" }, "This server wants a key"),
      make(
        "p",
        { id: "key-help" },
        "Whoever runs it makes one: ",
        make("code", {}, "tramontane keys add NAME"),
        ". It is kept in this browser until you close it.",
      ),
      make(
        "form",
        { class: "stack", onsubmit: (event) => this.send(event) },
        make("input", { type: "text", autocomplete: "username", hidden: true, value: "key" }),
        make("label", { for: "key" }, "Key"),
        this.field,
        this.fault,
        make("button", { type: "submit", class: "primary" }, "Sign in"),
      ),
    );
    clear(this, this.dialog);
  }

  render() {
    const isWanted = this.room.error?.kind === "NoKey";
    if (isWanted && !this.dialog) this.build();
    if (isWanted && !this.dialog.open) this.dialog.showModal();
    if (!isWanted) this.dialog?.close();
  }

  async send(event) {
    event.preventDefault();
    this.fault.textContent = "";
    try {
      await post("/api/sign-in", { key: this.field.value.trim() });
      this.field.value = "";
      await this.room.load();
    } catch (error) {
      this.fault.textContent = error.message;
      this.field.select();
    }
  }
}

customElements.define("sign-in", SignIn);
