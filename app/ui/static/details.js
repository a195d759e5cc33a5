// Everything about one network: what it says of itself, its training words, the notes beside it, and its files.

import { baseName } from "./bases.js";
import { copyText } from "./copying.js";
import { ask, element, send } from "./dom.js";
import { cardRoute } from "./library.js";
import { styleForm } from "./styles.js";

const SHOWN_WORDS = 24;
const LONGEST_SHOWN = 2000;
const LONG = 34;
const NOTES = [
  ["activation_text", "activation text", "Activation text", "Added with the tag instead of the trigger words"],
  ["negative_text", "negative text", "Negative text", "Added to the negative prompt"],
  ["description", "description", "Description", ""],
  ["notes", "notes", "Notes", ""],
];
const VERSIONS = ["", "SD1", "SD2", "SDXL", "Unknown"];

/** Opens `dialog` on a card; `onChange` is awaited after something was saved. */
export async function showDetails(dialog, card, onChange, picker) {
  const close = element("button", { type: "button", className: "close", "aria-label": "Close", textContent: "×" });
  close.addEventListener("click", () => dialog.close());
  const body = element("div", { className: "body", textContent: "Reading…" });
  dialog.replaceChildren(element("header", {}, element("h2", { textContent: card.bare }), close), body);
  if (!dialog.open) dialog.showModal();
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  if (card.kind === "style") {
    body.replaceChildren(styleForm(dialog, card, onChange, picker.lastImage));
    return;
  }
  const told = await ask(cardRoute(card, "details"));
  if (!told.ok) {
    body.replaceChildren(element("p", { className: "notice", textContent: told.detail }));
    return;
  }
  body.replaceChildren(
    ...top(card, told),
    ...told.problems.map((problem) => element("p", { className: "notice", textContent: problem.message })),
    ...wordChips("Trigger words", told.trigger_words.map((word) => [word, ""]), picker, told.trigger_source === "training tags" ? written : String),
    ...wordChips("Trained on, and how often", Object.entries(told.tag_frequency ?? {}), picker, written),
    ...randomPrompt(told, picker),
    element("h3", { textContent: "The file" }),
    facts(factsOf(card, told)),
    element("h3", { textContent: "Your notes" }),
    notesForm(card, told, onChange),
    fileTools(dialog, card, onChange, picker),
    metadata(told),
  );
}

function top(card, told) {
  const text = told.description ? [element("p", { className: "description", textContent: told.description })] : [];
  if (!card.picture || card.pictureFailed) return text;
  return [element("div", { className: "top" }, element("img", { src: card.picture, alt: "" }), ...text)];
}

function factsOf(card, told) {
  const known = new Set(["rank", "alpha", "base_model_version"]);
  const training = Object.entries(told.training ?? {}).filter(([key]) => !known.has(key)).map(([key, value]) => [titled(key), String(value)]);
  const counted = (counts) => Object.entries(counts ?? {}).map(([name, count]) => `${name} ×${count}`).join(", ");
  return [
    ["Adds", card.add],
    ["Title", told.title === card.bare ? "" : told.title],
    ["Made for", `${baseName(told.base_model)}: ${told.reason}`],
    ["Algorithm", counted(told.algorithms)],
    ["Rank", counted(told.ranks)],
    ["Alpha", counted(told.alphas)],
    ["Acts on", told.components.join(", ")],
    ["Brings words", (told.embeddings ?? []).join(", ")],
    ["Author", told.author],
    ...training,
    ["Stored as", counted(told.dtypes)],
    ["Size", bytes(told.size)],
    ["Changed", new Date(told.mtime * 1000).toLocaleString()],
    ["AutoV3", told.autov3],
    ["AutoV2", told.autov2],
    ["SHA-256", told.sha256 ?? ""],
    ["File", told.path],
  ].filter(([, value]) => value);
}

/** A list of facts; long ones take the whole width. */
function facts(pairs) {
  const rows = pairs.map(([name, value]) => element("div", { className: value.length > LONG ? "long" : "" },
    element("dt", { textContent: name }), element("dd", { textContent: value })));
  return element("dl", { className: "facts" }, ...rows);
}

const titled = (key) => `${key[0]?.toUpperCase() ?? ""}${key.slice(1).replaceAll("_", " ")}`;

/** A word of captions as a prompt writes it: its brackets are brackets. */
const written = (word) => word.replace(/[()[\]\\]/g, "\\$&");

/** Words with how often they were seen in training; a click puts one into the prompt or takes it out. */
function wordChips(title, words, picker, inPrompt) {
  if (!words.length) return [];
  const chips = words.map(([word, count]) => {
    const chip = element("button", { type: "button", className: "chip", "aria-pressed": String(picker.hasWord(inPrompt(word))) }, word);
    if (count) chip.append(" ", element("small", { textContent: count }));
    chip.addEventListener("click", async () => {
      const isAdded = await picker.toggleWord(inPrompt(word));
      chip.setAttribute("aria-pressed", String(isAdded));
      chip.focus();
    });
    return chip;
  });
  const place = element("div", { className: "chips" }, ...chips.slice(0, SHOWN_WORDS));
  if (chips.length > SHOWN_WORDS) {
    const more = element("button", { type: "button", className: "tool", textContent: `All ${chips.length}` });
    more.addEventListener("click", () => {
      place.replaceChildren(...chips);
      chips[SHOWN_WORDS].focus();
    });
    place.append(more);
  }
  return [element("h3", { textContent: title }), place];
}

