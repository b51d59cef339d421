// The quiz: begin, read, say who wrote it, next. The token of a participant stays in this browser, so that a reload goes on.

import { make } from "/studio/element.js";
import { answer, begin, stateOf } from "/quiz/client.js";

const CHOICES = [
  [1, "Very likely a person"],
  [2, "More likely a person"],
  [3, "I don\u2019t know"],
  [4, "More likely a machine"],
  [5, "Very likely a machine"],
];
const KEY = "tony-quiz";
const $ = (id) => document.getElementById(id);
let state = null; // {answered, total, question: {opening, text} or null}, or null before the beginning

function show(fresh) {
  state = fresh;
  const page = !state ? "welcome" : state.question ? "question" : "thanks";
  for (const name of ["welcome", "question", "thanks"]) $(name).hidden = name !== page;
  $("place").hidden = $("progress").hidden = page !== "question";
  $("problem").hidden = true;
  if (page === "question") ask();
}

function ask() {
  const { answered, total, question } = state;
  $("place").textContent = `${answered + 1} of ${total}`;
  $("progress").value = answered / total;
  $("opening").textContent = question.opening;
  $("text").replaceChildren(...question.text.split("\n\n").map((paragraph) => make("p", {}, paragraph)));
  $("question").reset();
  $("next").disabled = true;
  scrollTo(0, 0);
  document.querySelector(".passage").focus({ preventScroll: true }); // a screen reader begins to read here
}

/** Runs `work` and shows the state it gives; what goes wrong is told, and nothing is lost. */
async function go(work) {
  try {
    show(await work());
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
    $("problem").scrollIntoView({ block: "nearest" });
  }
}

async function beginAnew() {
  localStorage.setItem(KEY, await begin());
  return stateOf(localStorage.getItem(KEY));
}

async function where() {
  const token = localStorage.getItem(KEY);
  return token ? stateOf(token) : null; // null too for a token of another quiz on this address
}

$("choices").append(
  ...CHOICES.map(([rating, words]) =>
    make("label", { className: "choice" }, make("input", { type: "radio", name: "rating", value: String(rating) }), words)),
);
$("choices").addEventListener("change", () => { $("next").disabled = false; });
$("begin").addEventListener("click", () => go(beginAnew));
$("another").addEventListener("click", () => {
  localStorage.removeItem(KEY);
  show(null);
});
$("question").addEventListener("submit", async (event) => {
  event.preventDefault();
  const rating = Number(new FormData(event.target).get("rating"));
  if (!rating || $("next").disabled) return;
  $("next").disabled = true; // one click, one answer
  await go(() => answer(localStorage.getItem(KEY), state.answered, rating));
  if (!$("problem").hidden) $("next").disabled = false;
});
document.addEventListener("keydown", (event) => {
  const choice = document.querySelector(`.choice input[value="${/^[1-5]$/.test(event.key) ? event.key : 0}"]`);
  if (!choice || $("question").hidden || event.ctrlKey || event.altKey || event.metaKey) return;
  choice.click();
  choice.focus(); // Enter goes on from here
});
go(where);
