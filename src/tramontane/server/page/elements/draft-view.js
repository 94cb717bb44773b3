// A kept draft: its text with marks, a filter for what the notes don't back, versions, files.

import { clear, make, newId } from "/dom.js";
import { post } from "/api.js";
import { isDoubtful, numWords } from "/draft.js";
import { count } from "/words.js";
import { pieceElement } from "/elements/draft-sentence.js";

const FORGOTTEN = "A section stood here; its notes were forgotten.";

class DraftView extends HTMLElement {
  connectedCallback() {
    if (this.body) return;
    this.told = make("p", { class: "note" });
    this.doubts = make("p", { role: "status" });
    this.fault = make("p", { class: "error", role: "alert" });
    this.filter = make("input", {
      type: "checkbox",
      onchange: () => this.body.classList.toggle("only-doubtful", this.filter.checked),
    });
    this.body = make("div", { class: "draft" });
    this.tools = make("div", { class: "actions" });
    this.deleting = make("div", {});
    this.addEventListener("sentence-act", ({ detail }) => this.act(detail));
    clear(
      this,
      this.told,
      this.doubts,
      make(
        "label",
        { class: "check" },
        this.filter,
        make("span", {}, "Show only what my notes don’t back"),
      ),
      this.tools,
      this.deleting,
      this.fault,
      this.body,
    );
    this.render();
  }

  get isLast() {
    const { versions, version } = this.draft;
    return version.number === versions.at(-1).number;
  }

  render() {
    const { draft } = this;
    const { head, sections } = draft;
    const pieces = sections.flatMap((section) => section?.pieces ?? []);
    const doubtful = pieces.filter(isDoubtful);
    const open = doubtful.filter((piece) => !(piece.instead ?? piece).is_accepted);
    this.told.textContent =
      `${head.form}, ${count(numWords(sections), "word")}` +
      (head.is_finished ? "" : "; writing it was broken off");
    this.doubts.textContent = doubtful.length
      ? `Your notes don’t fully back ${doubtful.length} of ${count(pieces.length, "sentence")}` +
        (open.length < doubtful.length ? `; you accepted ${doubtful.length - open.length}.` : ".")
      : "Your notes back every sentence.";
    clear(
      this.body,
      sections.map((section, at) => this.section(section, at)),
    );
    this.renderTools();
  }

  section(section, at) {
    if (!section) return make("p", { class: "note" }, FORGOTTEN);
    const id = newId("section");
    return make(
      "section",
      { "aria-labelledby": id },
      make("h2", { id }, section.heading),
      section.pieces.map((piece, place) => {
        const { room } = this;
        // An older version is read, not changed.
        if (!this.isLast) return pieceElement(piece, { room, sources: section.sources });
        const element = make("draft-sentence", { room, sources: section.sources });
        return Object.assign(element, { piece, at: { section: at, place } });
      }),
    );
  }

  renderTools() {
    const { draft } = this;
    const { head, version, versions } = draft;
    const address = `/api/drafts/${head.id}`;
    const file = (label, kind) =>
      make("a", { href: `${address}/${kind}`, download: "", class: "button quiet" }, label);
    this.versions = make(
      "select",
      {
        "aria-label": "Version",
        onchange: ({ target }) => (location.hash = `#/write/${head.id}/${target.value}`),
      },
      [...versions]
        .reverse()
        .map(({ number, change }) =>
          make(
            "option",
            { value: String(number), selected: number === version.number },
            `Version ${number}: ${change}`,
          ),
        ),
    );
    const button = (label, onclick) =>
      make("button", { type: "button", class: "quiet", onclick }, label);
    clear(
      this.tools,
      this.versions,
      this.isLast && versions.length > 1 && button("Undo", () => this.restore(version.number - 1)),
      !this.isLast && button("Make this the newest", () => this.restore(version.number)),
      file("Save as Markdown", "markdown"),
      file("Save as a page", "html"),
      button("Delete", () => this.askToDelete()),
    );
    this.classList.toggle("is-old", !this.isLast);
  }

  async act({ act, place, text, element }) {
    const { head, version } = this.draft;
    const asked = { version: version.number, ...place, act, ...(text === undefined ? {} : { text }) };
    await this.change(`/api/drafts/${head.id}/revise`, asked, element);
    if (this.fault.textContent) return;
    const put = act === "add" ? place.place + 1 : place.place;
    const section = this.body.children[place.section];
    const pieces = section.querySelectorAll("draft-sentence");
    (pieces[Math.min(put, pieces.length - 1)] ?? this).takeFocus();
  }

  async restore(number) {
    await this.change(`/api/drafts/${this.draft.head.id}/restore`, { version: number });
    if (this.fault.textContent) return;
    history.replaceState(null, "", `#/write/${this.draft.head.id}`);
    this.versions.focus();
  }

  async change(path, asked) {
    this.fault.textContent = "";
    this.body.setAttribute("aria-busy", "true");
    try {
      this.draft = await post(path, asked);
      this.render();
      this.dispatchEvent(new CustomEvent("draft-changed", { detail: this.draft, bubbles: true }));
    } catch (error) {
      this.fault.textContent = error.message;
      this.fault.scrollIntoView({ block: "nearest" });
    } finally {
      this.body.removeAttribute("aria-busy");
    }
  }

  takeFocus() {
    this.versions.focus();
  }

  askToDelete() {
    const { head } = this.draft;
    const close = () => clear(this.deleting);
    const yes = make(
      "button",
      { type: "button", class: "primary", onclick: () => this.delete() },
      "Delete for good",
    );
    clear(
      this.deleting,
      make(
        "section",
        { "aria-label": "Delete this draft" },
        make("p", {}, `All ${count(head.num_versions, "version")} go. There is no undo.`),
        make(
          "div",
          { class: "actions" },
          yes,
          make("button", { type: "button", class: "quiet", onclick: close }, "Keep it"),
        ),
      ),
    );
    yes.focus();
  }

  async delete() {
    try {
      await post(`/api/drafts/${this.draft.head.id}/delete`);
      this.dispatchEvent(new CustomEvent("draft-deleted", { bubbles: true }));
    } catch (error) {
      this.fault.textContent = error.message;
    }
  }
}

customElements.define("draft-view", DraftView);