/** A prompt drawn from the training's frequencies: each word as often as it stood in the captions. */
function randomPrompt(told, picker) {
  const words = Object.entries(told.tag_frequency ?? {});
  if (words.length < 2) return [];
  const most = words[0][1];
  const made = element("p", { className: "drawn" });
  const draw = element("button", { type: "button", className: "tool", textContent: "Draw a prompt from the training words" });
  const use = element("button", { type: "button", className: "tool", textContent: "Put it in the prompt", hidden: true });
  draw.addEventListener("click", () => {
    made.textContent = words.filter(([, count]) => Math.random() * most < count).slice(0, 40).map(([word]) => written(word)).join(", ");
    use.hidden = false;
  });
  use.addEventListener("click", async () => {
    await picker.toggleWord(made.textContent);
    use.focus();
  });
  return [element("div", { className: "tools" }, draw, use), made];
}

function notesForm(card, told, onChange) {
  const form = element("form", { className: "notes" });
  const fields = NOTES.map(([name, key, label, hint]) => {
    const box = element("textarea", { rows: 2, name, value: told.sidecar?.[key] ?? "", placeholder: hint });
    form.append(element("label", {}, label, box));
    return [name, box];
  });
  const weight = element("input", { type: "number", step: "0.05", min: -10, max: 10, value: told.sidecar?.["preferred weight"] ?? 0 });
  const kept = told.sidecar?.["sd version"] ?? "";
  const version = element("select", {}, ...[...new Set([...VERSIONS, kept])].map((name) => new Option(name || "As its tensors say", name)));
  version.value = kept;
  const applies = element("input", { type: "checkbox", checked: told.auto_apply });
  const save = element("button", { className: "tool", textContent: "Save the notes" });
  const said = element("span", { className: "said", role: "status" });
  form.append(
    element("label", {}, "Preferred strength (0: the default)", weight),
    element("label", {}, "Made for", version),
    element("label", { className: "check" }, applies, "Apply its trigger words by themselves, where the settings do"),
    element("div", { className: "tools" }, save, said),
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const values = Object.fromEntries(fields.map(([name, box]) => [name, box.value]));
    const more = { preferred_weight: Number(weight.value) || 0, base_model: version.value, auto_apply: applies.checked };
    const answer = await send(cardRoute(card, "notes"), { ...values, ...more });
    if (answer.ok) await onChange();
    said.textContent = answer.ok ? "Saved." : answer.detail;
  });
  return form;
}

/** What is done to the files: a preview, another name, hashes, the trash. */
function fileTools(dialog, card, onChange, picker) {
  const said = element("span", { className: "said", role: "status" });
  const tool = (label, act) => {
    const button = element("button", { type: "button", className: "tool", textContent: label });
    button.addEventListener("click", act);
    return button;
  };
  async function act(action, body, done) {
    const answer = await send(cardRoute(card, action), body);
    if (answer.ok) await onChange();
    said.textContent = answer.ok ? done(answer) : answer.detail;
    return answer.ok;
  }
  const preview = tool("Use the image shown as its picture", async () => {
    const [, job, index] = picker.lastImage()?.address?.match(/^\/app\/image\/(\w+)\/(\d+)/) ?? [];
    if (!job) said.textContent = "There is no image yet.";
    else await act("preview", { job, index: Number(index) }, () => "It has a new picture.");
  });
  const rename = tool("Rename…", async () => {
    const name = prompt("The new name, without folder and suffix:", card.bare);
    if (name && name !== card.bare && await act("rename", { name }, (answer) => `It is ${answer.name} now.`)) dialog.close();
  });
  const remove = tool("Delete…", async () => {
    if (!confirm(`Move ${card.name} and what lies beside it to the trash?`)) return;
    if (await act("delete", {}, (answer) => `It lies in ${answer.trash}.`)) dialog.close();
  });
  const hash = tool("Compute its hashes", async () => {
    said.textContent = "Reading the whole file…";
    const answer = await ask(`${cardRoute(card, "details")}?hashed=true`);
    said.textContent = answer.ok ? `SHA-256 ${answer.sha256}, AutoV3 ${answer.autov3}` : answer.detail;
  });
  return element("div", { className: "tools files" }, preview, rename, remove, hash, said);
}

function metadata(told) {
  const pairs = Object.entries(told.metadata ?? {}).map(([key, value]) => [key, value.slice(0, LONGEST_SHOWN)]);
  const more = element("details", {}, element("summary", { textContent: `Metadata (${pairs.length})` }));
  if (!pairs.length) {
    more.append(element("p", { textContent: "This file carries none." }));
    return more;
  }
  const copy = element("button", { type: "button", className: "tool", textContent: "Copy all of it" });
  copy.addEventListener("click", () => copyText(copy, JSON.stringify(told.metadata, null, 1)));
  more.append(element("div", { className: "tools" }, copy), facts(pairs));
  return more;
}

function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(2)} GB`;
}
