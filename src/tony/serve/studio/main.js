// The page: its two tabs, and the run that both show.

import { make } from "./element.js";
import { showRun } from "./run.js";
import { talk } from "./talk.js";

const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab, focus = false) {
  for (const each of tabs) {
    const isSelected = each === tab;
    each.setAttribute("aria-selected", String(isSelected));
    each.tabIndex = isSelected ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !isSelected;
  }
  if (focus) tab.focus();
  history.replaceState(null, "", tab.id === "tab-run" ? "#run" : "#");
  if (tab.id === "tab-run") showRun(document.getElementById("run"));
}

for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) select(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length], true);
  });
}

async function runInfo() {
  try {
    return await (await fetch("/studio/api/run")).json();
  } catch {
    const words = "The server does not answer: is it still running? Then reload this page.";
    document.querySelector("main").prepend(make("p", { className: "notice", role: "alert" }, words));
    return null;
  }
}

const info = await runInfo();
if (info) {
  document.getElementById("model").textContent = info.model;
  document.title = `Tony: ${info.model}`;
  talk(info);
}
if (location.hash === "#run") select(tabs[1]);
