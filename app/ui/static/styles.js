// Styles among the cards: saved pieces of prompts, applied with a click, edited in the dialog, shared as a file.

import { ask, element, send } from "./dom.js";
import { changeTo } from "./picking.js";

/** The styles as cards, like those of networks. */
export async function styleCards() {
  const answer = await ask("/app/styles.json");
  return (answer.ok ? answer.styles : []).map((style) => ({
    ...style,
    kind: "style",
    bare: style.name,
    haystack: `${style.name}\n${style.prompt}\n${style.negative}`.toLowerCase(),
    folder: "",
    base: "unknown",
    algorithms: [],
    words: [style.prompt, style.negative].filter(Boolean),
    add: "",
    time: 0,
    size: 0,
    times: 0,
    last: 0,
  }));
}

/** Gives the row of style tools its life; `reload` is awaited when the styles have changed. */
export function styleTools(row, { prompt, negative }, reload, say) {
  const file = row.querySelector("input[type=file]");
  row.querySelector(".keep").addEventListener("click", async () => {
    const name = window.prompt("Save both prompts as the style:");
    if (!name) return;
    const answer = await send("/app/styles", { name, prompt: prompt.value, negative: negative.value });
    if (answer.ok) await reload();
    else say(answer.detail);
  });
  row.querySelector(".import").addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    if (!file.files[0]) return;
    const answer = await ask("/app/styles/import", { method: "POST", body: file.files[0] });
    file.value = "";
    if (answer.ok) await reload();
    else say(answer.detail);
  });
}

/** Calls `seen` with the keys of all cards in use: those of `inUse`, and of the styles that are in the prompts. */
export function watchKeysAndStyles(inUse, { prompt, negative }, seen) {
  let latest = 0;
  inUse.watchKeys(async (keys) => {
    latest += 1;
    const asked = latest;
    const answer = await send("/app/styles/active", { prompt: prompt.value, negative: negative.value });
    if (asked === latest) seen(new Set([...keys, ...(answer.keys ?? [])]));
  });
}

/** Both prompts with a style, or without it where it is in them, as an edit that Ctrl+Z undoes. */
export async function applyStyle(card, { prompt, negative }, say) {
  const answer = await send("/app/styles/toggle", { key: card.key, prompt: prompt.value, negative: negative.value });
  if (!answer.ok) {
    say(answer.detail);
    return;
  }
  changeTo(negative, answer.negative);
  changeTo(prompt, answer.prompt);
}

/** A form for one style; `lastImage()` gives the image that can become its picture. */
export function styleForm(dialog, card, onChange, lastImage) {
  const form = element("form", { className: "notes" });
  const fields = [["prompt", "Prompt; {prompt} is where the prompt it is applied to goes"], ["negative", "Negative prompt"]].map(([name, label]) => {
    const box = element("textarea", { rows: 3, name, value: card[name] });
    form.append(element("label", {}, label, box));
    return [name, box];
  });
  const save = element("button", { className: "tool", textContent: "Save the style" });
  const remove = element("button", { type: "button", className: "tool", textContent: "Delete…" });
  const said = element("span", { className: "said", role: "status" });
  const depict = element("button", { type: "button", className: "tool", textContent: "Use the image shown as its picture" });
  form.append(element("div", { className: "tools" }, save, depict, remove, said));
  depict.addEventListener("click", async () => {
    const [, job, index] = lastImage()?.address?.match(/^\/app\/image\/(\w+)\/(\d+)/) ?? [];
    if (!job) {
      said.textContent = "There is no image yet.";
      return;
    }
    const answer = await send(`/app/networks/style/preview/${card.key}`, { job, index: Number(index) });
    if (answer.ok) await onChange();
    said.textContent = answer.ok ? "It has a new picture." : answer.detail;
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const answer = await send("/app/styles", { name: card.name, ...Object.fromEntries(fields.map(([name, box]) => [name, box.value])) });
    if (answer.ok) await onChange();
    said.textContent = answer.ok ? "Saved." : answer.detail;
  });
  remove.addEventListener("click", async () => {
    if (!window.confirm(`Delete the style ${card.name}?`)) return;
    const answer = await send("/app/styles/delete", { key: card.key });
    if (answer.ok) await onChange();
    if (answer.ok) dialog.close();
    else said.textContent = answer.detail;
  });
  return form;
}
