// The whole page: header, the screen that the address names, an opened note, the list of keys.

import { clear, make } from "/dom.js";
import { PLACES, placeOfKey } from "/places.js";
import { place } from "/router.js";
import { Room } from "/room.js";
import "/elements/keys-dialog.js";
import "/elements/note-dialog.js";
import "/elements/page-header.js";
import "/elements/share-tip.js";
import "/elements/sign-in.js";

class ReadingRoom extends HTMLElement {
  async connectedCallback() {
    this.room = new Room();
    this.screens = {};
    this.main = this.querySelector("main");
    this.header = this.querySelector("page-header");
    this.note = make("note-dialog", { room: this.room });
    this.keys = make("keys-dialog");
    this.append(
      this.note,
      this.keys,
      make("share-tip", { room: this.room }),
      make("sign-in", { room: this.room }),
    );
    this.header.begin(this.room);
    this.querySelector(".skip").addEventListener("click", () => this.main.focus());
    addEventListener("hashchange", () => this.follow(true));
    addEventListener("keydown", (event) => this.press(event));
    addEventListener("dragover", (event) => this.keepPage(event));
    await this.room.load();
    await this.follow(false);
  }

  async follow(moveFocus) {
    const { screen, rest, query } = place();
    const isNew = this.screen !== screen;
    if (isNew) {
      this.screen = screen;
      this.header.show(screen);
      document.title = `${PLACES[screen].title} · Tramontane`;
      await import(`/elements/${screen}-screen.js`);
      // Meanwhile somebody may have gone elsewhere.
      if (this.screen !== screen) return;
      this.screens[screen] ??= make(`${screen}-screen`, { room: this.room });
      clear(this.main, this.screens[screen]);
      scrollTo(0, 0);
    }
    if (!this.screens[screen]) return;
    this.screens[screen].follow(rest);
    if (isNew && moveFocus && !query.has("note")) this.screens[screen].takeFocus();
    this.note.follow(query);
  }

  // A folder that misses its place must not take the page's.
  keepPage(event) {
    if (event.defaultPrevented || !event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "none";
  }

  press(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (!document.querySelector("dialog[open]") && this.room.stop()) event.preventDefault();
      return;
    }
    if (!this.keys.areOn || isTyping(event.target) || document.querySelector("dialog[open]"))
      return;
    const after = this.pressedG && Date.now() - this.pressedG < 1500;
    this.pressedG = 0;
    const screen = after && placeOfKey(event.key);
    if (screen) location.hash = `#/${screen}`;
    else if (event.key === "g") this.pressedG = Date.now();
    else if (event.key === "?") this.keys.open();
    else if (event.key === "/") this.screens[this.screen]?.focusBox?.();
    else if (event.key === "h" && this.screen === "ask") this.screens.ask.focusHistory();
    else if (event.key === "c" && this.screen === "ask") this.screens.ask.toggleColours();
    else return;
    event.preventDefault();
  }
}

const isTyping = (target) => target.closest?.("input:not([type=checkbox]), textarea, select");

customElements.define("reading-room", ReadingRoom);
