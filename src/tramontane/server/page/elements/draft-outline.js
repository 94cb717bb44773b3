// The outline: the notes a draft would rest on, in an order and under headings that one may change.

import { clear, make } from "/dom.js";
import { noteAddress } from "/router.js";
import { count, lines } from "/words.js";

class DraftOutline extends HTMLElement {
  connectedCallback() {
    if (this.list) return;
    const { sections, reason, closest } = this.planned;
    this.sections = [...sections];
    this.heading = make("h2", { tabindex: "-1" }, "Outline");
    this.list = make("ol", { class: "outline" });
    this.button = make(
      "button",
      { type: "button", class: "primary", onclick: () => this.begin() },
      "Write it",
    );
    clear(
      this,
      make(
        "section",
        { "aria-label": "Outline" },
        this.heading,
        sections.length ? null : nothingFound(reason, closest),
        this.list,
        sections.length && make("div", { class: "actions" }, this.button),
      ),
    );
    this.render();
    this.heading.focus();
  }

  render() {
    clear(
      this.list,
      this.sections.map((section, at) => this.item(section, at)),
    );
    this.button.disabled = !this.sections.length;
  }

  item(section, at) {
    const { heading, collection, path, sources } = section;
    const act = (label, glyph, isPossible, onclick) =>
      make(
        "button",
        { type: "button", class: "quiet", "aria-label": label, disabled: !isPossible, onclick },
        glyph,
      );
    return make(
      "li",
      {},
      make("input", {
        type: "text",
        value: heading,
        maxlength: 1000,
        "aria-label": `Heading of section ${at + 1}`,
        oninput: ({ target }) => (section.heading = target.value),
      }),
      make("p", { class: "place" }, `${collection} / ${path} · ${count(sources.length, "passage")}`),
      make(
        "details",
        {},
        make("summary", {}, "What it would rest on"),
        sources.map((source) => passage(source)),
      ),
      make(
        "div",
        { class: "actions" },
        act(`Move section ${at + 1} up`, "Up", at > 0, () => this.move(at, at - 1)),
        act(`Move section ${at + 1} down`, "Down", at < this.sections.length - 1, () =>
          this.move(at, at + 1),
        ),
        act(`Leave section ${at + 1} out`, "Leave out", true, () => this.leaveOut(at)),
      ),
    );
  }

  move(from, to) {
    const [section] = this.sections.splice(from, 1);
    this.sections.splice(to, 0, section);
    this.render();
    this.list.children[to].querySelector("input").focus();
  }

  leaveOut(at) {
    this.sections.splice(at, 1);
    this.render();
    const next = this.list.children[Math.min(at, this.sections.length - 1)];
    (next?.querySelector("input") ?? this.heading).focus();
  }

  begin() {
    const chosen = this.sections.map(({ collection, path, heading }) => ({
      collection,
      path,
      heading: heading.trim() || null,
    }));
    const detail = { ...this.planned.asked, chosen };
    this.dispatchEvent(new CustomEvent("draft-begin", { detail, bubbles: true }));
  }
}

export function nothingFound(reason, closest) {
  const said = make("p", { class: "abstained" }, reason);
  if (!closest) return said;
  return [said, make("h3", {}, "Closest"), passage(closest)];
}

function passage(source) {
  const place = lines(source.first_line, source.last_line);
  return make(
    "div",
    {},
    make("blockquote", { class: "passage" }, source.text),
    make(
      "a",
      { href: noteAddress(source), "aria-label": `Open note ${source.path} at ${place}` },
      `${source.path}, ${place}`,
    ),
  );
}

customElements.define("draft-outline", DraftOutline);
