// One turn of the conversation: what the person brought, and the reply as it grows.

import { make } from "./element.js";
import { NAMES, thumbnail } from "./parts.js";
import { Player, samplesOf } from "./sound.js";

const REPLY_RATE = 24000; // Hz, of PCM16 in a stream

/** The person's half of a turn. */
function brought(parts) {
  const shown = parts.map((part) => {
    if (part.kind === "audio" && part.samples) {
      const player = new Player("your sound", part.rate);
      player.append(part.samples, false);
      return player.element;
    }
    if (part.kind === "audio") return make("audio", { controls: true, src: part.url });
    return thumbnail(part);
  });
  return make("div", { className: "brought" }, make("h3", { className: "who" }, "You"), ...shown);
}

export class Turn {
  constructor(parts, wants) {
    this.parts = parts;
    this.reply = { role: "assistant", content: "", images: [] };
    this.body = make("div", { className: "reply" }, make("h3", { className: "who" }, "Tony"));
    this.waiting = make("p", { className: "waiting" }, make("span", { className: "dots", "aria-hidden": "true" }), `making ${wants.map((kind) => NAMES[kind]).join(", ")}`);
    this.body.append(this.waiting);
    this.element = make("li", { className: "turn" }, brought(parts), this.body);
    this.element.setAttribute("aria-busy", "true");
    this.images = [];
  }

  /** Show what one delta of the stream adds. */
  take(delta) {
    if (delta.content) this.word(delta.content);
    for (const image of delta.images ?? []) this.picture(image);
    if (delta.audio) this.sound(delta.audio);
  }

  show(element) {
    this.body.insertBefore(element, this.waiting);
  }

  word(text) {
    if (!this.text) this.show((this.text = make("p", { className: "word" })));
    this.reply.content += text;
    this.text.textContent = this.reply.content;
    this.text.classList.toggle("long", this.reply.content.length > 40);
  }

  picture({ index, image_url: { url }, partial }) {
    if (!this.images[index]) {
      const img = make("img", { className: "picture", alt: "The picture that Tony drew" });
      img.addEventListener("load", () => img.classList.toggle("pixelated", img.naturalWidth <= 64));
      const save = make("a", { className: "save", download: "tony.png" }, "save");
      const figure = make("figure", {}, img, save);
      this.images[index] = { figure, img, save };
      this.show(figure);
    }
    const { figure, img, save } = this.images[index];
    img.src = url;
    figure.classList.toggle("partial", Boolean(partial));
    if (!partial) {
      save.href = url;
      this.reply.images.push({ type: "image_url", image_url: { url } });
    }
  }

  sound({ id, data, expires_at }) {
    if (id) {
      this.player = new Player("the reply", REPLY_RATE);
      this.reply.audio = { id };
      this.show(this.player.element);
    }
    if (data) this.player.append(samplesOf(data), true);
    if (expires_at) this.reply.expires = expires_at;
  }

  /** The reply is whole; or `problem` says in words why it is not. */
  finish(problem) {
    this.waiting.remove();
    this.element.setAttribute("aria-busy", "false");
    if (problem) this.body.append(make("p", { className: "problem", role: "alert" }, problem));
    this.failed = Boolean(problem);
  }

  /** This turn as messages, for "include earlier turns". */
  messages() {
    const user = { role: "user", content: this.parts.map((part) => part.content) };
    if (this.failed) return [];
    const { content, images, audio, expires } = this.reply;
    const reply = { role: "assistant", content, images };
    if (audio && expires > Date.now() / 1000 + 60) reply.audio = audio;
    return [user, reply];
  }
}
