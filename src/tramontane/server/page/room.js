// What the page knows: status, collections, experts, this session's questions and the history of
// all. The page itself keeps nothing when the tab closes.

import { Answer } from "/answer.js";
import { get } from "/api.js";
import { History } from "/history.js";

export class Room extends EventTarget {
  status = null;
  examples = [];
  collections = [];
  experts = [];
  answers = [];
  numAsked = 0;
  current = null;
  switchedOff = new Set();
  leftOut = new Set();
  coloursByExpert = false;
  isHonest = false;
  keepsNew = true;
  history = new History();
  error = null;
  // The number of an answer of old that is being fetched, and why one couldn't be.
  opening = null;
  fault = null;

  async load() {
    try {
      const [status, { examples }, { collections }, { experts }] = await Promise.all([
        get("/api/status"),
        get("/api/examples"),
        get("/api/collections"),
        get("/api/experts"),
        this.history.load(),
      ]);
      Object.assign(this, { status, examples, collections, experts, error: null });
    } catch (error) {
      this.error = error;
    }
    this.say();
  }

  say() {
    this.dispatchEvent(new Event("change"));
  }

  get inPlace() {
    return this.experts.filter((expert) => expert.is_in_place && !expert.is_withdrawn);
  }

  // Position in the sorted names, withdrawn ones too: an expert keeps its hue.
  hueOf(name) {
    const names = this.experts.map((expert) => expert.name).sort();
    return Math.max(0, names.indexOf(name)) % 8;
  }

  // null means all: what the server does when nothing is chosen.
  chosen(all, out) {
    return all.some((name) => out.has(name)) ? all.filter((name) => !out.has(name)) : null;
  }

  get chosenExperts() {
    return this.chosen(
      this.inPlace.map((expert) => expert.name),
      this.switchedOff,
    );
  }

  get chosenCollections() {
    return this.chosen(
      this.collections.map((collection) => collection.name),
      this.leftOut,
    );
  }

  toggle(set, name) {
    if (!set.delete(name)) set.add(name);
    this.say();
  }

  ask(question) {
    this.stop();
    const options = {
      collections: this.chosenCollections,
      experts: this.chosenExperts,
      honest: this.isHonest,
      keep: this.keepsNew,
    };
    this.numAsked += 1;
    const answer = new Answer(`now-${this.numAsked}`, question, options);
    this.answers.push(answer);
    this.show(answer);
    this.run(answer);
    this.say();
    return answer;
  }

  // Asks the question shown again without one of the experts that answered it.
  askWithout(name) {
    const { current: answer } = this;
    this.stop();
    const had = answer.options.experts ?? this.inPlace.map((expert) => expert.name);
    const experts = had.filter((expert) => expert !== name);
    const options = { ...answer.options, experts };
    answer.beside = new Answer(`${answer.id} without ${name}`, answer.question, options, name);
    this.run(answer.beside);
    this.say();
  }

  run(answer) {
    for (const kind of ["piece", "change"]) {
      answer.addEventListener(kind, () => this.dispatchEvent(new Event("answer")));
    }
    answer.addEventListener("kept", () => this.keep(answer));
    answer.addEventListener("change", () => this.keep(answer));
    answer.run();
  }

  // From now on the address is one that a later visit can open, too.
  keep(answer) {
    if (answer.chatId === null || answer.isRemoved) return;
    const [address, query] = location.hash.split("?");
    if (address === `#/ask/${answer.id}`) {
      history.replaceState(null, "", query ? `${answer.address}?${query}` : answer.address);
    }
    const { chatId: id, question, asked, options } = answer;
    const state = { done: "done", failed: "failed" }[answer.state] ?? "unfinished";
    this.history.put({
      id,
      question,
      asked,
      state,
      collections: options.collections ?? this.collections.map(({ name }) => name),
      experts: options.experts ?? this.inPlace.map(({ name }) => name),
      forgotten: {},
    });
  }

  // The answer that an address names: one of this session, or the one of old that is shown.
  find(id) {
    const isIt = (answer) => id === answer.id || id === String(answer.chatId);
    if (this.current && isIt(this.current)) return this.current;
    return this.answers.find(isIt) ?? null;
  }

  show(answer) {
    this.current = answer;
    this.opening = null;
    this.fault = null;
    this.say();
  }

  // Fetches an answer of old; what is shown stays until it has come.
  async open(id) {
    if (this.opening === id) return;
    this.opening = id;
    try {
      const { chat } = await get(`/api/chats/${id}`);
      if (this.opening === id) this.show(Answer.of(chat));
    } catch (error) {
      if (this.opening !== id) return;
      this.show(null);
      this.fault = error;
      this.say();
    }
  }

  async remove(id) {
    await this.history.remove(id);
    this.leave((answer) => answer.chatId === id);
  }

  async removeAll() {
    await this.history.clear();
    this.leave((answer) => answer.chatId !== null);
  }

  // Lets go of answers that are kept no more.
  leave(isGone) {
    for (const answer of this.answers.filter(isGone)) {
      answer.isRemoved = true;
      answer.stop();
    }
    this.answers = this.answers.filter((answer) => !isGone(answer));
    if (this.current && isGone(this.current)) {
      history.replaceState(null, "", "#/ask");
      this.show(null);
    } else this.say();
  }

  stop() {
    const running = this.running;
    running?.stop();
    return Boolean(running);
  }

  get running() {
    const shown = new Set([...this.answers, this.current ?? []].flat());
    const all = [...shown].flatMap((answer) => [answer, answer.beside ?? []]).flat();
    return all.find((answer) => answer.isRunning);
  }
}
