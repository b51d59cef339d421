// What should come back, in the order in which it was chosen.

import { make } from "./element.js";
import { NAMES } from "./parts.js";

const ORDINALS = ["first", "second", "third"];

export class Wants {
  constructor(group, kinds, chosen, onChange) {
    this.chosen = chosen;
    this.onChange = onChange;
    this.buttons = kinds.map((kind) => {
      const badge = make("span", { className: "badge", "aria-hidden": "true" });
      const button = make("button", { type: "button", className: `want ${kind}` }, make("span", { className: "swatch", "aria-hidden": "true" }), NAMES[kind], badge);
      button.addEventListener("click", () => this.toggle(kind));
      return { kind, button, badge };
    });
    group.replaceChildren(...this.buttons.map(({ button }) => button));
    this.show();
  }

  toggle(kind) {
    this.set(this.chosen.includes(kind) ? this.chosen.filter((other) => other !== kind) : [...this.chosen, kind]);
  }

  set(chosen) {
    this.chosen = chosen.filter((kind) => this.buttons.some((each) => each.kind === kind));
    this.show();
    this.onChange?.();
  }

  show() {
    for (const { kind, button, badge } of this.buttons) {
      const place = this.chosen.indexOf(kind);
      button.setAttribute("aria-pressed", String(place >= 0));
      button.setAttribute("aria-label", place >= 0 && this.chosen.length > 1 ? `${NAMES[kind]}, ${ORDINALS[place]}` : NAMES[kind]);
      badge.textContent = place >= 0 && this.chosen.length > 1 ? String(place + 1) : "";
    }
  }
}
