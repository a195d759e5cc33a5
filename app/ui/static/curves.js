// A strength over the steps, drawn: points that are moved by pointer or keys, and the text that says them.

import { drawn, element } from "./dom.js";

const WIDTH = 320;
const HEIGHT = 96;
const MARGIN = { x: 22, y: 12 };
const VALUE_STEP = 0.05;
const STEPS = "#txt2img_steps input[type=number]";

/** An editor for a schedule's keyframes; `write(text, isDone)` is called with the schedule's text as it changes. */
export function curveEditor(label, write) {
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", "aria-label": `${label}, over the steps` });
  const said = element("span", { className: "said", role: "status" });
  const joins = element("button", { type: "button", className: "tool joins" });
  const add = element("button", { type: "button", className: "tool", textContent: "Add a point" });
  const remove = element("button", { type: "button", className: "tool", textContent: "Remove the point" });
  const whole = element("div", { className: "curve-editor" }, picture, element("div", { className: "tools" }, joins, add, remove, said));
  let points = [];
  let ends = { low: 0, high: 1 };
  let chosen = 0;
  let dragged = false;

  const run = () => Math.max(2, Number(document.querySelector(STEPS)?.value) || 20);
  const inSteps = () => points.some((point) => !point.fraction);
  const along = (point) => (point.fraction ? point.at : (point.at - 1) / (run() - 1));
  const x = (fraction) => MARGIN.x + Math.min(1, Math.max(0, fraction)) * (WIDTH - 2 * MARGIN.x);
  const y = (value) => HEIGHT - MARGIN.y - ((value - ends.low) / (ends.high - ends.low)) * (HEIGHT - 2 * MARGIN.y);
  const ramps = () => points[0]?.join === "~";

  function text() {
    const place = (point) => (point.fraction ? `${round(point.at * 100, 2)}%` : round(point.at, 3));
    return points.map((point, index) => `${round(point.value, 3)}@${place(point)}${index + 1 < points.length ? point.join || ";" : ""}`).join("");
  }
  const where = (point) => (point.fraction ? `${round(point.at * 100, 1)} %` : `step ${round(point.at, 1)}`);

  function draw(focus = false) {
    const shown = points.map((point) => [x(along(point)), y(point.value), point.join]);
    let path = `M${MARGIN.x} ${shown[0][1]}`;
    shown.forEach(([left, top], index) => {
      path += index && shown[index - 1][2] !== "~" ? `H${left}V${top}` : `L${left} ${top}`;
    });
    path += `H${WIDTH - MARGIN.x}`;
    const lines = [ends.low, 0, 1, ends.high].filter((value, index, all) => value >= ends.low && value <= ends.high && all.indexOf(value) === index);
    picture.replaceChildren(
      ...lines.flatMap((value) => [
        drawn("line", { class: "grid", x1: MARGIN.x, x2: WIDTH - MARGIN.x, y1: y(value), y2: y(value) }),
        drawn("text", { x: 1, y: y(value) - 2 }, String(value)),
      ]),
      drawn("path", { class: "curve", d: path }),
      ...points.map((point, index) => drawn("circle", {
        class: "point", cx: shown[index][0], cy: shown[index][1], r: 6, tabindex: index === chosen ? 0 : -1, role: "slider",
        "data-point": index, "aria-label": `Point ${index + 1} of ${points.length}, ${label}`,
        "aria-valuemin": ends.low, "aria-valuemax": ends.high, "aria-valuenow": round(point.value, 3),
        "aria-valuetext": `${round(point.value, 3)} at ${where(point)}`,
      })),
    );
    joins.textContent = ramps() ? "Ramps" : "Switches";
    joins.setAttribute("aria-label", `${label}: ${ramps() ? "ramps from point to point; make it switch" : "switches at each point; make it ramp"}`);
    remove.disabled = points.length < 2;
    said.textContent = points[chosen] ? `${round(points[chosen].value, 3)} at ${where(points[chosen])}` : "";
    if (focus) picture.querySelector(`[data-point="${chosen}"]`)?.focus();
  }
  /** Move a point, but never past its neighbours. */
  function place(index, fraction, value) {
    const point = points[index];
    const low = index ? along(points[index - 1]) : 0;
    const high = index + 1 < points.length ? along(points[index + 1]) : 1;
    const kept = Math.min(high, Math.max(low, fraction));
    point.at = inSteps() ? Math.round(1 + kept * (run() - 1)) : Math.round(kept * 100) / 100;
    point.fraction = !inSteps();
    point.value = Math.min(10, Math.max(-10, Math.round(value / VALUE_STEP) * VALUE_STEP));
  }
  function changed(isDone) {
    draw(picture.contains(document.activeElement));
    write(text(), isDone);
  }
  function addAt(fraction, value) {
    let index = points.findIndex((point) => along(point) > fraction);
    if (index < 0) index = points.length;
    const join = points[Math.max(0, index - 1)]?.join || (ramps() ? "~" : ";");
    if (index && !points[index - 1].join) points[index - 1].join = join;
    points.splice(index, 0, { value, at: 0, fraction: !inSteps(), join: index < points.length ? join : "" });
    chosen = index;
    place(index, fraction, value);
    changed(true);
  }

  picture.addEventListener("keydown", (event) => {
    const index = Number(event.target.dataset?.point);
    if (Number.isNaN(index)) return;
    const across = { ArrowLeft: -1, ArrowRight: 1 }[event.key] ?? 0;
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key] ?? 0;
    const to = { Home: 0, End: points.length - 1 }[event.key];
    if (across || up) {
      const size = inSteps() ? 1 / (run() - 1) : event.shiftKey ? 0.1 : 0.01;
      place(index, along(points[index]) + across * size, points[index].value + up * VALUE_STEP * (event.shiftKey ? 4 : 1));
      changed(true);
    } else if (to !== undefined || event.key === "PageUp" || event.key === "PageDown") {
      chosen = to ?? Math.min(points.length - 1, Math.max(0, index + (event.key === "PageDown" ? 1 : -1)));
      draw(true);
    } else if (event.key === "Delete" && points.length > 1) {
      takeAway();
    } else return;
    event.preventDefault();
  });
  picture.addEventListener("focusin", (event) => {
    const index = Number(event.target.dataset?.point);
    if (!Number.isNaN(index)) chosen = index;
  });
  function spot(event) {
    const edge = picture.getBoundingClientRect();
    const [left, top] = [((event.clientX - edge.left) / edge.width) * WIDTH, ((event.clientY - edge.top) / edge.height) * HEIGHT];
    const fraction = (left - MARGIN.x) / (WIDTH - 2 * MARGIN.x);
    return [fraction, ends.low + ((HEIGHT - MARGIN.y - top) / (HEIGHT - 2 * MARGIN.y)) * (ends.high - ends.low)];
  }
  picture.addEventListener("pointerdown", (event) => {
    const index = Number(event.target.dataset?.point);
    if (Number.isNaN(index)) return;
    event.preventDefault();
    chosen = index;
    dragged = true;
    picture.setPointerCapture(event.pointerId);
    draw(true);
  });
  picture.addEventListener("pointermove", (event) => {
    if (!dragged) return;
    place(chosen, ...spot(event));
    changed(false);
  });
  picture.addEventListener("pointerup", () => {
    if (dragged) write(text(), true);
    dragged = false;
  });
  picture.addEventListener("dblclick", (event) => addAt(...spot(event)));
  add.addEventListener("click", () => {
    const [one, two] = [points[chosen], points[chosen + 1]];
    const end = two ? along(two) : 1;
    addAt((along(one) + end) / 2, two && one.join === "~" ? (one.value + two.value) / 2 : one.value);
  });
  function takeAway() {
    points.splice(chosen, 1);
    points.at(-1).join = "";
    chosen = Math.min(chosen, points.length - 1);
    changed(true);
  }
  remove.addEventListener("click", takeAway);
  joins.addEventListener("click", () => {
    const join = ramps() ? ";" : "~";
    points.forEach((point, index) => { point.join = index + 1 < points.length ? join : ""; });
    changed(true);
  });

  return {
    element: whole,
    /** The keyframes as the text says them, in order of time. */
    show(told, reach) {
      if (dragged) return;
      points = told.map((point) => ({ ...point })).sort((one, other) => along(one) - along(other));
      points.forEach((point, index) => { point.join = index + 1 < points.length ? point.join || ";" : ""; });
      const values = points.map((point) => point.value);
      ends = { low: Math.min(0, ...values.map(Math.floor)), high: Math.max(1, ...values.map(Math.ceil)) };
      if (reach > 2) ends = { low: Math.min(-reach, ends.low), high: Math.max(reach, ends.high) };
      chosen = Math.min(chosen, points.length - 1);
      draw(picture.contains(document.activeElement));
    },
  };
}

const round = (number, digits) => Number(number.toFixed(digits));
