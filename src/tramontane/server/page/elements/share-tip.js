// Says what stands behind a word or sentence: its mark's meaning and each expert's share. Shown on
// hover, on focus and on a long press; gone with Escape.

import { clear, make } from "/dom.js";
import { list, percent } from "/words.js";

const LONG_PRESS_MILLISECONDS = 450;
const HIDE_AFTER_MILLISECONDS = 120;
const GAP = 8;

class ShareTip extends HTMLElement {
  connectedCallback() {
    this.id = "share-tip";
    this.setAttribute("role", "tooltip");
    this.setAttribute("popover", "manual");
    addEventListener("tip-show", (event) => this.showFor(event));
    addEventListener("tip-hide", () => this.hideSoon());
    // The pointer may go to the tip and rest there.
    this.addEventListener("pointerenter", () => clearTimeout(this.hiding));
    this.addEventListener("pointerleave", () => this.hideSoon());
    addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape" || !this.matches(":popover-open")) return;
        event.preventDefault();
        this.hide();
      },
      true,
    );
    addEventListener("hashchange", () => this.hide());
    addEventListener("scroll", () => this.hide(), { passive: true });
  }

  showFor({ target, detail: { title, shares, of, contested = [] } }) {
    clear(
      this,
      make("p", { class: "tip-title" }, title),
      this.shareTable(shares, of),
      contested.length > 0 &&
        make("p", { class: "tip-note" }, `Contested: ${list(contested)} look alike`),
    );
    clearTimeout(this.hiding);
    this.describes?.removeAttribute("aria-describedby");
    this.describes = target;
    target.setAttribute("aria-describedby", this.id);
    this.showPopover();
    const at = target.getClientRects()[0] ?? target.getBoundingClientRect();
    const { width, height } = this.getBoundingClientRect();
    const room = document.body.clientWidth;
    const left = Math.max(GAP, Math.min(at.left, room - width - GAP));
    const above = at.top - height - GAP;
    this.style.left = `${left}px`;
    this.style.top = `${above > GAP ? above : at.bottom + GAP}px`;
  }

  shareTable(shares, of) {
    const heard = Object.entries(shares ?? {}).sort((one, other) => other[1] - one[1]);
    if (!heard.length) return make("p", { class: "tip-note" }, "No expert was asked about it.");
    const base = Math.max(0, 1 - heard.reduce((sum, [, share]) => sum + share, 0));
    const row = (name, share, hue) =>
      make(
        "li",
        {},
        make("span", { class: "dot", "data-hue": hue, "aria-hidden": "true" }),
        make("span", {}, name),
        make("span", { class: "number" }, percent(share)),
      );
    return make(
      "div",
      {},
      make(
        "ul",
        { class: "shares" },
        heard.map(([name, share]) => row(name, share, this.room.hueOf(name))),
        row("the base", base),
      ),
      make("p", { class: "tip-note" }, `Share in ${of}`),
    );
  }

  hideSoon() {
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => this.hide(), HIDE_AFTER_MILLISECONDS);
  }

  hide() {
    if (this.matches(":popover-open")) this.hidePopover();
    this.describes?.removeAttribute("aria-describedby");
    this.describes = null;
  }
}

// Makes an element show what `tip` returns: {title, shares, of}, `of` says what they are shares in;
// `contested` names those that look alike there.
export function offersTip(element, tip) {
  let timer;
  const show = () =>
    element.dispatchEvent(new CustomEvent("tip-show", { bubbles: true, detail: tip() }));
  const hide = () => element.dispatchEvent(new CustomEvent("tip-hide", { bubbles: true }));
  element.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && show());
  element.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
  element.addEventListener("focus", show);
  element.addEventListener("blur", hide);
  element.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse") timer = setTimeout(show, LONG_PRESS_MILLISECONDS);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    element.addEventListener(kind, () => clearTimeout(timer));
  }
}

customElements.define("share-tip", ShareTip);
