// A line chart, drawn as SVG: axes with units, a legend that hides and shows lines, values under the pointer.

import { make } from "./element.js";

const SVG = "http://www.w3.org/2000/svg";
const MARGIN = { top: 14, right: 14, bottom: 40, left: 48 };

function svg(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Round numbers that span low..high in about `count` steps. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i += 1) out.push(i * step);
  return out;
}

/** 1500000 -> "1.5M" */
export function short(value) {
  for (const [size, sign] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${sign}`;
  }
  return String(Number(value.toPrecision(3)));
}

/** An element with the chart of `lines`: [{name, kind, points: [[x, y], ...]}], `kind` names the colour. */
export function lineChart(lines, { label, xTitle, yTitle }) {
  const hidden = new Set();
  const legend = make("div", { className: "legend", role: "group", "aria-label": "Lines" });
  const box = make("div", { className: "plot" });
  const tip = make("div", { className: "tip", hidden: true, role: "status" });
  const root = make("div", { className: "chart" }, legend, box);
  let at = null; // x under the pointer

  for (const line of lines) {
    const button = make("button", { type: "button", className: `key ${line.kind}`, "aria-pressed": "true" }, make("span", { className: "swatch", "aria-hidden": "true" }), line.name);
    button.addEventListener("click", () => {
      if (!hidden.delete(line) && hidden.size < lines.length - 1) hidden.add(line);
      button.setAttribute("aria-pressed", String(!hidden.has(line)));
      draw();
    });
    legend.append(button);
  }

  function draw() {
    const width = box.clientWidth;
    const height = box.clientHeight;
    if (!width) return;
    const shown = lines.filter((line) => !hidden.has(line));
    const all = shown.flatMap((line) => line.points);
    const xHigh = Math.max(...all.map((p) => p[0]));
    const yHigh = Math.max(...all.map((p) => p[1])) * 1.04;
    const yLow = Math.min(0, ...all.map((p) => p[1]));
    const x = (v) => MARGIN.left + (v / xHigh) * (width - MARGIN.left - MARGIN.right);
    const y = (v) => height - MARGIN.bottom - ((v - yLow) / (yHigh - yLow)) * (height - MARGIN.top - MARGIN.bottom);
    const picture = svg("svg", { width, height, role: "img", "aria-label": label, tabindex: 0 });
    for (const tick of ticks(yLow, yHigh, Math.max(3, height / 60))) {
      picture.append(
        svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(tick), y2: y(tick) }),
        svg("text", { x: MARGIN.left - 8, y: y(tick) + 4, "text-anchor": "end" }, short(tick)),
      );
    }
    for (const tick of ticks(0, xHigh, Math.max(3, width / 110))) {
      picture.append(svg("text", { x: x(tick), y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, short(tick)));
    }
    picture.append(
      svg("text", { class: "title", x: width - MARGIN.right, y: height - 4, "text-anchor": "end" }, xTitle),
      svg("text", { class: "title", x: -MARGIN.top, y: 12, transform: "rotate(-90)", "text-anchor": "end" }, yTitle),
    );
    for (const line of shown) {
      const path = line.points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
      picture.append(svg("path", { class: `line ${line.kind}`, d: path }));
    }
    if (at !== null) picture.append(...marker(shown, x, y, height));
    picture.addEventListener("pointermove", (event) => {
      const inside = event.clientX - picture.getBoundingClientRect().left - MARGIN.left;
      point((inside / (width - MARGIN.left - MARGIN.right)) * xHigh);
    });
    picture.addEventListener("pointerleave", () => point(null));
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      point((at ?? xHigh) + (step * xHigh) / 50);
      box.querySelector("svg").focus();
    });
    const focused = box.contains(document.activeElement);
    box.replaceChildren(picture, tip);
    if (focused) picture.focus({ preventScroll: true });
  }

  function point(value) {
    const xs = lines.flatMap((line) => line.points.map((p) => p[0]));
    at = value === null ? null : Math.max(0, Math.min(Math.max(...xs), value));
    tip.hidden = at === null;
    draw();
  }

  const nearest = (line) => line.points.reduce((best, p) => (Math.abs(p[0] - at) < Math.abs(best[0] - at) ? p : best));

  function marker(shown, x, y, height) {
    const near = shown.map((line) => [line, nearest(line)]);
    const place = near[0][1][0];
    tip.replaceChildren(make("strong", {}, `${short(place)} ${xTitle}`), ...near.map(([line, p]) => make("span", { className: `key ${line.kind}` }, make("span", { className: "swatch" }), `${line.name} ${p[1].toFixed(3)}`)));
    const isLate = x(place) > box.clientWidth / 2;
    tip.style.left = isLate ? "" : `${x(place) + 12}px`;
    tip.style.right = isLate ? `${box.clientWidth - x(place) + 12}px` : "";
    return [
      svg("line", { class: "cursor", x1: x(place), x2: x(place), y1: MARGIN.top, y2: height - MARGIN.bottom }),
      ...near.map(([line, p]) => svg("circle", { class: `dot ${line.kind}`, cx: x(p[0]), cy: y(p[1]), r: 4 })),
    ];
  }

  new ResizeObserver(draw).observe(box);
  return root;
}
