// Labelling: whether the notes back a sentence, one key each; at the end what that promises.

import { clear, make, newId } from "/dom.js";
import { events, get, post } from "/api.js";
import { count, lines } from "/words.js";
import { noteAddress } from "/router.js";

const VERDICTS = [
  { verdict: "supported", name: "Supported", key: "s" },
  { verdict: "partly", name: "Partly", key: "p" },
  { verdict: "unsupported", name: "Not", key: "u" },
];
const KIND_OF = { own: "Text of your own", prose: "The base’s prose" };
const MOST_CHARACTERS = 60_000;

class LabelDialog extends HTMLElement {
  async open(collection) {
    this.collection = collection;
    this.opener = document.activeElement;
    this.build();
    this.dialog.showModal();
    await this.attempt(async () => {
      this.told = await get("/api/labels", { collection });
      this.begin();
    });
  }

  build() {
    this.isBusy = false;
    this.sitting = this.asked = null;
    const id = newId("label");
    this.heading = make("h2", { id, tabindex: "-1" }, `Calibrate ${this.collection}`);
    this.body = make("div", {}, make("p", { class: "note" }, "Looking what is labelled…"));
    this.fault = make("p", { class: "error", role: "alert" });
    this.dialog = make(
      "dialog",
      {
        class: "labelling",
        "aria-labelledby": id,
        onclose: () => this.leave(),
      },
      this.heading,
      this.body,
      this.fault,
    );
    clear(this, this.dialog);
    // On the whole page: a click beside the buttons takes the focus out of the dialog.
    this.onkey = (event) => this.press(event);
    addEventListener("keydown", this.onkey);
  }

  leave() {
    removeEventListener("keydown", this.onkey);
    this.opener?.focus();
  }

  // One step at a time: a key pressed twice must not judge two sentences.
  async attempt(step) {
    if (this.isBusy) return;
    const { dialog, fault } = this;
    this.isBusy = true;
    dialog.setAttribute("aria-busy", "true");
    fault.textContent = "";
    try {
      await step();
    } catch (error) {
      fault.textContent = error.message;
    }
    dialog.removeAttribute("aria-busy");
    // Closed and opened again, it is another dialog with steps of its own.
    if (this.dialog === dialog) this.isBusy = false;
  }

  // Keeps what the server says of the labels with every answer.
  take(answer) {
    this.told = { ...this.told, kinds: answer.kinds };
    return answer;
  }

  of(kind) {
    return this.told.kinds.find((one) => one.kind === kind);
  }

  // What to judge

  begin() {
    this.asked = null;
    const id = newId("text");
    this.text = make("textarea", {
      id,
      rows: 5,
      maxlength: MOST_CHARACTERS,
      "aria-describedby": `${id}-about`,
    });
    this.reading = make("p", { class: "note", role: "status" });
    const goOn = ["own", "prose"].filter((kind) => this.of(kind).num_waiting);
    clear(
      this.body,
      make(
        "p",
        {},
        "Say of sentences whether your notes back them, one key each. After five minutes there is a promise: how many of the sentences marked as supported are not.",
      ),
      this.told.kinds.map(standing),
      goOn.map((kind) =>
        button(
          `Go on with ${count(this.of(kind).num_waiting, "sentence")} ${kind === "own" ? "of your text" : "by the base"}`,
          () => this.judge(kind),
          "primary",
        ),
      ),
      make(
        "form",
        { class: "stack", onsubmit: (event) => this.give(event) },
        make("label", { for: id }, "A text of yours about these notes"),
        make(
          "p",
          { class: "note", id: `${id}-about` },
          "A report, a draft, an answer of some model: such as you will want checked. It is kept in the library, and goes with the collection.",
        ),
        this.text,
        this.reading,
        make(
          "div",
          { class: "actions" },
          make(
            "button",
            { type: "submit", class: goOn.length ? "quiet" : "primary" },
            "Judge its sentences",
          ),
          this.told.can_write &&
            !this.of("prose").num_waiting &&
            button("Let the base write instead", () => this.judge("prose")),
          this.told.kinds.some(judgedOf) && button("See what they promise", () => this.end()),
          button("Close", () => this.dialog.close()),
        ),
      ),
    );
    (goOn.length ? this.body.querySelector("button") : this.text).focus();
  }

