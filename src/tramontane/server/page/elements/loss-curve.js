// How surprised the expert still is by its notes, as it learns: one point each time it tells.

import { clear, make } from "/dom.js";
import { shape } from "/svg.js";

const WIDTH = 320;
const HEIGHT = 72;

class LossCurve extends HTMLElement {
  losses = [];

  connectedCallback() {
    this.render();
  }

  add(loss) {
    this.losses.push(loss);
    this.render();
  }

  render() {
    const { losses } = this;
    this.hidden = losses.length < 2;
    if (this.hidden) return;
    const [least, most] = [Math.min(...losses), Math.max(...losses)];
    const at = (loss, place) => [
      (place / (losses.length - 1)) * WIDTH,
      HEIGHT - 4 - ((loss - least) / (most - least || 1)) * (HEIGHT - 8),
    ];
    const points = losses.map((loss, place) => at(loss, place).map(Math.round).join(","));
    const told = `Loss from ${losses[0].toFixed(2)} to ${losses.at(-1).toFixed(2)} nats a token`;
    clear(
      this,
      make(
        "figure",
        { class: "curve" },
        shape(
          "svg",
          { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": told },
          shape("polyline", { points: points.join(" "), class: "curve-line" }),
        ),
        make("figcaption", { class: "note" }, `${told}, lower is better.`),
      ),
    );
  }
}

customElements.define("loss-curve", LossCurve);
