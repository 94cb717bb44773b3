// Questions asked before, newest first under their days: opened, searched and deleted.

import { clear, make } from "/dom.js";
import { day, lost } from "/words.js";

const MILLISECONDS_TYPING = 200;

class QuestionHistory extends HTMLElement {
  connectedCallback() {
    if (this.days) return;
    const { room } = this;
    this.field = make("input", {
      type: "search",
      "aria-label": "Search the history",
      placeholder: "Search the history",
      maxlength: 400,
      autocomplete: "off",
      oninput: () => this.look(),
    });
    this.days = make("div", { class: "days" });
    this.hint = make("p", { class: "note", role: "status" });
    this.fresh = make("a", { class: "new", href: "#/ask" }, "New question");
    this.older = make(
      "button",
      { type: "button", class: "quiet", onclick: () => room.history.older() },
      "Older",
    );
    this.all = make(
      "button",
      { type: "button", class: "quiet", onclick: () => this.removeAll() },
      "Delete all…",
    );
    this.keeping = make(
      "button",
      {
        type: "button",
        role: "switch",
        class: "switch",
        title: "Off, a new question and its answer are gone when this tab closes.",
        onclick: () => {
          room.keepsNew = !room.keepsNew;
          room.say();
        },
      },
      make("span", { class: "name" }, "Keep new questions"),
      make("span", { class: "track", "aria-hidden": "true" }),
    );
    clear(
      this,
      make(
        "nav",
        { class: "history", "aria-label": "History", onkeydown: (event) => this.press(event) },
        make("h2", { class: "small-heading" }, "History"),
        this.fresh,
        this.field,
        this.hint,
        this.days,
        make("div", { class: "history-acts" }, this.older, this.all),
        this.keeping,
      ),
    );
    room.addEventListener("change", () => this.render());
    room.history.addEventListener("change", () => this.render());
    this.render();
  }

  look() {
    clearTimeout(this.typing);
    const words = this.field.value.trim();
    this.typing = setTimeout(() => this.room.history.load(words), MILLISECONDS_TYPING);
  }

  focus() {
    (this.field.hidden ? this.querySelector("a") : this.field)?.focus();
  }

  press(event) {
    const links = [...this.days.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (event.key === "ArrowDown" && event.target === this.field) links[0]?.focus();
    else if (at < 0) return;
    else if (event.key === "Delete") {
      if (!links[at].dataset.chat) return;
      this.remove(Number(links[at].dataset.chat), links[at].dataset.question);
    } else if (event.key === "ArrowDown") links[at + 1]?.focus();
    else if (event.key === "ArrowUp") (links[at - 1] ?? this.field).focus();
    else return;
    event.preventDefault();
  }

  // From the list, or from the answer's own view.
  remove(id, question) {
    const links = [...this.days.querySelectorAll("a")];
    const isHere = this.contains(document.activeElement);
    this.place = isHere ? links.findIndex((link) => link.dataset.chat === String(id)) : -1;
    this.dialog.open({
      title: "Delete this answer?",
      said: question ? `“${question}” and its answer go.` : "It goes, with its sources.",
      act: () => this.room.remove(id),
    });
  }

  removeAll() {
    this.place = -1;
    this.dialog.open({
      title: "Delete all answers?",
      said: "All questions that are kept go with their answers, also those not listed here.",
      act: () => {
        this.field.value = "";
        return this.room.removeAll();
      },
    });
  }

  // The link and the button that had the focus are gone: the next answer has it.
  afterRemoval() {
    const links = [...this.days.querySelectorAll("a")];
    if (this.place >= 0 && links.length) links[Math.min(this.place, links.length - 1)].focus();
    else this.dispatchEvent(new CustomEvent("history-left", { bubbles: true }));
  }

  render() {
    const { answers, current, history, keepsNew } = this.room;
    const fleeting = answers.filter((answer) => answer.chatId === null).reverse();
    const entries = [
      ...fleeting.map((answer) => entryOf(answer.address, answer.question, "today")),
      ...history.chats.map((chat) => entryOf(`#/ask/${chat.id}`, chat.question, chat.asked, chat)),
    ];
    this.fresh.hidden = !entries.length && !current;
    // From the question on, not from when it is kept: nothing moves while an answer comes.
    this.field.hidden = !entries.length && !history.words;
    this.all.hidden = this.field.hidden;
    this.all.disabled = !history.chats.length;
    this.older.hidden = !history.hasMore;
    this.keeping.hidden = !history.keeps;
    this.keeping.setAttribute("aria-checked", String(keepsNew));
    if (history.fault) this.hint.textContent = history.fault.message;
    else if (history.words)
      this.hint.textContent = history.chats.length ? "" : "No answer holds that.";
    else if (!history.keeps)
      this.hint.textContent = "Nothing new is kept: questions are gone when this tab closes.";
    else this.hint.textContent = entries.length ? "" : "Your questions will stand here.";
    this.hint.hidden = !this.hint.textContent;
    this.renderDays(entries, running(answers));
    for (const link of this.days.querySelectorAll("a")) {
      if (link.hash === current?.address) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  renderDays(entries, underway) {
    const told = entries.map((entry) => ({ ...entry, isUnderway: underway.has(entry.chat?.id) }));
    const key = JSON.stringify(told);
    if (key === this.key) return;
    this.key = key;
    const focused = this.days.contains(document.activeElement) && document.activeElement.hash;
    const days = [...new Set(told.map((entry) => entry.day))];
    clear(
      this.days,
      days.map((name) => [
        make("h3", { class: "small-heading" }, name),
        make(
          "ol",
          {},
          told.filter((entry) => entry.day === name).map((entry) => this.item(entry)),
        ),
      ]),
    );
    if (focused)
      [...this.days.querySelectorAll("a")].find((link) => link.hash === focused)?.focus();
  }

  item({ address, question, chat, isUnderway }) {
    const said = question || "A question that was forgotten";
    return make(
      "li",
      {},
      make(
        "a",
        { href: address, "data-chat": chat?.id, "data-question": question },
        make("span", { class: "asked" }, said),
        chat && !isUnderway && remarks(chat).map((text) => make("span", { class: "note" }, text)),
      ),
      // Holds its place before there is something to delete.
      make(
        "button",
        {
          type: "button",
          class: "remove",
          title: "Delete",
          disabled: !chat,
          "aria-label": `Delete: ${said}`,
          onclick: () => this.remove(chat.id, question),
        },
        make("span", { "aria-hidden": "true" }, "×"),
      ),
    );
  }
}

const entryOf = (address, question, asked, chat = null) => ({
  address,
  question,
  day: asked === "today" ? "Today" : day(asked),
  chat,
});

const running = (answers) =>
  new Set(answers.filter((answer) => answer.state === "running").map((answer) => answer.chatId));

function remarks(chat) {
  const said = [];
  if (chat.state === "unfinished" && !chat.forgotten.answer) said.push("Not finished");
  if (chat.state === "failed") said.push("Ended by an error");
  const gone = lost(chat.forgotten);
  return gone ? [...said, gone] : said;
}

customElements.define("question-history", QuestionHistory);
