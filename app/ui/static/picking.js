// Adding a network to the prompt and taking it away again, as edits that Ctrl+Z undoes.

import { codePointOffsets, replaceText } from "./dom.js";
import { additions, networkCards, uses } from "./library.js";

const MOST_WORDS = 8;

/** Adds and removes networks in two text boxes; `explained()` gives the newest explanation of their text. */
export function networkPicker(prompt, negative, explained) {
  async function isActive(card) {
    return (await explained()).active.some((tag) => tag.name === card.name);
  }

  function add(card) {
    const text = prompt.value;
    const words = triggerWords(card).filter((word) => !hasWord(text, word));
    const place = outsideTags(text, prompt.selectionStart ?? text.length);
    const before = place && !/\s/.test(text[place - 1]) ? " " : "";
    const after = place < text.length && !/[\s,]/.test(text[place]) ? " " : "";
    const piece = [card.add, words.join(", ")].filter(Boolean).join(" ");
    const added = card.negative && !negative.value.includes(card.negative) ? card.negative : "";
    if (added) replaceText(negative, negative.value.length, negative.value.length, (negative.value.trim() ? ", " : "") + added);
    replaceText(prompt, place, place, before + piece + after);
    additions.set(card, { words, negative: added });
    uses.count(card);
  }

  async function remove(card) {
    const { active } = await explained();
    const spans = active.filter((tag) => tag.name === card.name).map((tag) => tag.span);
    const was = additions.get(card);
    const offsets = codePointOffsets(prompt.value);
    let text = prompt.value;
    for (const [start, end] of spans.toReversed()) text = without(text, offsets[start], offsets[end]);
    const together = withoutWord(text, was.words.join(", "));
    text = together === text ? was.words.reduce((rest, word) => withoutWord(rest, word), text) : together;
    if (was.negative) changeTo(negative, withoutWord(negative.value, was.negative));
    changeTo(prompt, text);
    additions.set(card, null);
  }

  return {
    /** Add the network, or take it away if it is there; whether it is there now. */
    async toggle(card) {
      const was = await isActive(card);
      if (was) await remove(card);
      else add(card);
      return !was;
    },
    remove,
    /** Take away the tag at a place in the explanation's list, whatever it names. */
    async removeTag(index) {
      const { networks, active } = await explained();
      const named = active.find((tag) => tag.span[0] === networks[index]?.span[0]);
      const card = (await networkCards()).find((known) => known.name === named?.name);
      if (card && active.filter((tag) => tag.name === card.name).length === 1) {
        await remove(card);
        return;
      }
      const offsets = codePointOffsets(prompt.value);
      const [start, end] = networks[index].span;
      changeTo(prompt, without(prompt.value, offsets[start], offsets[end]));
    },
  };
}

/** What a card's click brings with it, written so that brackets stay what they are. */
export function triggerWords(card) {
  if (card.kind !== "lora") return [];
  const words = card.activation ? [card.activation] : card.words.slice(0, MOST_WORDS).map((word) => word.replace(/[()[\]\\]/g, "\\$&"));
  return words.map((word) => word.trim()).filter(Boolean);
}

/** Change a box's text by the one piece that differs: the cursor stays, and one Ctrl+Z takes it back. */
export function changeTo(box, text) {
  const old = box.value;
  if (text === old) return;
  let start = 0;
  while (start < Math.min(old.length, text.length) && old[start] === text[start]) start += 1;
  let tail = 0;
  while (tail < Math.min(old.length, text.length) - start && old.at(-1 - tail) === text.at(-1 - tail)) tail += 1;
  replaceText(box, start, old.length - tail, text.slice(start, text.length - tail));
}

/** A place that is not inside a tag: its end, if the given one is. */
function outsideTags(text, place) {
  const opened = text.lastIndexOf("<", place - 1);
  const closed = text.indexOf(">", place);
  const isInside = opened >= 0 && closed >= 0 && text.lastIndexOf(">", place - 1) < opened && !text.slice(opened + 1, closed).includes("<");
  return isInside ? closed + 1 : place;
}

/** The text without a part of it; of the spaces on both sides, one stays. */
function without(text, start, end) {
  const before = text.slice(0, start);
  const after = text.slice(end);
  if (!before.trim()) return after.trimStart();
  return /\s$/.test(before) ? before + after.trimStart() : before + after;
}

function wordPlace(text, word) {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1)) {
    const end = at + word.length;
    if (/(^|[,\s>])$/.test(text.slice(0, at)) && /^($|[,\s<])/.test(text.slice(end))) return [at, end];
  }
  return null;
}

const hasWord = (text, word) => wordPlace(text, word) !== null;

/** The text without some words, and without the comma or space that joined them. */
function withoutWord(text, word) {
  const place = wordPlace(text, word);
  if (!place) return text;
  const left = text.slice(0, place[0]).trimEnd();
  const right = text.slice(place[1]).trimStart();
  if (!left) return right.replace(/^,\s*/, "");
  if (!right) return left.replace(/\s*,$/, "");
  return left + (right.startsWith(",") ? (left.endsWith(",") ? right.slice(1) : right) : ` ${right}`);
}
