// The networks of the prompts as a list under them: sliders and curves for their strengths, an eye, and a way out.
// The text is the truth: each change is an edit of it that the server makes, and the list follows what the text says.

import { element, send, setText } from "./dom.js";
import { curveEditor } from "./curves.js";
import { HUES } from "./highlight.js";
import { matchMark, misfits, showProblem } from "./matches.js";
import { changeTo } from "./picking.js";

const STEP = 0.05;
const ASK_AGAIN = [300, 600, 1000, 2000];
const CHECKPOINT = "#checkpoint input";
const PARTS = [["te", "Text encoder"], ["unet", "UNet"], ["in", "Down blocks"], ["mid", "Middle"], ["out", "Up blocks"]];

/** What both boxes use, asked for with every explanation; `watch(seen)` is called with {active, words, texts}. */
export function networksInUse(prompt, negative, explanation) {
  const watchers = [];
  let told = null;
  let asked = "";
  let tries = 0;

  /** Ask; again a little later while the server is still finding out what fits. */
  async function ask(again = false) {
    const checkpoint = document.querySelector(CHECKPOINT)?.value ?? "";
    const question = { prompt: prompt.value, negative: negative.value, checkpoint };
    const key = JSON.stringify(question);
    if (again || key !== asked || !told) {
      if (key !== asked) tries = 0;
      asked = key;
      const answer = await send("/app/prompt/active", question);
      if (asked !== key) return;
      if (!answer.ok) {
        asked = "";  // the next explanation asks again
        return;
      }
      told = { ...answer, texts: { prompt: question.prompt, negative: question.negative } };
      if (answer.active.some(isAwaited)) setTimeout(() => asked === key && ask(true), ASK_AGAIN[Math.min(tries++, ASK_AGAIN.length - 1)]);
    }
    for (const [box, text] of Object.entries(told.texts)) explanation.showMisfits(box, text, misfits(told.active.filter((tag) => tag.box === box)));
    for (const watcher of watchers) watcher(told);
  }
  explanation.watch(() => ask());
  return {
    watch(seen) {
      watchers.push(seen);
      if (told) seen(told);
    },
    /** The keys of the cards that are in use, whose next click takes them away. */
    watchKeys(seen) {
      this.watch(({ active, words }) => seen(new Set([...active.filter((tag) => tag.key && tag.box === "prompt").map((tag) => tag.key), ...words])));
    },
  };
}

const isAwaited = ({ match }) => match && !match.known && !match.reason;

/** Draws into `list` what the prompts use; `picker` knows their boxes and takes networks away, `say` tells what went wrong. */
export function activeNetworks(list, picker, say) {
  let rows = [];
  let names = "";

  return {
    show({ active: tags, texts }) {
      const active = tags.map((tag) => ({ ...tag, seen: texts[tag.box] }));
      const now = active.map((tag) => `${tag.box}:${tag.kind}:${tag.name}`).join("\n");
      if (now !== names) {
        names = now;
        const open = new Set(rows.filter((row) => row.isOpen()).map((row) => row.name));
        rows = active.map((tag) => activeRow(tag, { picker, say, isOpen: open.has(tag.name), name: shortName(tag, active) }));
        list.replaceChildren(...rows.map((row) => row.entry));
      }
      let hue = 0;
      const hasCurve = (tag) => tag.box === "prompt" && !tag.off && tag.strengths.all;
      active.forEach((tag, index) => rows[index].follow(tag, hasCurve(tag) ? hue++ % HUES : 0));
    },
  };
}

/** The name without its folders; with the nearest of them, where another network is called the same. */
function shortName({ name }, active) {
  const last = (path, count) => path.split("/").slice(-count).join("/");
  return last(name, active.some((other) => other.name !== name && last(other.name, 1) === last(name, 1)) ? 2 : 1);
}

function activeRow(tag, { picker, say, isOpen, name }) {
  const box = picker.boxes[tag.box];
  const isNegative = tag.box === "negative";
  const called = isNegative ? `${name} in the negative prompt` : name;
  const side = element("span", { className: "side", title: "Acts on the negative prompt's pass alone", textContent: "neg.", hidden: !isNegative });
  const eye = element("button", { type: "button", className: "eye" });
  const problem = element("span", { className: "problem", hidden: true });
  const match = matchMark();
  const out = element("button", { type: "button", className: "out", "aria-label": `Remove ${name} from the ${isNegative ? "negative prompt" : "prompt"}`, textContent: "×" });
  const more = element("button", { type: "button", className: "more", "aria-label": `More strengths of ${called}`, textContent: "⋯" });
  const context = { tag: () => now, box, say };
  const all = strengthControl("all", `Strength of ${called}`, context);
  const parts = PARTS.map(([key, label]) => [key, strengthControl(key, `${label} strength of ${called}`, context, label)]);
  const panel = element("div", { className: "parts", hidden: !isOpen }, all.curve, ...parts.map(([, part]) => part.whole), match.more);
  const line = element("div", { className: "line" },
    eye, element("span", { className: "name", title: tag.file ?? tag.name, textContent: name }), side, match.mark, all.line, more, out);
  const entry = element("li", {}, line, problem, panel);
  let now = tag;

  function openPanel(open) {
    panel.hidden = !open;
    more.setAttribute("aria-expanded", String(open));
  }
  openPanel(isOpen);
  more.addEventListener("click", () => openPanel(panel.hidden));
  eye.addEventListener("click", async () => {
    await picker.edit(now, { change: "switch" });
    eye.focus();
  });
  out.addEventListener("click", () => picker.remove(now));

  return {
    name: tag.name,
    entry,
    isOpen: () => !panel.hidden,
    follow(told, hue) {
      now = told;
      entry.className = `hue-${hue}${told.off ? " off" : ""}${isNegative ? " negative" : ""}`;
      eye.setAttribute("aria-pressed", String(!told.off));
      eye.setAttribute("aria-label", `Use ${called}`);
      eye.title = told.off ? "Switched off. Click to use it again." : "In use. Click to switch it off and keep it.";
      match.follow(told);
      showProblem(problem, told, (near) => picker.edit(now, { change: "name", value: near }));
      all.follow(told.strengths.all, told.reach);
      for (const [key, part] of parts) part.follow(told.strengths[key], told.reach);
    },
  };
}

