// The drawing pad: strokes with mouse, pen or finger, white ink on black.

import { digitOf, LEVELS, SIDE } from "./digit.js";

const PEN = 0.085; // of the pad's side, on screen; what the model gets has a thickness of its own

export class Pad {
  /** `format` is {kind: "digit"} or {kind: "picture", side}; `onChange` is called after each stroke. */
  constructor(canvas, preview, format, onChange) {
    this.canvas = canvas;
    this.preview = preview;
    this.format = format;
    this.onChange = onChange;
    this.strokes = [];
    this.pen = canvas.getContext("2d");
    const size = format.kind === "digit" ? SIDE : format.side;
    preview.width = preview.height = size;
    preview.classList.toggle("pixelated", size <= 64);
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.end());
    canvas.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || event.key === "Delete") this.clear();
    });
    this.paint();
  }

  get isEmpty() {
    return !this.strokes.length;
  }

  clear() {
    this.strokes = [];
    this.stroke = null;
    this.paint();
    this.onChange();
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.stroke = [this.where(event)];
    this.strokes.push(this.stroke);
    this.paint();
  }

  go(event) {
    if (!this.stroke) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.stroke.push(this.where(each));
    this.paint();
  }

  end() {
    if (!this.stroke) return;
    this.stroke = null;
    this.onChange();
  }

  where(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  paint() {
    ink(this.pen, this.canvas.width, this.strokes);
    if (this.isEmpty) this.invite();
    const context = this.preview.getContext("2d");
    if (this.format.kind === "digit") paintLevels(context, digitOf(this.strokes));
    else ink(context, this.preview.width, this.strokes);
  }

  invite() {
    this.pen.fillStyle = "#8a857b";
    this.pen.font = "30px system-ui, sans-serif";
    this.pen.textAlign = "center";
    const side = this.canvas.width;
    this.pen.fillText(this.format.kind === "digit" ? "draw a digit here" : "draw here", side / 2, side / 2 + 10);
  }

  /** The PNG that is sent, as a data URL. */
  png() {
    return this.preview.toDataURL("image/png");
  }
}

function ink(context, side, strokes) {
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  context.strokeStyle = context.fillStyle = "#fff";
  context.lineWidth = PEN * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    context.beginPath();
    stroke.forEach(([x, y], i) => (i ? context.lineTo(x * side, y * side) : context.moveTo(x * side, y * side)));
    if (stroke.length === 1) context.lineTo(stroke[0][0] * side, stroke[0][1] * side);
    context.stroke();
  }
}

function paintLevels(context, levels) {
  const picture = context.createImageData(SIDE, SIDE);
  levels.forEach((level, i) => {
    const grey = Math.round((level * 255) / (LEVELS - 1));
    picture.data.set([grey, grey, grey, 255], 4 * i);
  });
  context.putImageData(picture, 0, 0);
}
