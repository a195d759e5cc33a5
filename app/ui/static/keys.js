// The keys of the whole page, and the buttons that need no Gradio.

import { replaceText, send } from "./dom.js";

const byId = (id) => document.getElementById(id);

/** Ctrl+Enter generates, Esc interrupts, Alt+Enter skips. */
export function listenToKeys() {
  window.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press(event, "txt2img_generate");
    else if (event.key === "Enter" && event.altKey) press(event, "txt2img_skip");
    else if (event.key === "Escape" && document.body.classList.contains("busy") && !isOver()) press(event, "txt2img_interrupt");
  }, true);
}

/** Something lies over the page that Esc closes first. */
function isOver() {
  return document.querySelector("dialog[open], .completion:not([hidden])") !== null;
}

function press(event, id) {
  event.preventDefault();
  event.stopImmediatePropagation();
  // A value still being typed is taken when its box hears of it.
  event.target.dispatchEvent?.(new Event("change", { bubbles: true }));
  setTimeout(() => byId(id)?.click(), 0);
}

/** Interrupt, skip, clear and appearance. */
export function connectButtons(boxes) {
  byId("txt2img_interrupt").addEventListener("click", () => send("/app/interrupt"));
  byId("txt2img_skip").addEventListener("click", () => send("/app/skip"));
  byId("appearance").addEventListener("click", () => window.toggleAppearance());
  byId("clear").addEventListener("click", () => {
    for (const box of [...boxes].reverse()) replaceText(box, 0, box.value.length, "");
  });
  for (const button of document.querySelectorAll("button.icon")) button.title = button.textContent.trim();
}
