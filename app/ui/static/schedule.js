// Schedules in network tags ("0@0~1@50%") as keyframes, and back. Pure functions on text.

const NUMBER = "-?(?:\\d+\\.?\\d*|\\.\\d+)";
const FRAME = new RegExp(`\\s*(${NUMBER})\\s*@\\s*(${NUMBER})(%?)\\s*([,;~]|$)`, "y");
const TAG = /<([a-z]+):("(?:[^"]|"")*"|[^:<>\n]*)([^<>\n]*)>/iy;

/** The arguments of the tag at a place: {key, body, start, end} each, and where its name ends; null for no tag. */
export function tagAt(text, place) {
  TAG.lastIndex = place;
  const tag = TAG.exec(text);
  if (!tag) return null;
  const nameEnd = place + tag[0].length - 1 - tag[3].length;
  let at = nameEnd;
  const given = tag[3].split(":").slice(1).map((part) => {
    const key = part.match(/^\s*([a-z]\w*)\s*=/i);
    const start = at + 1 + (key?.[0].length ?? 0);
    at += 1 + part.length;
    return { key: key?.[1].toLowerCase() ?? "", body: text.slice(start, at), start, end: at };
  });
  return { nameEnd, arguments: given };
}

/** The keyframes of a schedule, each with the separator after it; null for a text that is none. */
export function keyframes(body) {
  const frames = [];
  FRAME.lastIndex = 0;
  for (let frame = FRAME.exec(body); frame; frame = FRAME.exec(body)) {
    frames.push({ value: Number(frame[1]), position: Number(frame[2]), percent: frame[3], separator: frame[4] });
    if (!frame[4]) return FRAME.lastIndex === body.length || !FRAME.lastIndex ? frames : null;
  }
  return null;
}

const isFraction = (frames) => frames.every((frame) => frame.percent || frame.position <= 1);

/** The step, from 1 and perhaps between two, at which a keyframe stands. */
export function frameStep(frame, frames, steps) {
  if (frame.percent) return 1 + (frame.position / 100) * (steps - 1);
  if (isFraction(frames) || !Number.isInteger(frame.position)) return 1 + frame.position * (steps - 1);
  return frame.position;
}

/** The same keyframe at another step, written as it was: a percentage, a fraction or a step. */
export function movedTo(frame, frames, step, steps) {
  const fraction = steps > 1 ? (step - 1) / (steps - 1) : 0;
  if (frame.percent) return { ...frame, position: Number((100 * fraction).toFixed(1)) };
  return { ...frame, position: isFraction(frames) ? Number(fraction.toFixed(3)) : step };
}

/** The schedule's text. */
export function written(frames) {
  return frames.map((frame, index) => {
    const after = index + 1 < frames.length ? frame.separator || "~" : "";
    return `${Number(frame.value.toFixed(3))}@${frame.position}${frame.percent}${after}`;
  }).join("");
}

/** The strength at every step. */
export function strengths(frames, steps) {
  const placed = frames.map((frame) => ({ ...frame, step: frameStep(frame, frames, steps) })).sort((one, other) => one.step - other.step);
  return Array.from({ length: steps }, (_, index) => {
    const step = index + 1;
    const at = placed.findLastIndex((frame) => frame.step <= step + 1e-9);
    if (at < 0) return placed[0].value;
    const [now, next] = [placed[at], placed[at + 1]];
    if (!next || now.separator !== "~") return now.value;
    return now.value + ((next.value - now.value) * (step - now.step)) / (next.step - now.step);
  });
}
