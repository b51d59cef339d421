// The second tab: the run behind the model. Read anew each time the tab is opened.

import { lineChart, short } from "./chart.js";
import { make } from "./element.js";
import { NAMES } from "./parts.js";
import { omniTables, resultsTable } from "./table.js";

const MODALITIES = ["text", "image", "audio", "video"];

async function read(name) {
  const response = await fetch(`/studio/api/${name}`);
  const body = await response.json();
  if (!response.ok) throw new Error(body.error.message);
  return body;
}

export async function showRun(panel) {
  try {
    const [info, metrics, { evals, problems }] = await Promise.all(["run", "metrics", "evals"].map(read));
    panel.replaceChildren(tiles(info, metrics), curve(metrics), measured(evals, problems, info), recipe(info));
  } catch (error) {
    const words = error instanceof TypeError ? "The server does not answer: is it still running?" : error.message;
    panel.replaceChildren(make("p", { className: "notice", role: "alert" }, words));
  }
}

function card(title, ...children) {
  return make("section", { className: "card" }, make("h2", {}, title), ...children);
}

function tiles(info, { points }) {
  const last = points.at(-1) ?? {};
  const minutes = last.seconds / 60;
  const facts = [
    ["model", info.model],
    ["parameters", info.parameters ? short(info.parameters) : null],
    ["tokens trained", last.tokens ? short(last.tokens) : null],
    ["steps", last.step ? last.step.toLocaleString("en") : null],
    ["training time", last.seconds ? (minutes < 90 ? `${minutes.toFixed(1)} min` : `${(minutes / 60).toFixed(1)} h`) : null],
    ["loss at the end", typeof last.loss === "number" ? last.loss.toFixed(3) : null],
  ];
  return make("dl", { className: "tiles" }, ...facts.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function curve({ points, logged, stretch }) {
  const lines = MODALITIES.map((kind) => ({
    name: kind === "text" ? "words" : `${NAMES[kind]}s`,
    kind,
    points: points.filter((p) => p.tokens && typeof p.loss_by_modality[kind] === "number").map((p) => [p.tokens, p.loss_by_modality[kind]]),
  }));
  const whole = points.filter((p) => p.tokens && typeof p.loss === "number").map((p) => [p.tokens, p.loss]);
  const shown = [{ name: "all", kind: "all", points: whole }, ...lines].filter((line) => line.points.length > 1);
  if (!shown.length) return card("Training", make("p", { className: "none" }, "No training step has been logged in this run yet."));
  const note = stretch > 1 ? `${logged} logged steps; each point is the mean of ${stretch}.` : `${logged} logged steps.`;
  return card("Training", lineChart(shown, { label: "Training loss by modality against tokens", xTitle: "tokens", yTitle: "loss, nats per token" }), make("p", { className: "note" }, note));
}

function measured(evals, problems, info) {
  const { omni, ...others } = evals;
  const shown = omni?.cells ? omniTables(omni) : [];
  for (const [name, suite] of Object.entries(others)) shown.push(resultsTable(name, suite));
  if (!shown.length) {
    const command = make("code", {}, `tony eval ${info.run ? `runs/${info.run}` : "RUN"} omni`);
    shown.push(make("p", { className: "none" }, "This run has not been measured yet. To measure it: ", command));
  }
  for (const problem of problems) shown.push(make("p", { className: "problem" }, `${problem}.`));
  return card("Any to any", ...shown);
}

function recipe({ recipe: sections, problem, environment }) {
  if (problem) return card("Recipe", make("p", { className: "problem" }, problem));
  const top = Object.fromEntries(Object.entries(sections).filter(([, value]) => !isTable(value)));
  const shown = [["run", top], ...Object.entries(sections).filter(([, value]) => isTable(value)), ["environment", environment]];
  const filled = shown.filter(([, values]) => Object.keys(values).length);
  if (!filled.length) return card("Recipe", make("p", { className: "none" }, "This model came without a run folder."));
  return card("Recipe", make("div", { className: "recipe" }, ...filled.map(([name, values]) => section(name, values))));
}

const isTable = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function section(name, values) {
  const list = make("dl", {});
  const add = (prefix, table) => {
    for (const [key, value] of Object.entries(table)) {
      if (isTable(value)) add(`${prefix}${key}.`, value);
      else if (value !== null) list.append(make("dt", {}, prefix + key), make("dd", {}, (Array.isArray(value) ? value.join(", ") : String(value)) || "none"));
    }
  };
  add("", values);
  return make("details", { open: ["model", "train"].includes(name) }, make("summary", {}, name), list);
}
