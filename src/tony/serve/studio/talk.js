// The first tab: gather the parts of a prompt, send it, show the reply.

import { chat } from "./chat.js";
import { Pad } from "./draw.js";
import { make } from "./element.js";
import { filePart, Parts, picturePart, recordingPart, textPart } from "./parts.js";
import { Recorder } from "./record.js";
import { audioContext } from "./sound.js";
import { Turn } from "./turn.js";
import { Wants } from "./wants.js";

const $ = (id) => document.getElementById(id);

// Prompts that the digit world was trained for.
const EXAMPLES = [
  { label: "draw a seven", parts: ["seven"], wants: ["image"] },
  { label: "say three", parts: ["three"], wants: ["audio"] },
  { label: "nine, in French", parts: ["nine", "fr:"], wants: ["text", "audio"] },
  { label: "three + five", parts: ["three + five"], wants: ["text", "image", "audio"] },
];

/** Bring the tab to life for the run that `info` (GET /studio/api/run) describes. */
export function talk(info) {
  const vocabulary = info.recipe.vocabulary ?? {};
  const isDigits = (info.recipe.data?.kind ?? "digits") === "digits";
  const kinds = ["text", "image", "audio"].filter((kind) => !(kind === "image" && vocabulary.image === null) && !(kind === "audio" && vocabulary.sound === null));
  const turns = [];
  let stop = null; // AbortController of the reply under way

  const parts = new Parts($("parts"), () => refresh());
  const wants = new Wants($("wants"), kinds, kinds.includes("audio") ? ["text", "audio"] : ["text"], () => refresh());

  function refresh() {
    const nothing = !parts.parts.length && !$("words").value.trim();
    $("send").textContent = stop ? "Stop" : "Send";
    $("send").disabled = !stop && (nothing || !wants.chosen.length);
    $("add-words").disabled = !$("words").value.trim();
  }

  // --- words ---
  function addWords() {
    const text = $("words").value.trim();
    $("words").value = "";
    if (text) parts.put(textPart(text));
    refresh();
  }
  $("add-words").addEventListener("click", () => {
    addWords();
    $("words").focus();
  });
  $("words").addEventListener("input", refresh);

  // --- drawing: the card follows the pad until "Draw another" lets it go ---
  const side = vocabulary.image?.side ?? 8;
  const format = isDigits && side === 8 ? { kind: "digit" } : { kind: "picture", side };
  const pad = new Pad($("pad"), $("preview"), format, () => {
    if (pad.isEmpty) parts.removeId("drawing");
    else parts.put({ ...picturePart(pad.png(), "drawing", side <= 64), id: "drawing", onRemove: () => pad.clear() });
  });
  $("pad-clear").addEventListener("click", () => pad.clear());
  $("pad-next").addEventListener("click", letGo);

  function letGo() {
    for (const part of parts.parts) {
      if (part.id === "drawing") part.id = part.onRemove = undefined;
    }
    pad.clear();
    parts.render();
  }

  // --- recording ---
  const recorder = new Recorder($("level"), isDigits, (samples) => {
    showRecording(false);
    if (samples?.length) parts.put(recordingPart(samples));
    $("record-note").textContent = samples?.length ? "Added to your prompt." : "Nothing was heard: is the right microphone chosen? Try again, closer.";
  }, (seconds) => {
    if (recorder.isOn) $("record-note").textContent = `Listening: ${seconds.toFixed(1)} s`;
  });
  function showRecording(isOn) {
    $("record").setAttribute("aria-pressed", String(isOn));
    $("record-label").textContent = isOn ? "Stop recording" : "Start recording";
  }
  $("record").addEventListener("click", async () => {
    if (recorder.isOn) {
      await recorder.stop();
      return;
    }
    try {
      await recorder.start();
      showRecording(true);
    } catch (error) {
      $("record-note").textContent = error.message;
    }
  });

  // --- which tool is open ---
  function open(tool) {
    for (const name of ["draw", "record"]) {
      $(`tool-${name}`).setAttribute("aria-expanded", String(name === tool));
      $(`panel-${name}`).hidden = name !== tool;
    }
    if (tool !== "record") recorder.stop();
  }
  for (const name of ["draw", "record"]) {
    $(`tool-${name}`).addEventListener("click", () => open($(`tool-${name}`).getAttribute("aria-expanded") === "true" ? null : name));
  }
  $("tool-draw").hidden = vocabulary.image === null;
  $("tool-record").hidden = vocabulary.sound === null;
  open(vocabulary.image === null ? null : "draw");

  // --- files, chosen, dropped or pasted ---
  async function addFiles(files) {
    for (const file of files) {
      try {
        parts.put(await filePart(file));
      } catch (error) {
        const turn = new Turn([], []);
        turn.finish(error.message);
        show(turn);
      }
    }
  }
  $("tool-file").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", async () => {
    await addFiles([...$("file").files]);
    $("file").value = "";
  });
  document.addEventListener("paste", (event) => addFiles([...(event.clipboardData?.files ?? [])]));
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragenter", (event) => holdsFiles(event) && ($("drop").hidden = false));
  document.addEventListener("dragover", (event) => holdsFiles(event) && event.preventDefault());
  $("drop").addEventListener("dragleave", () => ($("drop").hidden = true));
  document.addEventListener("drop", (event) => {
    $("drop").hidden = true;
    if (!holdsFiles(event)) return;
    event.preventDefault();
    addFiles([...event.dataTransfer.files]);
  });

  // --- sending ---
  function show(turn) {
    $("empty").hidden = true;
    $("turns").prepend(turn.element);
    turn.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  async function send() {
    addWords();
    const asked = parts.parts;
    const turn = new Turn(asked, wants.chosen);
    const earlier = $("earlier").checked ? turns.flatMap((each) => each.messages()) : [];
    parts.set([]);
    letGo();
    show(turn);
    stop = new AbortController();
    refresh();
    if (wants.chosen.includes("audio")) audioContext(); // within the click, so that sound may play
    let problem = null;
    try {
      const request = {
        model: info.model,
        messages: [...earlier, { role: "user", content: asked.map((part) => part.content) }],
        modalities: wants.chosen,
      };
      for await (const delta of chat(request, stop.signal)) turn.take(delta);
    } catch (error) {
      problem = error.name === "AbortError" ? "Stopped." : error.message;
    }
    turn.finish(problem);
    turn.element.scrollIntoView({ block: "nearest", behavior: "smooth" }); // it has grown
    turns.push(turn);
    stop = null;
    $("earlier-line").hidden = false;
    refresh();
  }
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (stop) stop.abort();
    else if (!$("send").disabled) send();
  });

  // --- examples ---
  if (isDigits) {
    for (const { label, parts: words, wants: chosen } of EXAMPLES.filter((each) => each.wants.every((kind) => kinds.includes(kind)))) {
      const button = make("button", { type: "button", className: "example" }, label);
      button.addEventListener("click", () => {
        if (stop) return;
        $("words").value = "";
        wants.set(chosen);
        parts.set(words.map(textPart));
        send();
      });
      $("examples").append(button);
    }
    $("examples").hidden = false;
  }
  refresh();
}
