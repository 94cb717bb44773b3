// The whole page: header, the screen that the address names, an opened note, the list of keys.

import { clear, make } from "/dom.js";
import { place } from "/router.js";
import { Room } from "/room.js";
import "/elements/ask-screen.js";
import "/elements/experts-screen.js";
import "/elements/keys-dialog.js";
import "/elements/note-dialog.js";
import "/elements/notes-screen.js";
import "/elements/page-header.js";
import "/elements/share-tip.js";

const TITLES = { ask: "Ask", notes: "Notes", experts: "Experts" };

class ReadingRoom extends HTMLElement {
  async connectedCallback() {
    this.room = new Room();
    this.screens = {};
    this.main = make("main", { id: "main", tabindex: "-1" });
    this.header = make("page-header", { room: this.room });
    this.note = make("note-dialog", { room: this.room });
    this.keys = make("keys-dialog");
    clear(
      this,
      make(
        "button",
        { class: "skip", type: "button", onclick: () => this.main.focus() },
        "Skip to the text",
      ),
      this.header,
      this.main,
      this.note,
      this.keys,
      make("share-tip", { room: this.room }),
    );
    addEventListener("hashchange", () => this.follow(true));
    addEventListener("keydown", (event) => this.press(event));
    await this.room.load();
    this.follow(false);
  }

  follow(moveFocus) {
    const { screen, rest, query } = place();
    const isNew = this.screen !== screen;
    if (isNew) {
      this.screen = screen;
      this.screens[screen] ??= make(`${screen}-screen`, { room: this.room });
      clear(this.main, this.screens[screen]);
      document.title = `${TITLES[screen]} · Tramontane`;
      this.header.show(screen);
      scrollTo(0, 0);
    }
    this.screens[screen].follow(rest);
    if (isNew && moveFocus && !query.has("note")) this.screens[screen].takeFocus();
    this.note.follow(query);
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
    const screen = after && { a: "ask", n: "notes", e: "experts" }[event.key];
    if (screen) location.hash = `#/${screen}`;
    else if (event.key === "g") this.pressedG = Date.now();
    else if (event.key === "?") this.keys.open();
    else if (event.key === "/") this.screens[this.screen].focusBox?.();
    else if (event.key === "c" && this.screen === "ask") this.screens.ask.toggleColours();
    else return;
    event.preventDefault();
  }
}

const isTyping = (target) => target.closest?.("input:not([type=checkbox]), textarea, select");

customElements.define("reading-room", ReadingRoom);