/** One strength: a slider and its number in a line, and the curve it can become. */
function strengthControl(key, label, context, title = "") {
  const slider = element("input", { type: "range", step: STEP, "aria-label": label });
  const number = element("input", { type: "number", step: STEP, min: -10, max: 10, "aria-label": `${label}, as a number` });
  const scheduled = element("span", { className: "scheduled", textContent: "over the steps", hidden: true });
  const bend = element("button", { type: "button", className: "bend", "aria-label": `${label}: over the steps`, title: "Over the steps", textContent: "⌇" });
  const unset = element("button", { type: "button", className: "unset", "aria-label": `${label}: as the others`, title: "Follow the main strength", textContent: "↺", hidden: true });
  const line = element("span", { className: "strength" }, ...(title ? [element("span", { className: "title", textContent: title })] : []), slider, number, scheduled, bend, unset);
  const edit = liveEdit(key, context);
  const editor = curveEditor(label, (text, isDone) => (isDone ? edit.finish(text) : edit.move(text)));
  const curve = element("div", { className: "bent", hidden: true }, editor.element);
  let points = [];

  for (const input of [slider, number]) {
    input.addEventListener("input", () => {
      if (input.value === "") return;
      (input === slider ? number : slider).value = input.value;
      edit.move(plain(input.value));
    });
    input.addEventListener("change", () => input.value !== "" && edit.finish(plain(input.value), input));
  }
  bend.addEventListener("click", () => {
    const level = points[0]?.value ?? 1;
    const isCurve = points.length > 0 && points[0].at !== null && !curve.hidden;
    edit.finish(isCurve ? plain(level) : `${plain(level)}@0%~${plain(level)}@100%`, bend);
  });
  unset.addEventListener("click", () => edit.clear());

  return {
    line,
    curve,
    whole: element("div", { className: "part" }, ...(title ? [line, curve] : [])),
    follow(strength, reach) {
      if (edit.isBusy()) return;
      const isKnown = Boolean(strength);
      points = strength?.points ?? [];
      const isCurve = isKnown && points[0].at !== null;
      slider.hidden = number.hidden = isCurve;
      slider.disabled = number.disabled = bend.disabled = !isKnown;
      const isOwn = key === "all" || Boolean(strength?.typed);
      scheduled.hidden = !isCurve;
      scheduled.textContent = isOwn ? "over the steps" : "as the strength it follows";
      curve.hidden = !isCurve || !isOwn;
      bend.setAttribute("aria-pressed", String(isCurve && isOwn));
      unset.hidden = key === "all" || !strength?.typed;
      line.classList.toggle("follows", !isOwn);
      if (isCurve) editor.show(points, reach);
      else if (isKnown && document.activeElement !== number) show(points[0].value, reach);
    },
  };

  function show(value, reach) {
    const ends = Math.max(reach, Math.ceil(Math.abs(value)));
    Object.assign(slider, { min: -ends, max: ends });
    slider.value = value;
    number.value = Number(value.toFixed(4));
  }
}

const plain = (value) => String(Number(Number(value).toFixed(3)));

/** Edits of one strength: while it moves the text moves along; once let go, the whole move is one edit that Ctrl+Z undoes. */
function liveEdit(key, { tag, box, say }) {
  let before = null;
  let meant = null;
  let written = null;
  let wanted = null;
  let running = null;

  /** Begin from the text that stands in the box. */
  function begin() {
    before = written = box.value;
    meant = tag();
  }
  async function write() {
    while (wanted !== null) {
      const value = wanted;
      wanted = null;
      const change = value === "" ? { change: "clear" } : { change: "set", value };
      const answer = await send("/app/prompt/edit", { prompt: before, seen: meant.seen, tag: meant.index, key, ...change });
      if (!answer.ok) say(answer.detail);
      else if (box.value !== written) {
        // Typed in, or changed by another click: what it moves to is written into that.
        begin();
        wanted ??= value;
      } else if (wanted === null) {
        written = answer.prompt;
        setText(box, written);
      }
    }
    running = null;
  }
  function move(value) {
    if (before === null) begin();
    wanted = value;
    running ??= write();
    return running;
  }
  async function finish(value, focused) {
    await move(value);
    const after = box.value;
    const start = before;
    before = null;
    if (start === null || start === after) return;
    const back = focused ?? document.activeElement;
    setText(box, start);
    changeTo(box, after);
    back?.focus?.();
  }
  return { move, finish, clear: () => finish(""), isBusy: () => before !== null };
}
