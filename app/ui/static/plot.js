// The strength of every network over the steps, as a small drawing; steps count from 1.

import { drawn, element } from "./dom.js";
import { HUES } from "./highlight.js";

const SIZE = { height: 104, left: 30, right: 8, top: 8, bottom: 16 };
const DASHES = ["", "7 3", "2 3", "7 3 2 3", "1 4", "10 2"];
const HINT = "Drag a point. Double-click a curve to add one, a point to remove it.";
const WHOLE = ["te", "unet", "vae"];

/** The drawing of an explanation in a width, and its legend; null when nothing changes over the steps. */
export function strengthPlot(explanation, width) {
  const curves = explanation.networks.flatMap((network, index) => networkCurves(network, index % HUES));
  if (!curves.length) return null;
  const scale = scales(curves, explanation.steps, width);
  const entries = curves.map((curve) => legendEntry(`curve hue-${curve.hue}`, curve.dash, curve.name, curve.components));
  if (explanation.prompt.length > 1) entries.push(legendEntry("stage", "3 3", "prompt", "text changes"));
  const legend = element("ul", { className: "legend", title: HINT }, ...entries);
  return { drawing: draw(curves, scale, explanation), legend, scale };
}

/** The curves of one network that change: components with the same values are one curve. */
function networkCurves(network, hue) {
  const byValues = new Map();
  for (const [component, values] of Object.entries(network.strengths)) {
    if (new Set(values).size < 2) continue;
    const key = values.join();
    const curve = byValues.get(key) ?? { values, components: [] };
    curve.components.push(component);
    byValues.set(key, curve);
  }
  return [...byValues.values()].map((curve, index) => ({
    values: curve.values,
    hue,
    dash: DASHES[index % DASHES.length],
    name: network.name,
    components: named(curve.components),
  }));
}

/** The shortest true name of some components: blocks that follow the denoiser are not named beside it. */
function named(components) {
  const has = new Set(components);
  if (WHOLE.every((component) => has.has(component))) return "all";
  const blocks = ["in", "mid", "out"];
  const shown = components.filter((component) => !(has.has("unet") && blocks.includes(component)));
  return shown.join(" ");
}

function scales(curves, steps, width) {
  const values = curves.flatMap((curve) => curve.values).filter(Number.isFinite);
  const low = Math.min(0, ...values);
  const high = Math.max(1, ...values);
  const inner = { width: width - SIZE.left - SIZE.right, height: SIZE.height - SIZE.top - SIZE.bottom };
  return {
    width,
    low,
    high,
    x: (step) => SIZE.left + (inner.width * (step - 1)) / steps,
    y: (value) => SIZE.top + (inner.height * (high - value)) / (high - low),
  };
}

function draw(curves, scale, explanation) {
  const { steps } = explanation;
  const label = `Strengths over ${steps} steps: ${curves.map((curve) => `${curve.name} ${curve.components}`).join("; ")}`;
  return drawn("svg", { viewBox: `0 0 ${scale.width} ${SIZE.height}`, role: "img", "aria-label": label },
    ...gridLines(scale, steps),
    ...stageLines(explanation.prompt, scale),
    ...curves.map((curve) => drawn("path", { d: stairs(curve.values, scale), class: `curve hue-${curve.hue}`, "stroke-dasharray": curve.dash })),
    drawn("line", { class: "playhead", y1: SIZE.top, y2: SIZE.height - SIZE.bottom, x1: -9, x2: -9 }),
  );
}

/** A strength holds for the whole of its step, so a curve is a staircase. */
export function stairs(values, scale) {
  let path = `M${scale.x(1)} ${scale.y(values[0])}`;
  values.forEach((value, index) => {
    path += `V${scale.y(value).toFixed(1)}H${scale.x(index + 2).toFixed(1)}`;
  });
  return path;
}

function gridLines(scale, steps) {
  const levels = [...new Set([scale.low, 0, 1, scale.high])];
  const right = scale.x(steps + 1);
  const middles = [...new Set([1, Math.ceil(steps / 2), steps])];
  return [
    ...levels.flatMap((level) => [
      drawn("line", { class: level ? "grid" : "grid zero", x1: SIZE.left, x2: right, y1: scale.y(level), y2: scale.y(level) }),
      text(SIZE.left - 4, scale.y(level) + 3, Number(level.toFixed(2)), "end"),
    ]),
    ...middles.map((step) => text((scale.x(step) + scale.x(step + 1)) / 2, SIZE.height - 4, step, "middle")),
  ];
}

/** A thin line where the prompt's text itself changes. */
function stageLines(stages, scale) {
  return stages.slice(1).map((stage) => drawn("line", {
    class: "stage", x1: scale.x(stage.from), x2: scale.x(stage.from), y1: SIZE.top, y2: SIZE.height - SIZE.bottom,
  }));
}

function text(x, y, content, anchor) {
  const made = drawn("text", { x, y, "text-anchor": anchor });
  made.textContent = content;
  return made;
}

function legendEntry(className, dash, name, detail) {
  const line = drawn("path", { d: "M1 4H21", class: className, "stroke-dasharray": dash });
  const sample = drawn("svg", { viewBox: "0 0 22 8", "aria-hidden": "true" }, line);
  return element("li", {}, sample, element("span", { textContent: name }), element("small", { textContent: detail }));
}
