// What the page knows: status, collections, experts, and this session's questions. Nothing of it
// is kept when the tab closes.

import { Answer } from "/answer.js";
import { get } from "/api.js";

export class Room extends EventTarget {
  status = null;
  examples = [];
  collections = [];
  experts = [];
  answers = [];
  current = null;
  switchedOff = new Set();
  leftOut = new Set();
  coloursByExpert = false;
  isHonest = false;
  error = null;

  async load() {
    try {
      const [status, { examples }, { collections }, { experts }] = await Promise.all([
        get("/api/status"),
        get("/api/examples"),
        get("/api/collections"),
        get("/api/experts"),
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
    };
    const answer = new Answer(this.answers.length + 1, question, options);
    this.answers.push(answer);
    this.current = answer;
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
    answer.run();
  }

  show(id) {
    this.current = this.answers.find((answer) => answer.id === id) ?? null;
    this.say();
  }

  stop() {
    const running = this.running;
    running?.stop();
    return Boolean(running);
  }

  get running() {
    const all = this.answers.flatMap((answer) => [answer, answer.beside ?? []]).flat();
    return all.find((answer) => answer.isRunning);
  }
}
