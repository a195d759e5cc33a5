// Everything about one network: what it says of itself, its training words, the notes beside it.

import { ask, element, send } from "./dom.js";

const SHOWN_WORDS = 60;
const NOTES = [
  ["activation_text", "activation text", "Activation text", "Added with the tag instead of the trigger words"],
  ["negative_text", "negative text", "Negative text", "Added to the negative prompt"],
  ["description", "description", "Description", ""],
  ["notes", "notes", "Notes", ""],
];

/** Opens `dialog` on a card; `onChange` is awaited after something was saved. */
export async function showDetails(dialog, card, onChange) {
  const close = element("button", { type: "button", className: "close", "aria-label": "Close", textContent: "×" });
  close.addEventListener("click", () => dialog.close());
  const body = element("div", { className: "body", textContent: "Reading…" });
  dialog.replaceChildren(element("header", {}, element("h2", { textContent: card.bare }), close), body);
  dialog.showModal();
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  if (card.kind !== "lora") {
    body.replaceChildren(facts([["Word", card.add], ["Base model", card.base], ["Size", bytes(card.size)]]));
    return;
  }
  const told = await ask(`/app/networks/details.json?name=${encodeURIComponent(card.name)}`);
  if (!told.ok) {
    body.replaceChildren(element("p", { className: "notice", textContent: told.detail }));
    return;
  }
  body.replaceChildren(
    facts(factsOf(told)),
    ...told.problems.map((problem) => element("p", { className: "notice", textContent: problem.message })),
    ...trainedWords(told),
    notesForm(card, told, onChange),
    metadata(told),
  );
}

function factsOf(told) {
  const training = Object.entries(told.training ?? {}).map(([key, value]) => [key.replaceAll("_", " "), String(value)]);
  return [
    ["Tag", `<lora:${told.name}>`],
    ["Base model", `${told.base_model} — ${told.reason}`],
    ["Algorithm", Object.entries(told.algorithms).map(([name, count]) => `${name} ×${count}`).join(", ")],
    ["Rank", Object.keys(told.ranks ?? {}).join(", ")],
    ["Alpha", Object.keys(told.alphas ?? {}).join(", ")],
    ["Acts on", told.components.join(", ")],
    ["Trigger words", told.trigger_words.join(", ")],
    ["Author", told.author],
    ...training,
    ["Size", bytes(told.size)],
    ["Hash", told.autov3 || told.autov2],
    ["File", told.path],
  ].filter(([, value]) => value);
}

function facts(pairs) {
  const rows = pairs.flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]);
  return element("dl", { className: "facts" }, ...rows);
}

/** The words it was trained on, with how often; none where it does not say. */
function trainedWords(told) {
  const words = Object.entries(told.tag_frequency ?? {}).slice(0, SHOWN_WORDS);
  if (!words.length) return [];
  const chips = words.map(([word, count]) => element("span", { className: "chip" }, word, " ", element("small", { textContent: count })));
  return [element("h3", { textContent: "Trained on" }), element("div", { className: "chips" }, ...chips)];
}

function notesForm(card, told, onChange) {
  const form = element("form", { className: "notes" });
  const fields = NOTES.map(([name, key, label, hint]) => {
    const box = element("textarea", { rows: 2, name, value: told.sidecar?.[key] ?? "", placeholder: hint });
    form.append(element("label", {}, label, box));
    return [name, box];
  });
  const weight = element("input", { type: "number", step: "0.05", min: -10, max: 10, value: told.sidecar?.["preferred weight"] ?? 0 });
  const save = element("button", { className: "tool", textContent: "Save the notes" });
  const said = element("span", { className: "said", role: "status" });
  form.append(element("label", {}, "Preferred strength (0: the default)", weight), element("div", { className: "tools" }, save, said));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.map(([name, box]) => [name, box.value]));
    const answer = await send("/app/networks/notes", { name: card.name, preferred_weight: Number(weight.value) || 0, ...values });
    if (answer.ok) await onChange();
    said.textContent = answer.ok ? "Saved." : answer.detail;
  });
  return form;
}

function metadata(told) {
  const pairs = Object.entries(told.metadata ?? {}).map(([key, value]) => [key, value.slice(0, 2000)]);
  const more = element("details", {}, element("summary", { textContent: `Metadata (${pairs.length})` }));
  more.append(pairs.length ? facts(pairs) : element("p", { textContent: "This file carries none." }));
  return more;
}

function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(2)} GB`;
}
