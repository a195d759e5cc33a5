// The layer behind a prompt's text box: tags, weights and brackets tinted, problems underlined where they are.

import { codePointOffsets, element } from "./dom.js";

const SHARED_STYLE = [
  "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth",
  "paddingTop", "paddingRight", "paddingBottom", "paddingLeft",
  "fontStyle", "fontVariant", "fontWeight", "fontSize", "fontFamily",
  "lineHeight", "letterSpacing", "wordSpacing", "tabSize", "textIndent",
];
const SYNTAX = /(<[a-z]+:(?:"(?:\\.|[^"\\])*"|[^<>\n])*>)|(\\[()[\]\\<])|\b(BREAK|AND)\b|([()[\]|])|:\s*(-?(?:\d+\.?\d*|\.\d+))(?=\s*[)\]])/g;
const KINDS = ["tag", "escape", "word", "bracket", "number"];
export const HUES = 8;

/** Puts a layer behind `box`. `show` marks what the server said about its text, `showMisfits` the tags that do not fit. */
export function highlightLayer(box) {
  const layer = element("div", { className: "highlight", "aria-hidden": "true" });
  box.parentElement.classList.add("highlighted");
  box.parentElement.insertBefore(layer, box);
  let explained = { text: null, problems: [], hues: new Map() };
  let misfits = { text: null, problems: [] };
  let shown = null;

  function place() {
    const style = getComputedStyle(box);
    for (const property of SHARED_STYLE) layer.style[property] = style[property];
    layer.style.width = `${box.clientWidth + parseFloat(style.borderLeftWidth) + parseFloat(style.borderRightWidth)}px`;
    layer.style.height = `${box.offsetHeight}px`;
    layer.style.left = `${box.offsetLeft}px`;
    layer.style.top = `${box.offsetTop}px`;
    layer.scrollTop = box.scrollTop;
  }
  function paint() {
    shown = box.value;
    const isExplained = explained.text === shown;
    const marks = syntaxMarks(shown, isExplained ? explained.hues : null);
    if (isExplained) marks.push(...explained.problems);
    if (misfits.text === shown) marks.push(...misfits.problems);
    layer.replaceChildren(...pieces(shown, marks), "\n");
    place();
  }

  box.addEventListener("input", paint);
  box.addEventListener("scroll", place, { passive: true });
  new ResizeObserver(place).observe(box);
  // Gradio sets the value without an event when it fills the form.
  setInterval(() => box.value !== shown && paint(), 250);
  paint();
  return {
    show(text, problems, networks) {
      const offsets = codePointOffsets(text);
      const hues = new Map(networks.map((network, index) => [offsets[network.span[0]], index % HUES]));
      explained = { text, problems: underlines(text, offsets, problems), hues };
      paint();
    },
    showMisfits(text, problems) {
      misfits = { text, problems: underlines(text, codePointOffsets(text), problems) };
      paint();
    },
  };
}

/** The marks of the problems that have a place in the text. */
function underlines(text, offsets, problems) {
  return problems.filter((problem) => problem.span).map(({ span: [start, end], level }) => ({
    start: offsets[start] ?? text.length,
    end: offsets[end] ?? text.length,
    kind: `problem ${level}`,
  }));
}

/** Tags take the colours of their networks' curves, once these are known; without a curve they have none. */
function syntaxMarks(text, hues) {
  let tags = 0;
  return [...text.matchAll(SYNTAX)].map((match) => {
    const kind = KINDS[match.slice(1).findIndex((group) => group !== undefined)];
    const hue = kind === "tag" && (hues ? hues.get(match.index) : tags++ % HUES);
    return { start: match.index, end: match.index + match[0].length, kind: Number.isInteger(hue) ? `${kind} hue-${hue}` : kind };
  });
}

/** The text cut at every mark's edges, each piece with the classes of the marks over it. */
function pieces(text, marks) {
  const edges = [...new Set([0, text.length, ...marks.flatMap((mark) => [mark.start, mark.end])])].sort((a, b) => a - b);
  const made = [];
  for (let index = 0; index + 1 < edges.length; index += 1) {
    const [start, end] = [edges[index], edges[index + 1]];
    const over = marks.filter((mark) => mark.start <= start && end <= mark.end);
    const piece = text.slice(start, end);
    made.push(over.length ? element("mark", { className: over.map((mark) => mark.kind).join(" "), textContent: piece }) : piece);
  }
  return made;
}
