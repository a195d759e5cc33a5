// Ctrl+Up and Ctrl+Down: the weight under the cursor, as pure functions on text.

const EMPHASIS_STEP = 0.1;
const NETWORK_STEP = 0.05;
const WORD_END = /[\s,()[\]<>|:]/;
const UNWEIGHTED_KEYS = new Set(["dyn", "start", "stop", "lbw", "module"]);

/** The edit {start, end, text, selection} that steps the weight at a selection; null where there is none. */
export function stepWeight(text, start, end, direction) {
  return stepNetwork(text, start, direction) ?? stepEmphasis(text, start, end, direction);
}

const rounded = (number) => String(Number(number.toFixed(4)));

/** The network tag around a place: {start, end, nameEnd}. */
export function tagAround(text, place) {
  for (const tag of text.matchAll(/<([a-z]+):("(?:\\.|[^"\\])*"|[^:<>\n]*)([^<>\n]*)>/gi)) {
    const end = tag.index + tag[0].length;
    if (place > tag.index && place < end) return { start: tag.index, end, nameEnd: end - 1 - tag[3].length };
  }
  return null;
}

function stepNetwork(text, place, direction) {
  const tag = tagAround(text, place);
  if (!tag) return null;
  const numbers = weightsIn(text.slice(tag.nameEnd, tag.end - 1), tag.nameEnd);
  const chosen = numbers.find((number) => number.start <= place && place <= number.end) ?? numbers.find((number) => number.usual);
  if (!chosen) {
    const added = `:${rounded(1 + direction * NETWORK_STEP)}`;
    return { start: tag.nameEnd, end: tag.nameEnd, text: added, selection: [tag.nameEnd + 1, tag.nameEnd + added.length] };
  }
  const value = rounded(Number(text.slice(chosen.start, chosen.end)) + direction * NETWORK_STEP);
  return { ...chosen, text: value, selection: [chosen.start, chosen.start + value.length] };
}

/** The strengths among a tag's arguments; positions after an @ are not strengths. */
function weightsIn(argumentText, offset) {
  const found = [];
  for (const part of argumentText.matchAll(/:([^:]*)/g)) {
    const key = part[1].match(/^\s*([a-z]\w*)\s*=/i)?.[1].toLowerCase() ?? "";
    const body = offset + part.index + 1;
    for (const number of part[1].matchAll(/(^|[=,;~])\s*(-?(?:\d+\.?\d*|\.\d+))/g)) {
      const at = body + number.index + number[0].length - number[2].length;
      found.push({ start: at, end: at + number[2].length, usual: !UNWEIGHTED_KEYS.has(key) });
    }
  }
  return found;
}

function stepEmphasis(text, start, end, direction) {
  const group = groupAround(text, start, end);
  if (group) return stepGroup(text, group, direction);
  if (start === end) [start, end] = wordAround(text, start);
  const word = text.slice(start, end);
  if (!word.trim()) return null;
  const weight = rounded(1 + direction * EMPHASIS_STEP);
  return { start, end, text: `(${word}:${weight})`, selection: [start + 1, end + 1] };
}

function stepGroup(text, group, direction) {
  const inner = text.slice(group.start + 1, group.end - 1);
  const weighted = inner.match(/^([^]*):\s*(-?(?:\d+\.?\d*|\.\d+))\s*$/);
  const words = weighted ? weighted[1] : inner;
  const weight = rounded((weighted ? Number(weighted[2]) : 1.1) + direction * EMPHASIS_STEP);
  const edit = { start: group.start, end: group.end };
  if (weight === "1") return { ...edit, text: words, selection: [group.start, group.start + words.length] };
  return { ...edit, text: `(${words}:${weight})`, selection: [group.start + 1, group.start + 1 + words.length] };
}

/** The innermost ( … ) around a selection, escapes not counted. */
function groupAround(text, start, end) {
  const opened = [];
  for (let place = 0; place < text.length; place += 1) {
    if (text[place] === "\\") place += 1;
    else if (text[place] === "(") opened.push(place);
    else if (text[place] === ")" && opened.length) {
      const from = opened.pop();
      if (from < start && place >= end) return { start: from, end: place + 1 };
    }
  }
  return null;
}

function wordAround(text, place) {
  let start = place;
  let end = place;
  while (start > 0 && !WORD_END.test(text[start - 1])) start -= 1;
  while (end < text.length && !WORD_END.test(text[end])) end += 1;
  return [start, end];
}
