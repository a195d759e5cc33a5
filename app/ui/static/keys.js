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

/** Interrupt, skip, clear and appearance. Gradio mounts buttons when it pleases, so the document listens for them. */
export function connectButtons(boxes) {
  const actions = {
    txt2img_interrupt: () => send("/app/interrupt"),
    txt2img_skip: () => send("/app/skip"),
    appearance: () => window.toggleAppearance(),
    clear: () => boxes.toReversed().forEach((box) => replaceText(box, 0, box.value.length, "")),
  };
  document.addEventListener("click", (event) => actions[event.target.closest("button")?.id]?.());
  document.addEventListener("pointerover", (event) => {
    const button = event.target.closest("button.icon");
    if (button) button.title ||= button.textContent.trim();
  });
}
