// Keyframes on the plot, to drag: a schedule drawn with the mouse is a schedule written in the prompt.

import { codePointOffsets, drawn } from "./dom.js";
import { HUES } from "./highlight.js";
import { changeTo } from "./picking.js";
import { stairs } from "./plot.js";
import { frameStep, keyframes, movedTo, strengths, tagAt, written } from "./schedule.js";

const VALUE_STEP = 0.05;
const RADIUS = 5;

/** Puts the keyframes of every schedule on a drawing. `hold(isHeld)` stops it from being drawn anew meanwhile. */
export function editableCurves(drawing, scale, explanation, box, hold) {
  const offsets = codePointOffsets(explanation.text);
  explanation.networks.forEach((network, index) => {
    const place = offsets[network.span[0]];
    tagAt(explanation.text, place)?.arguments.forEach((argument, number) => {
      const frames = keyframes(argument.body);
      if (frames) addFrames({ drawing, scale, explanation, box, hold, network, place, number, frames, hue: index % HUES });
    });
  });
}

function addFrames(curve) {
  const line = drawn("path", { class: "hit", d: stairs(strengths(curve.frames, curve.explanation.steps), curve.scale) });
  line.addEventListener("dblclick", (event) => write(curve, withFrame(fresh(curve), event)));
  curve.drawing.append(line);
  curve.frames.forEach((frame, index) => {
    const dot = drawn("circle", { r: RADIUS, class: `frame-dot hue-${curve.hue}`, tabindex: 0, role: "slider" });
    placeDot(dot, curve, frame);
    dot.dataset.frame = `${curve.place}:${curve.number}:${index}`;
    dot.addEventListener("pointerdown", (event) => drag(event, dot, fresh(curve), index));
    dot.addEventListener("dblclick", () => write(curve, without(fresh(curve).frames, index)));
    dot.addEventListener("keydown", (event) => onKey(event, dot, fresh(curve), index));
    curve.drawing.append(dot);
  });
}

/** The curve as the text says it now: the drawing may be a moment behind. */
function fresh(curve) {
  const argument = tagAt(curve.box.value, curve.place)?.arguments[curve.number];
  const frames = argument ? keyframes(argument.body) : null;
  return frames?.length === curve.frames.length ? { ...curve, frames } : curve;
}

function placeDot(dot, curve, frame) {
  const { steps } = curve.explanation;
  const step = frameStep(frame, curve.frames, steps);
  const middle = (curve.scale.x(step) + curve.scale.x(step + 1)) / 2;
  const label = `${curve.network.name}: strength ${Number(frame.value.toFixed(2))} at step ${Math.round(step)}`;
  const attributes = { cx: middle, cy: curve.scale.y(frame.value), "aria-label": label, "aria-valuenow": frame.value, "aria-valuetext": label };
  for (const [name, value] of Object.entries(attributes)) dot.setAttribute(name, value);
}

/** Where the pointer is: a whole step, and a strength in steps of 0.05. */
function pointed(event, curve) {
  const edge = curve.drawing.getBoundingClientRect();
  const width = curve.scale.x(2) - curve.scale.x(1);
  const step = Math.round((event.clientX - edge.left - curve.scale.x(1)) / width + 0.5);
  const height = curve.scale.y(0) - curve.scale.y(1);
  const value = (curve.scale.y(0) - (event.clientY - edge.top)) / height;
  return { step: Math.min(curve.explanation.steps, Math.max(1, step)), value: Math.round(value / VALUE_STEP) * VALUE_STEP };
}

/** The keyframes with one more, on the curve where the pointer is. */
function withFrame(curve, event) {
  const { steps } = curve.explanation;
  const { step } = pointed(event, curve);
  const before = curve.frames.findLastIndex((frame) => frameStep(frame, curve.frames, steps) <= step);
  const like = curve.frames[Math.max(0, before)];
  const value = strengths(curve.frames, steps)[step - 1];
  return curve.frames.toSpliced(before + 1, 0, { ...movedTo(like, curve.frames, step, steps), value });
}

function changed(curve, index, step, value) {
  const frame = { ...movedTo(curve.frames[index], curve.frames, step, curve.explanation.steps), value };
  return curve.frames.with(index, frame);
}

function drag(event, dot, curve, index) {
  event.preventDefault();
  dot.focus();
  dot.setPointerCapture(event.pointerId);
  curve.hold(true);
  const draft = drawn("path", { class: `curve draft hue-${curve.hue}` });
  curve.drawing.classList.add("drafting");
  curve.drawing.insertBefore(draft, dot);
  let frames = curve.frames;
  const move = (moved) => {
    const { step, value } = pointed(moved, curve);
    frames = changed(curve, index, step, value);
    draft.setAttribute("d", stairs(strengths(frames, curve.explanation.steps), curve.scale));
    placeDot(dot, { ...curve, frames }, frames[index]);
  };
  const end = () => {
    dot.removeEventListener("pointermove", move);
    curve.drawing.classList.remove("drafting");
    draft.remove();
    curve.hold(false);
    if (frames !== curve.frames) write(curve, frames);
  };
  dot.addEventListener("pointermove", move);
  dot.addEventListener("lostpointercapture", end, { once: true });
}

function onKey(event, dot, curve, index) {
  const frame = curve.frames[index];
  const step = Math.round(frameStep(frame, curve.frames, curve.explanation.steps));
  const moves = {
    ArrowUp: () => changed(curve, index, step, frame.value + VALUE_STEP),
    ArrowDown: () => changed(curve, index, step, frame.value - VALUE_STEP),
    ArrowRight: () => changed(curve, index, Math.min(curve.explanation.steps, step + 1), frame.value),
    ArrowLeft: () => changed(curve, index, Math.max(1, step - 1), frame.value),
    Delete: () => without(curve.frames, index),
  };
  if (!moves[event.key] || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  write(curve, moves[event.key]());
  dot.focus();
}

/** A schedule keeps at least one keyframe. */
const without = (frames, index) => (frames.length > 1 ? frames.toSpliced(index, 1) : frames);

function write(curve, frames) {
  const { box, place, number } = curve;
  const argument = tagAt(box.value, place)?.arguments[number];
  if (!argument || !keyframes(argument.body)) return;
  const sorted = frames.toSorted((one, other) => frameStep(one, frames, curve.explanation.steps) - frameStep(other, frames, curve.explanation.steps));
  changeTo(box, box.value.slice(0, argument.start) + written(sorted) + box.value.slice(argument.end));
}
