// The any-to-any table and its companions, from evals/omni.json.

import { make } from "./element.js";
import { NAMES } from "./parts.js";

const OUTPUTS = ["text", "image", "audio"];
const LANGUAGES = { en: "English", fr: "French", de: "German", es: "Spanish" };

const percent = (value) => `${(100 * value).toFixed(value >= 0.9995 || value === 0 ? 0 : 1)}%`;
const spoken = (side) => side.split("+").map((kind) => NAMES[kind] ?? kind).join(" + ");
const arrow = (name) => name.split("->").map(spoken).join(" \u2192 ");

/** One cell: accuracy, its interval, and a tint that is stronger the better it is. */
function cell(value) {
  if (!value || typeof value.accuracy !== "number") return make("td", { className: "none" }, "\u2013");
  const { accuracy, low, high, n } = value;
  const hasInterval = typeof low === "number" && typeof high === "number";
  const td = make("td", { className: "score", title: n ? `${n} examples` : "" }, make("strong", {}, percent(accuracy)),
    hasInterval ? make("small", {}, `${(100 * low).toFixed(0)} to ${(100 * high).toFixed(0)}`) : null);
  td.style.setProperty("--share", `${Math.round(8 + 40 * Math.max(0, (accuracy - 0.5) * 2))}%`);
  return td;
}

function table(caption, head, rows) {
  return make("div", { className: "scroll" }, make("table", {},
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows.map(([name, ...cells]) => make("tr", {}, make("th", { scope: "row" }, name), ...cells)))));
}

/** Inputs x outputs, then what does not fit the grid, the judges, and the other languages. */
export function omniTables({ cells = {}, languages = {}, judges = {} }) {
  const split = Object.entries(cells).map(([name, value]) => ({ name, value, input: name.split("->")[0], output: name.split("->")[1] }));
  const inGrid = split.filter(({ output }) => OUTPUTS.includes(output));
  const inputs = [...new Set(inGrid.map(({ input }) => input))];
  const others = split.filter(({ output }) => !OUTPUTS.includes(output));
  const find = (input, output) => inGrid.find((each) => each.input === input && each.output === output)?.value;
  const n = Math.max(0, ...split.map(({ value }) => value.n ?? 0));
  const shown = [table(
    `Share of right answers in English, with 95% intervals${n ? `; up to ${n} held-out examples a cell` : ""}`,
    ["you bring", ...OUTPUTS.map((output) => NAMES[output])],
    inputs.map((input) => [spoken(input), ...OUTPUTS.map((output) => cell(find(input, output)))]),
  )];
  if (others.length) {
    shown.push(table("Other questions", ["question", "right"], others.map(({ name, value }) => [arrow(name), cell(value)])));
  }
  const judged = Object.entries(judges).filter(([, judge]) => typeof judge?.accuracy === "number");
  if (judged.length) {
    const words = judged.map(([kind, judge]) => `${NAMES[kind] ?? kind}s ${percent(judge.accuracy)}${judge.n ? ` of ${judge.n}` : ""}`);
    shown.push(make("p", { className: "note" }, `Pictures and sounds are judged by classifiers trained on real examples only. On held-out real examples these judges are right for ${words.join(", ")}.`));
  }
  const codes = Object.keys(languages);
  if (codes.length) {
    const names = [...new Set(codes.flatMap((code) => Object.keys(languages[code])))];
    shown.push(table("Asked for in other languages", ["question", ...codes.map((code) => LANGUAGES[code] ?? code)],
      names.map((name) => [arrow(name), ...codes.map((code) => cell(languages[code][name]))])));
  }
  return shown;
}

/** Any other suite: its results as they are. */
export function resultsTable(name, suite) {
  const number = (value) => (typeof value === "number" ? String(Number(value.toPrecision(4))) : "\u2013");
  return table(name, ["measure", "value", "interval", "n"], (suite.results ?? []).map((result) => [
    `${result.name ?? ""} ${result.metric ?? ""}`.trim(),
    make("td", {}, number(result.value)),
    make("td", {}, typeof result.low === "number" ? `${number(result.low)} to ${number(result.high)}` : "\u2013"),
    make("td", {}, number(result.n)),
  ]));
}
