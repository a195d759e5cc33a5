// Adding a network to the prompt and taking it away again, as edits that Ctrl+Z undoes. The server finds the tags.

import { codePointOffsets, replaceText, send, setText } from "./dom.js";
import { fillForm } from "./form.js";
import { additions, networkCards } from "./library.js";
import { applyStyle } from "./styles.js";

const KEPT_PAIRS = 50;
const CHOSEN = { checkpoint: "checkpoint", vae: "vae" };

/** Adds and removes networks in two text boxes; `say` tells what went wrong, `lastImage()` gives the image shown. */
export function networkPicker(prompt, negative, say, lastImage) {
  let lastBox = prompt;
  let queue = Promise.resolve();
  const pairs = pairedEdits(prompt, negative);
  for (const box of [prompt, negative]) box.addEventListener("focus", () => { lastBox = box; });

  async function toggle(card) {
    if (CHOSEN[card.kind]) {
      fillForm({ [CHOSEN[card.kind]]: card.name });
      return;
    }
    if (card.kind === "style") {
      await applyStyle(card, { prompt, negative }, say);
      return;
    }
    const isWord = card.kind === "embedding";
    const box = isWord ? lastBox : prompt;
    const asked = { prompt: prompt.value, negative: negative.value };
    const answer = await send("/app/prompt/toggle", {
      ...asked,
      kind: card.kind,
      key: card.key,
      caret: codePointOffsets(box.value.slice(0, box.selectionStart ?? box.value.length)).length - 1,
      box: box === negative ? "negative" : "prompt",
      added: additions.get(card),
    });
    if (!answer.ok) {
      say(answer.detail);
      return;
    }
    if (prompt.value !== asked.prompt || negative.value !== asked.negative) {
      await toggle(card);
      return;
    }
    changeTo(negative, answer.negative);
    changeTo(prompt, answer.prompt);
    if (asked.negative !== answer.negative && asked.prompt !== answer.prompt) pairs.push([asked, { prompt: prompt.value, negative: negative.value }]);
    box.focus({ preventScroll: true });
    const caret = codePointOffsets(box.value)[answer.caret] ?? box.value.length;
    box.setSelectionRange(caret, caret);
    additions.set(card, answer.added);
  }

  return {
    /** Add the network, or take it away if it is there. One click waits for the one before. */
    toggle(card) {
      queue = queue.then(() => toggle(card));
      return queue;
    },
    /** Take a network of the prompt away, with what its click added; what no click adds, by its tag alone. */
    async remove(tag) {
      const isClicked = tag.key && tag.box === "prompt";
      const card = isClicked && (await networkCards()).find((known) => known.key === tag.key);
      if (card) {
        await this.toggle(card);
        return;
      }
      await this.edit(tag, { change: "remove" });
    },
    /** Change a tag that was `seen` in a text of its box: on the text that stands there when the answer comes. */
    async edit(tag, change) {
      const box = this.boxes[tag.box];
      const text = box.value;
      const answer = await send("/app/prompt/edit", { prompt: text, seen: tag.seen, tag: tag.index, ...change });
      if (!answer.ok) say(answer.detail);
      else if (box.value === text) changeTo(box, answer.prompt);
      else await this.edit(tag, change);
    },
    /** Add words to the prompt as pieces between commas, or take away those that are one there. */
    async toggleWord(word) {
      const caret = codePointOffsets(prompt.value.slice(0, prompt.selectionStart ?? prompt.value.length)).length - 1;
      const answer = await send("/app/prompt/word", { text: prompt.value, word, caret });
      if (answer.ok) changeTo(prompt, answer.text);
      return answer.is_added;
    },
    hasWord: (word) => prompt.value.split(",").some((piece) => piece.trim().toLowerCase() === word.toLowerCase()),
    lastImage,
    boxes: { prompt, negative },
    say,
    /** Take the last edit back, from wherever the focus is. */
    undo() {
      prompt.focus({ preventScroll: true });
      document.execCommand("undo");
    },
  };
}

/** Edits of both boxes by one click: undone or redone in one, they are in the other too. */
function pairedEdits(prompt, negative) {
  const pairs = [];
  const steps = { historyUndo: ["undo", 1, 0], historyRedo: ["redo", 0, 1] };
  /** The pair that has gone half of the way from one state to the other. */
  const halfway = (from, to) => pairs.find((pair) => (
    (prompt.value === pair[to].prompt && negative.value === pair[from].negative)
    || (prompt.value === pair[from].prompt && negative.value === pair[to].negative)));

  for (const box of [prompt, negative]) {
    box.addEventListener("input", (event) => {
      const [command, from, to] = steps[event.inputType] ?? [];
      const pair = command && halfway(from, to);
      if (!pair) return;
      // The browser's history is the whole page's: the other half is the next step of it. Where not, the text is set.
      setTimeout(() => {
        if (halfway(from, to) !== pair) return;
        document.execCommand(command);
        if (prompt.value !== pair[to].prompt) setText(prompt, pair[to].prompt);
        if (negative.value !== pair[to].negative) setText(negative, pair[to].negative);
        prompt.focus({ preventScroll: true });
      }, 0);
    });
  }
  return { push: (pair) => pairs.unshift(pair) > KEPT_PAIRS && pairs.pop() };
}

/** Change a box's text by the one piece that differs: the cursor stays, and one Ctrl+Z takes it back. */
export function changeTo(box, text) {
  const old = box.value;
  if (text === old) return;
  const isLow = (character) => character >= "\udc00" && character <= "\udfff";
  let start = 0;
  while (start < Math.min(old.length, text.length) && old[start] === text[start]) start += 1;
  if (start && isLow(old[start] ?? text[start])) start -= 1;
  let tail = 0;
  while (tail < Math.min(old.length, text.length) - start && old.at(-1 - tail) === text.at(-1 - tail)) tail += 1;
  if (tail && isLow(old.at(-tail))) tail -= 1;
  replaceText(box, start, old.length - tail, text.slice(start, text.length - tail));
}
