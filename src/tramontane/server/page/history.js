// Questions that were asked, as the library keeps them: the newest first, searched and removed.

import { get, post } from "/api.js";

export class History extends EventTarget {
  chats = [];
  hasMore = false;
  // Whether this server keeps new ones.
  keeps = false;
  words = "";
  // Why older ones couldn't be fetched.
  fault = null;

  async load(words = this.words) {
    this.words = words;
    const asked = (this.asked = Symbol("asked"));
    try {
      const told = await get("/api/chats", words ? { words } : {});
      // Meanwhile somebody may have typed on.
      if (this.asked !== asked) return;
      Object.assign(this, { chats: told.chats, hasMore: told.has_more, keeps: told.keeps });
    } catch {
      // What is wrong with the server is said where the answers stand.
      Object.assign(this, { chats: [], hasMore: false });
    }
    this.say();
  }

  async older() {
    const before = this.chats.at(-1).id;
    const query = this.words ? { words: this.words, before } : { before };
    const { asked } = this;
    try {
      const told = await get("/api/chats", query);
      if (this.asked !== asked) return;
      this.chats = [...this.chats, ...told.chats];
      this.hasMore = told.has_more;
      this.fault = null;
    } catch (error) {
      this.fault = error;
    }
    this.say();
  }

  // A question asked in this page; among what was searched for, it need not be.
  put(chat) {
    const at = this.chats.findIndex(({ id }) => id === chat.id);
    if (at >= 0) this.chats = this.chats.map((other) => (other.id === chat.id ? chat : other));
    else if (!this.words) this.chats = [chat, ...this.chats];
    this.say();
  }

  async remove(id) {
    await post("/api/chats/remove", { id });
    this.chats = this.chats.filter((chat) => chat.id !== id);
    this.say();
  }

  async clear() {
    await post("/api/chats/clear");
    await this.load("");
  }

  say() {
    this.dispatchEvent(new Event("change"));
  }
}
