// The form's values: sent to be generated, kept across reloads, filled from images. Gradio calls these by name.

import { ask, send } from "./dom.js";

const KEY = "patchbay.form";
const VERSION = 1;
const BLOCK = 64;
/** Milliseconds within which two tellings are of one choice. */
const ONE_CHOICE = 500;

let pending = null;
let latest = {};
/** The usual size of the checkpoint in the form, as a promise. */
let sizeOf = null;
let adopting = null;
let lastResult = () => null;
let say = () => {};

/** Where errors are said, and where the last result is found. */
export function connectForm(notice, result) {
  say = notice;
  lastResult = result;
}

/** Settled when the form holds what it held before a reload. */
export const whenRecalled = { done: false };
whenRecalled.promise = new Promise((resolve) => {
  whenRecalled.resolve = () => {
    whenRecalled.done = true;
    resolve();
  };
});

const paired = (names, values) => Object.fromEntries(names.map((name, index) => [name, values[index]]));
const filled = (names, values, fields) => names.map((name, index) => fields[name] ?? values[index]);

/** Ask for images with the values of the form. */
export async function generate(values, names) {
  say("");
  const answer = await send("/app/generate", paired(names, values));
  if (!answer.ok) say(answer.detail);
}

/** Keep the form in this browser. */
export function remember(values, names) {
  if (!whenRecalled.done) return;
  latest = paired(names, values);
  noteHires();
  try {
    localStorage.setItem(KEY, JSON.stringify({ version: VERSION, fields: latest }));
  } catch { /* no room, or private browsing: the form is simply not kept */ }
}

/** The form as it was left. Nothing is waited for here: what comes back replaces what stands in the form. */
export function recall(values, names) {
  let kept = {};
  try {
    const stored = JSON.parse(localStorage.getItem(KEY));
    if (stored?.version === VERSION) kept = stored.fields;
  } catch { /* unreadable: begin anew */ }
  whenRecalled.resolve();
  const recalled = filled(names, values, kept);
  latest = paired(names, recalled);
  sizeOf = sized(latest.checkpoint);
  noteHires();
  return recalled;
}

/** A second pass is told on its closed drawer too: it takes longer than the first. The page's own root carries the
 *  words, since Gradio may put the drawer there later than this, or anew. */
function noteHires() {
  const { hires_scale: scale, width, height } = latest;
  const note = scale > 1 ? `×${scale}: ${Math.round(width * scale)} × ${Math.round(height * scale)}` : "off";
  document.documentElement.style.setProperty("--hires-note", JSON.stringify(note));
}

/** The fields of the form by name, as they are now. */
export const formNow = () => ({ ...latest });

/** The values that a dropped image or its text gave; a checkpoint alone brings its size. */
export async function takeRestored(values, names) {
  const fields = pending ?? {};
  pending = null;
  if (!fields.checkpoint) return filled(names, values, fields);
  const now = paired(names, values);
  const [width, height] = await adoptSize([fields.checkpoint, now.width, now.height]);
  return filled(names, values, { width, height, ...fields });
}

/** The size of the checkpoint that was chosen, where the form has the size of the one before; else its own. */
export function adoptSize([checkpoint, width, height]) {
  // Gradio tells of one choice twice; both times the answer is the first one's.
  if (adopting?.checkpoint === checkpoint) return adopting.size;
  const mine = { checkpoint, size: sizeAfter(checkpoint, width, height) };
  adopting = mine;
  mine.size.finally(() => setTimeout(() => { if (adopting === mine) adopting = null; }, ONE_CHOICE));
  return mine.size;
}

async function sizeAfter(checkpoint, width, height) {
  const before = sizeOf;
  sizeOf = sized(checkpoint);
  const [old, fresh] = await Promise.all([before, sizeOf]);
  const isUsual = old && fresh.ok && old.width === width && old.height === height;
  return isUsual ? [fresh.width, fresh.height] : [width, height];
}

const sized = (checkpoint) => ask(`/app/size.json?checkpoint=${encodeURIComponent(checkpoint ?? "")}`);

/** Fill the form with fields by name. */
export function fillForm(fields) {
  pending = fields;
  document.querySelector("#bridge .bridge").dispatchEvent(new CustomEvent("patchbay", { bubbles: true }));
}

/** The settings of an infotext in the prompt box, else of the last image. */
export async function restoreLast(values, names) {
  const typed = String(paired(names, values).prompt ?? "");
  const text = /\bSteps: \d/.test(typed) ? typed : lastResult()?.infotext;
  if (!text) {
    say("There is no image to restore from yet.");
    return values;
  }
  const answer = await send("/app/infotext", { text });
  if (!answer.ok) {
    say(answer.detail);
    return values;
  }
  return filled(names, values, answer.fields);
}

/** Read an image file's settings and fill the form with them. */
export async function restoreFile(file) {
  say("");
  const answer = await ask("/app/pnginfo", { method: "POST", body: file });
  if (!answer.ok) say(answer.detail);
  else if (!answer.infotext) say(`${file.name} carries no parameters.`);
  else fillForm(answer.fields);
}

/** The lists of models as they are now, keeping what is chosen where it is still there. */
export async function refreshModels(values) {
  const models = await ask("/app/models.json");
  if (!models.ok) {
    say(models.detail);
    return values;
  }
  const lists = [models.checkpoint, ["Automatic", ...models.vae]];
  return lists.map((names, index) => ({
    choices: names.map((name) => [name, name]),
    value: names.includes(values[index]) ? values[index] : names[0] ?? null,
    __type__: "update",
  }));
}

/** The seed of the image that is shown, else the one in the form. */
export function lastSeed([seed]) {
  return lastResult()?.seed ?? seed;
}

/** A size of the shape "3:2" with about the area of the present one, in whole blocks. */
export function reshape([width, height], shape) {
  const [across, down] = shape.split(":").map(Number);
  const block = width * height >= 256 * 256 ? BLOCK : 8;
  const area = width * height;
  const fit = (length) => Math.max(BLOCK, Math.round(length / block) * block);
  return [fit(Math.sqrt((area * across) / down)), fit(Math.sqrt((area * down) / across))];
}
