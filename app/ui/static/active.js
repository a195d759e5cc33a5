// The networks of the prompt as a list under it: each with its cable's colour, a slider for its strength, and a way out.

import { codePointOffsets, element, setText } from "./dom.js";
import { HUES } from "./highlight.js";
import { changeTo } from "./picking.js";
import { keyframes, tagAt } from "./schedule.js";

const NUMBER = /^\s*-?(?:\d+\.?\d*|\.\d+)\s*$/;
const USUAL = { low: -1, high: 2, step: 0.05 };

/** Draws into `list` for the text in `box`; `remove(index)` takes the one at a place away. */
export function activeNetworks(list, box, remove) {
  let rows = [];

  function show(explanation) {
    const offsets = codePointOffsets(explanation.text);
    const names = explanation.networks.map((network) => network.name).join("\n");
    if (names !== list.dataset.names) {
      list.dataset.names = names;
      rows = explanation.networks.map((network, index) => activeRow(network, index));
      list.replaceChildren(...rows.map((row) => row.entry));
    }
    explanation.networks.forEach((network, index) => rows[index].follow(network, offsets, explanation));
  }

  function activeRow(network, index) {
    const slider = element("input", { type: "range", ...bounds(1), "aria-label": `Strength of ${network.name}` });
    const value = element("output", {});
    const curve = element("button", { type: "button", className: "over" });
    const out = element("button", { type: "button", "aria-label": `Remove ${network.name} from the prompt`, textContent: "×" });
    const entry = element("li", { className: `hue-${index % HUES}` },
      element("span", { className: "name", title: network.name, textContent: network.name.split("/").at(-1) }), slider, value, curve, out);
    let start = 0;
    let before = null;
    let dragging = false;

    slider.addEventListener("input", () => {
      before ??= box.value;
      dragging = true;
      value.textContent = Number(slider.value).toFixed(2);
      setText(box, withStrength(box.value, start, short(slider.value)));
    });
    // Once it is let go, the whole move becomes one edit that Ctrl+Z undoes.
    slider.addEventListener("change", () => {
      const after = box.value;
      if (before !== null && before !== after) {
        setText(box, before);
        changeTo(box, after);
        slider.focus();
      }
      before = null;
      dragging = false;
    });
    // One number over the whole run, or keyframes on the plot above to drag.
    curve.addEventListener("click", () => {
      const found = strengthAt(box.value, start);
      const frames = found?.isScheduled ? keyframes(box.value.slice(found.start, found.end)) : null;
      const value = Number.isFinite(found?.value) ? found.value : 1;
      changeTo(box, withStrength(box.value, start, frames ? short(frames.at(-1).value) : `0@0~${short(value || 1)}@1`));
    });
    out.addEventListener("click", () => remove(index));
    return {
      entry,
      follow(now, offsets, explanation) {
        start = offsets[now.span[0]];
        const strength = strengthAt(explanation.text, start);
        const isScheduled = strength?.isScheduled ?? true;
        const given = strength?.value ?? now.strengths.unet[0];
        const isKeyed = Boolean(strength && strength.start < strength.end && isScheduled);
        entry.classList.toggle("scheduled", isScheduled);
        const named = tagAt(explanation.text, start)?.arguments.map((argument) => argument.key).filter(Boolean) ?? [];
        value.textContent = isKeyed ? "scheduled" : isScheduled ? named.join(", ") : given.toFixed(2);
        curve.hidden = isScheduled && !isKeyed;
        curve.setAttribute("aria-label", `${isKeyed ? "One strength" : "A strength over the steps"} for ${now.name}`);
        curve.setAttribute("aria-pressed", String(isKeyed));
        if (dragging || isScheduled) return;
        Object.assign(slider, bounds(given));
        slider.value = given;
      },
    };
  }
  return { show };
}

/** The slider's ends hold the value it shows, however large. */
function bounds(value) {
  return { min: Math.min(USUAL.low, Math.floor(value)), max: Math.max(USUAL.high, Math.ceil(value)), step: USUAL.step };
}

/** Where the tag at a place says its strength: {value, start, end, isScheduled}, or a place to say it. */
function strengthAt(text, place) {
  const tag = tagAt(text, place);
  if (!tag) return null;
  const first = tag.arguments.find((argument) => !argument.key);
  if (first) return { value: Number(first.body), start: first.start, end: first.end, isScheduled: !NUMBER.test(first.body) };
  if (tag.arguments.length) return { value: undefined, start: tag.nameEnd, end: tag.nameEnd, isScheduled: true };
  return { value: undefined, start: tag.nameEnd, end: tag.nameEnd, isScheduled: false };
}

function withStrength(text, place, written) {
  const found = strengthAt(text, place);
  if (!found) return text;
  return text.slice(0, found.start) + (found.start === found.end ? `:${written}` : written) + text.slice(found.end);
}

const short = (value) => String(Number(Number(value).toFixed(2)));