  give(event) {
    event.preventDefault();
    const text = this.text.value.trim();
    if (!text) {
      this.fault.textContent = "There is no text yet: type or paste some.";
      this.text.focus();
      return;
    }
    const { dialog } = this;
    this.attempt(async () => {
      const asked = { collection: this.collection, text };
      this.reading.textContent = "Looking each sentence up…";
      try {
        for await (const [name, data] of events("/api/labels", asked)) {
          if (name === "labels") this.take(data);
          else this.reading.textContent = `Looking up sentence ${data.done} of ${data.total}…`;
        }
      } finally {
        this.reading.textContent = "";
      }
      if (this.dialog === dialog) await this.show("own");
    });
  }

  // One sentence after the other

  judge(kind) {
    this.attempt(() => this.show(kind));
  }

  async show(kind) {
    this.kind = kind;
    this.sitting = {};
    this.buildSheet();
    await this.next();
    if (this.asked) this.sentence.focus();
  }

  buildSheet() {
    const id = newId("verdict");
    const keyed = ({ name, key, act, kind }) => button([name, hint(key)], act, kind, key);
    this.progress = make("p", { class: "note", role: "status" });
    this.sheet = make("div", { class: "sheet", "aria-live": "polite" });
    clear(
      this.body,
      this.progress,
      this.sheet,
      make("p", { id, class: "small-heading" }, "Do your notes back it?"),
      make(
        "div",
        { class: "actions verdicts", role: "group", "aria-labelledby": id },
        VERDICTS.map((one) =>
          keyed({ ...one, act: () => this.decide(one.verdict), kind: "primary" }),
        ),
      ),
      make(
        "div",
        { class: "actions" },
        keyed({ name: "Skip", key: "k", act: () => this.decide("skipped") }),
        keyed({ name: "Undo", key: "z", act: () => this.undo() }),
        keyed({ name: "End here", key: "q", act: () => this.end() }),
      ),
    );
  }

  // A base may write for a while; what comes after the sitting has ended is left where it waits.
  async next() {
    const { sitting } = this;
    this.tellProgress(this.kind === "prose" ? "The base is writing…" : "");
    const asked = { collection: this.collection, kind: this.kind };
    const { sentence, num_stale: numStale } = this.take(await post("/api/labels/next", asked));
    if (this.sitting !== sitting) return;
    if (!sentence) {
      this.showEnd(
        numStale
          ? `${count(numStale, "sentence")} left out: the notes have changed since. `
          : "",
      );
      return;
    }
    this.fill(sentence);
    this.tellProgress(numStale ? `${count(numStale, "sentence")} left out.` : "");
  }

  tellProgress(more) {
    const told = this.of(this.kind);
    this.progress.textContent = `${judgedOf(told)} judged, ${told.num_waiting} to go. ${more}`;
  }

  fill(asked) {
    this.asked = asked;
    const [nearest, ...others] = asked.passages;
    this.sentence = make("blockquote", { tabindex: "-1", "aria-label": "Sentence" }, asked.sentence);
    this.further =
      others.length > 0 &&
      make(
        "details",
        {},
        make("summary", {}, count(others.length, "further passage")),
        others.map((one) => this.passage(one)),
      );
    // What is in focus is read aloud without being announced.
    const hadFocus = this.sheet.contains(document.activeElement);
    this.sheet.setAttribute("aria-live", hadFocus ? "off" : "polite");
    clear(this.sheet, this.sentence, this.passage(nearest), this.further);
    if (hadFocus) this.sentence.focus();
    for (const passage of this.sheet.querySelectorAll(".passage")) {
      if (passage.scrollHeight > passage.clientHeight) passage.tabIndex = 0;
    }
  }

  passage(one) {
    const place = `${one.path}, ${lines(one.first_line, one.last_line)}`;
    return make(
      "section",
      { "aria-label": `Passage of ${place}` },
      make(
        "p",
        { class: "place" },
        `${place} · `,
        make(
          "a",
          {
            href: noteAddress({ ...one, collection: this.collection }),
            "aria-label": `Open note ${place}`,
          },
          "Open note",
        ),
      ),
      make("p", { class: "passage", role: "group", "aria-label": "Its words" }, marked(one)),
    );
  }

  decide(verdict) {
    const { sitting } = this;
    this.attempt(async () => {
      if (!this.asked) return;
      try {
        this.take(await post("/api/labels/judge", { id: this.asked.id, verdict }));
      } catch (error) {
        if (error.kind === "Gone") throw error;
        // Another page judged it, or its collection was synced: said, and gone on from.
        this.fault.textContent = error.message;
      }
      if (this.sitting === sitting) await this.next();
    });
  }

