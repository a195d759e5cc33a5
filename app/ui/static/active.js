// The networks of the prompt as a list under it: each with its cable's colour, a slider for its strength, and a way out.

import { codePointOffsets, element, setText } from "./dom.js";
import { HUES } from "./highlight.js";
import { changeTo } from "./picking.js";

const NUMBER = /^\s*-?(?:\d+\.?\d*|\.\d+)\s*$/;
const TAG = /<([a-z]+):("(?:[^"]|"")*"|[^:<>\n]*)([^<>\n]*)>/iy;
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
    const out = element("button", { type: "button", "aria-label": `Remove ${network.name} from the prompt`, textContent: "×" });
    const entry = element("li", { className: `hue-${index % HUES}` },
      element("span", { className: "name", title: network.name, textContent: network.name.split("/").at(-1) }), slider, value, out);
    let start = 0;
    let before = null;
    let dragging = false;

    slider.addEventListener("input", () => {
      before ??= box.value;
      dragging = true;
      value.textContent = Number(slider.value).toFixed(2);
      setText(box, withStrength(box.value, start, slider.value));
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
    out.addEventListener("click", () => remove(index));
    return {
      entry,
      follow(now, offsets, explanation) {
        start = offsets[now.span[0]];
        const strength = strengthAt(explanation.text, start);
        const given = strength?.value ?? now.strengths.unet[0];
        entry.classList.toggle("scheduled", strength === null);
        slider.disabled = strength === null;
        value.textContent = strength === null ? "over the steps" : given.toFixed(2);
        if (dragging) return;
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

/** Where the tag at a place says its strength: {value, start, end}, a place to say it, or null for a schedule. */
function strengthAt(text, place) {
  TAG.lastIndex = place;
  const tag = TAG.exec(text);
  if (!tag) return null;
  const nameEnd = place + tag[0].length - 1 - tag[3].length;
  let at = nameEnd;
  for (const part of tag[3].split(":").slice(1)) {
    const [start, end] = [at + 1, at + 1 + part.length];
    at = end;
    if (part.includes("=")) continue;
    return NUMBER.test(part) ? { value: Number(part), start, end } : null;
  }
  return tag[3].includes("=") ? null : { value: undefined, start: nameEnd, end: nameEnd };
}

function withStrength(text, place, value) {
  const found = strengthAt(text, place);
  if (!found) return text;
  const number = String(Number(Number(value).toFixed(2)));
  return text.slice(0, found.start) + (found.start === found.end ? `:${number}` : number) + text.slice(found.end);
}
