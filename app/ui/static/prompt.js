// A prompt's text box: its name, weight keys, and images dropped on it.

import { completeIn } from "./completion.js";
import { replaceText } from "./dom.js";
import { restoreFile } from "./form.js";
import { stepWeight } from "./weights.js";

/** Teaches a prompt's text box its keys. */
export function enhancePrompt(box, label) {
  const attributes = { "aria-label": label, spellcheck: "false", autocapitalize: "off", autocomplete: "off" };
  for (const [name, value] of Object.entries(attributes)) box.setAttribute(name, value);
  box.addEventListener("keydown", (event) => {
    const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!direction || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    const edit = stepWeight(box.value, box.selectionStart, box.selectionEnd, direction);
    if (!edit) return;
    replaceText(box, edit.start, edit.end, edit.text);
    box.setSelectionRange(...edit.selection);
  });
  completeIn(box, label);
  acceptFiles(box.closest(".block"), restoreFile);
}

/** Hands an image file dropped on `target` to `take`; dropped text stays what it was. */
export function acceptFiles(target, take) {
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  const mark = (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    target.classList.add("dropping");
  };
  target.addEventListener("dragenter", mark);
  target.addEventListener("dragover", mark);
  target.addEventListener("dragleave", () => target.classList.remove("dropping"));
  target.addEventListener("drop", (event) => {
    target.classList.remove("dropping");
    if (!carriesFile(event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  }, true);
}