  undo() {
    const { sitting } = this;
    this.attempt(async () => {
      const asked = { collection: this.collection, kind: this.kind };
      const { taken_back: text, sentence } = this.take(await post("/api/labels/undo", asked));
      if (this.sitting !== sitting) return;
      if (sentence) this.fill(sentence);
      this.tellProgress(text ? "Taken back." : "Nothing to take back.");
    });
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.sitting) return;
    if (event.repeat || !document.querySelector("keys-dialog").areOn) return;
    // A note that was opened from here lies over it.
    if (document.querySelectorAll("dialog[open]").length > 1) return;
    const act = this.actOf(event.key.toLowerCase());
    if (!act) return;
    event.preventDefault();
    act();
  }

  actOf(key) {
    const given = VERDICTS.find((one) => one.key === key);
    if (given) return () => this.decide(given.verdict);
    return {
      k: () => this.decide("skipped"),
      z: () => this.undo(),
      q: () => this.end(),
      m: () => this.asked && this.further && (this.further.open = !this.further.open),
    }[key];
  }

  // What it promises

  end() {
    this.isBusy = false;
    this.showEnd("");
  }

  showEnd(remark) {
    this.sitting = this.asked = null;
    const kinds = this.told.kinds.filter(judgedOf);
    const isEnough = kinds.some((one) => !one.num_wanted);
    const isLeft = ["own", "prose"].filter((kind) => this.of(kind).num_waiting);
    this.outcome = make("div", { "aria-live": "polite" });
    clear(
      this.body,
      remark && make("p", { class: "note" }, remark),
      kinds.length
        ? kinds.map(standing)
        : make("p", {}, "Nothing is judged yet. Each verdict is kept as soon as it is given."),
      kinds.map(wanting),
      this.outcome,
      make(
        "p",
        { class: "note" },
        "Calibrate once, when you have judged what you wanted to. Stopping as soon as it succeeds makes the promise weaker than it says, and so does skipping the hard ones.",
      ),
      make(
        "div",
        { class: "actions" },
        isEnough && button("Make the promise", () => this.calibrate(), "primary"),
        isLeft.length > 0 && button("Judge more", () => this.judge(isLeft[0])),
        button("Another text", () => this.begin()),
        button("Close", () => this.dialog.close()),
      ),
    );
    this.heading.focus();
  }

  calibrate() {
    this.attempt(async () => {
      const asked = { collection: this.collection };
      const { calibrations } = this.take(await post("/api/labels/calibrate", asked));
      clear(
        this.outcome,
        calibrations.map((one) =>
          make(
            "section",
            { class: "promise", "aria-label": one.promise ? "Promise" : "No promise" },
            make("h3", {}, KIND_OF[one.kind] ?? "Quotations"),
            make("p", {}, one.promise ?? one.refusal),
          ),
        ),
      );
    });
  }
}

const button = (content, act, kind = "quiet", key = undefined) =>
  make(
    "button",
    { type: "button", class: kind, onclick: act, "aria-keyshortcuts": key },
    content,
  );

const hint = (key) => make("kbd", { "aria-hidden": "true" }, key);

const judgedOf = (told) => told.num_supported + told.num_partly + told.num_unsupported;

// How many of a kind are judged, and what stands behind its marks now.
function standing(told) {
  if (!judgedOf(told) && !told.promise) return null;
  const parts = [
    `${told.num_supported} supported`,
    `${told.num_partly} partly`,
    `${told.num_unsupported} not`,
    told.num_skipped && `${told.num_skipped} skipped`,
  ].filter(Boolean);
  return make(
    "div",
    {},
    make("p", {}, `${KIND_OF[told.kind]}: ${judgedOf(told)} judged (${parts.join(", ")}).`),
    told.num_outdated > 0 &&
      make(
        "p",
        { class: "note" },
        `${told.num_outdated} of them with another version of the check; they don’t count until you give the same text again.`,
      ),
    told.promise && make("p", { class: "note" }, `Now: ${told.promise}`),
  );
}

const wanting = (told) =>
  told.num_wanted > 0 &&
  make(
    "p",
    {},
    `${KIND_OF[told.kind]}: a promise takes ${count(told.num_wanted, "more sentence")} at least.`,
  );

// The passage with the words that the sentence has too. Places are counted in characters, as the
// server counts them, and not in JavaScript's halves of some.
function marked({ text, shared }) {
  const characters = [...text];
  const words = (begin, end) => characters.slice(begin, end).join("");
  let at = 0;
  const parts = shared.flatMap(([begin, end]) => {
    const before = words(at, begin);
    at = end;
    return [before, make("mark", {}, words(begin, end))];
  });
  return [...parts, words(at)];
}

customElements.define("label-dialog", LabelDialog);
