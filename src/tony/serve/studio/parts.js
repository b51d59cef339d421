// The parts of the prompt: cards that can be removed and put in another order.
//
// A part is {kind, label, content, ...}: `content` is what the API gets; text has `text`, pictures and clips
// have `url`, sounds have `samples` and `rate` or `url`.

import { make } from "./element.js";
import { base64Of, SPEECH_RATE, waveform, wavOf } from "./sound.js";

export const NAMES = { text: "word", image: "picture", audio: "sound", video: "clip" };

export function textPart(text) {
  return { kind: "text", label: text, text, content: { type: "text", text } };
}

export function picturePart(url, label, isSmall = false) {
  return { kind: "image", label, url, isSmall, content: { type: "image_url", image_url: { url } } };
}

export function recordingPart(samples) {
  const data = base64Of(wavOf(samples, SPEECH_RATE));
  return {
    kind: "audio",
    label: `recording, ${(samples.length / SPEECH_RATE).toFixed(1)} s`,
    samples,
    rate: SPEECH_RATE,
    content: { type: "input_audio", input_audio: { data, format: "wav" } },
  };
}

const LARGEST_FILE = 20 * 2 ** 20;

/** The part that a dropped or chosen file makes. Rejects with an Error in plain words. */
export async function filePart(file) {
  const kind = file.type.split("/")[0];
  if (!file.size) throw new Error(`${file.name} is empty: choose another file.`);
  if (file.size > LARGEST_FILE) {
    throw new Error(`${file.name} has ${(file.size / 2 ** 20).toFixed(0)} MB: 20 MB is the most.`);
  }
  if (kind === "text") return textPart((await file.text()).trim());
  if (!["image", "audio", "video"].includes(kind)) {
    throw new Error(`${file.name} is neither picture, sound, clip nor text: choose another file.`);
  }
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
  if (kind === "image") return picturePart(url, file.name);
  const type = `${kind}_url`;
  return { kind, label: file.name, url, content: { type, [type]: { url } } };
}

/** What a part looks like in a card: text, picture, waveform or clip. */
export function thumbnail(part) {
  if (part.kind === "text") return make("span", { className: "thumb words" }, part.text);
  if (part.kind === "image") {
    return make("img", { className: `thumb${part.isSmall ? " pixelated" : ""}`, src: part.url, alt: part.label });
  }
  if (part.kind === "video") {
    return make("video", { className: "thumb", src: part.url, muted: true, loop: true, autoplay: true, playsInline: true });
  }
  if (!part.samples) return make("span", { className: "thumb words" }, part.label);
  const canvas = make("canvas", { className: "thumb wave", role: "img", "aria-label": part.label });
  requestAnimationFrame(() => waveform(canvas, part.samples));
  return canvas;
}

export class Parts {
  constructor(list, onChange) {
    this.list = list;
    this.parts = [];
    this.render();
    this.onChange = onChange;
  }

  /** Put `part` at the end, or in the place of the part with the same `id`. */
  put(part) {
    const place = part.id ? this.parts.findIndex((other) => other.id === part.id) : -1;
    if (place >= 0) this.parts[place] = part;
    else this.parts.push(part);
    this.render();
  }

  remove(part) {
    this.parts = this.parts.filter((other) => other !== part);
    this.render();
    part.onRemove?.();
  }

  removeId(id) {
    this.parts = this.parts.filter((part) => part.id !== id);
    this.render();
  }

  set(parts) {
    this.parts = [...parts];
    this.render();
  }

  move(from, to, focus) {
    if (to < 0 || to >= this.parts.length || from === to) return;
    this.parts.splice(to, 0, ...this.parts.splice(from, 1));
    this.render();
    const buttons = this.list.children[to].querySelectorAll(".move");
    if (focus) (buttons[focus === "left" ? 0 : buttons.length - 1] ?? this.list).focus();
  }

  render() {
    this.list.replaceChildren(...this.parts.map((part, place) => this.card(part, place)));
    if (!this.parts.length) {
      this.list.append(make("li", { className: "hint" }, "Type, draw, record or drop a file."));
    }
    this.onChange?.();
  }

  card(part, place) {
    const name = part.kind === "text" ? `\u201c${part.text.slice(0, 30)}\u201d` : part.label;
    const card = make("li", { className: `part ${part.kind}`, draggable: true, title: part.label }, thumbnail(part));
    const button = (label, sign, act, className) =>
      card.append(make("button", { type: "button", className, "aria-label": label, onclick: act }, sign));
    if (place > 0) button(`Move ${name} before`, "\u2039", () => this.move(place, place - 1, "left"), "move");
    if (place < this.parts.length - 1) button(`Move ${name} behind`, "\u203a", () => this.move(place, place + 1, "right"), "move");
    button(`Remove ${name}`, "\u00d7", () => this.remove(part), "remove");
    card.addEventListener("dragstart", (event) => {
      event.dataTransfer.setData("application/x-part", String(place));
      event.dataTransfer.effectAllowed = "move";
    });
    card.addEventListener("dragover", (event) => event.preventDefault());
    card.addEventListener("drop", (event) => {
      const from = event.dataTransfer.getData("application/x-part");
      if (from === "") return;
      event.preventDefault();
      this.move(Number(from), place);
    });
    return card;
  }
}
