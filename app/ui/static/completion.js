// Completion in the prompt: networks after "<", arguments inside a tag, embeddings by name.

import { ask, element, replaceText } from "./dom.js";
import { additions, networkCards } from "./library.js";
import { baseName } from "./bases.js";

const MOST = 24;
const ARGUMENTS = [
  ["te=", "strength in the text encoders"],
  ["unet=", "strength in the denoiser"],
  ["in=", "in its down blocks"],
  ["mid=", "in its middle block"],
  ["out=", "in its up blocks"],
  ["vae=", "in the VAE"],
  ["start=", "from this step on"],
  ["stop=", "up to this step"],
  ["dyn=", "only the first ranks"],
  ["lbw=", "block weights: a preset or numbers"],
  ["module=", "this component only"],
  ["hr=", "strength in the hires pass"],
];
const SHARED_STYLE = [
  "boxSizing", "width", "borderTopWidth", "borderRightWidth", "borderBottomWidth", "borderLeftWidth",
  "paddingTop", "paddingRight", "paddingBottom", "paddingLeft",
  "fontStyle", "fontWeight", "fontSize", "fontFamily", "lineHeight", "letterSpacing", "wordSpacing", "tabSize",
];
const KINDS = ["lora", "lyco", "hypernet"];
let boxes = 0;

/** Offers completions in a text box. */
export function completeIn(box, label) {
  const id = `completion-${(boxes += 1)}`;
  const list = element("ul", { id, className: "completion", role: "listbox", "aria-label": `Completions for ${label}`, hidden: true });
  const said = element("p", { className: "sr-only", role: "status" });
  document.body.append(list, said);
  for (const [name, value] of Object.entries({ "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": id })) box.setAttribute(name, value);
  let offers = [];
  let chosen = 0;

  function close() {
    list.hidden = true;
    offers = [];
    box.removeAttribute("aria-activedescendant");
  }
  function choose(index) {
    chosen = (index + offers.length) % offers.length;
    [...list.children].forEach((entry, place) => entry.setAttribute("aria-selected", String(place === chosen)));
    box.setAttribute("aria-activedescendant", `${id}-${chosen}`);
    list.children[chosen].scrollIntoView({ block: "nearest" });
  }
  async function offer() {
    const before = box.value.slice(0, box.selectionStart);
    const found = await offersFor(before);
    if (before !== box.value.slice(0, box.selectionStart) || document.activeElement !== box) return;
    if (!found.length) {
      close();
      return;
    }
    offers = found;
    list.replaceChildren(...offers.map((entry, index) => drawOffer(entry, `${id}-${index}`)));
    list.hidden = false;
    said.textContent = `${offers.length} completions`;
    placeUnder(list, box, offers[0].start);
    choose(0);
  }
  function accept() {
    const { start, text, card } = offers[chosen];
    const rest = box.value.slice(box.selectionStart).match(/^[^\s,<>]*>/)?.[0] ?? "";
    const end = box.selectionStart + (text.includes(">") ? rest.length : 0);
    close();
    replaceText(box, start, end, text);
    // A click on its card takes away what was added here as it does what a click has added.
    if (card) additions.set(card, { before: "", after: card.writes.length ? ` ${card.writes.join(", ")}` : "", words: card.writes, negative: "" });
    close();
  }

  box.addEventListener("input", (event) => event.isComposing || (event.inputType?.startsWith("history") ? close() : offer()));
  box.addEventListener("blur", () => setTimeout(close, 150));
  box.addEventListener("click", close);
  list.addEventListener("mousedown", (event) => {
    const entry = event.target.closest("li");
    if (!entry) return;
    event.preventDefault();
    choose([...list.children].indexOf(entry));
    accept();
  });
  box.addEventListener("keydown", (event) => {
    if (list.hidden || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const keys = {
      ArrowDown: () => choose(chosen + 1),
      ArrowUp: () => choose(chosen - 1),
      Enter: accept,
      Tab: accept,
      Escape: close,
    };
    if (!keys[event.key] || event.shiftKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    keys[event.key]();
  }, true);
}

/** What may follow the text before the cursor: {start, text, label, note, picture}. */
async function offersFor(before) {
  const network = before.match(/<(?:([a-z][\w-]*):)?([^:<>\n]*)$/i);
  if (network) return networkOffers(network[1]?.toLowerCase() ?? "", network[2], network.index);
  const argument = before.match(/<[a-z][\w-]*:(?:"[^"\n]*"|[^:<>\n]+)(?::[^:<>\n]*)*:([a-z]*)$/i);
  if (argument) {
    const typed = argument[1].toLowerCase();
    const start = before.length - typed.length;
    const fitting = ARGUMENTS.filter(([name]) => name.startsWith(typed) && name !== typed);
    return fitting.map(([name, note]) => ({ start, text: name, label: name, note }));
  }
  const word = before.match(/(?:^|[\n,(|[])\s*([^\n,()|[\]<>:]{2,})$/);
  return word ? wordOffers(word[1], before) : [];
}

/** Embeddings, the training words of the networks in the prompt, then those of the tag files. */
async function wordOffers(typed, before) {
  const cards = await networkCards();
  const last = typed.match(/[\w-]+$/)?.[0] ?? "";
  const named = last.length > 1 ? embeddingOffers(cards, last, before.length - last.length) : [];
  const start = before.length - typed.length;
  const query = typed.toLowerCase();
  const used = cards.filter((card) => card.kind === "lora" && before.includes(`:${card.name}`));
  const trained = [...new Set(used.flatMap((card) => [...card.words, ...card.tags]))].filter((word) => word.toLowerCase().startsWith(query) && word !== typed);
  const answer = await ask(`/app/prompt/words?query=${encodeURIComponent(typed.slice(0, 200))}`);
  const listed = answer.ok ? answer.words.filter((entry) => entry.word !== query && !trained.includes(entry.word)) : [];
  const written = (word) => word.replace(/[()[\]\\]/g, "\\$&");
  return [
    ...named,
    ...trained.slice(0, 8).map((word) => ({ start, text: written(word), label: word, note: "trained on" })),
    ...listed.map(({ word, called, count }) => ({ start, text: written(word), label: word, note: [called === word ? "" : called, shortCount(count)].filter(Boolean).join(" · ") })),
  ].slice(0, MOST);
}

const shortCount = (count) => (count >= 1e6 ? `${(count / 1e6).toFixed(1)}M` : count >= 1e3 ? `${Math.round(count / 1e3)}k` : count ? String(count) : "");

/** Networks for a tag of a kind; after "<" alone of every kind, whose name may be what is being typed. */
async function networkOffers(kind, query, start) {
  const typed = query.toLowerCase();
  if (!kind && typed && KINDS.some((name) => name.startsWith(typed))) return networkOffers("", "", start);
  const words = typed.split(/\s+/).filter(Boolean);
  const wanted = { "": ["lora", "hypernetwork"], hypernet: ["hypernetwork"] }[kind] ?? ["lora"];
  const fitting = (await networkCards()).filter((card) => wanted.includes(card.kind) && words.every((word) => card.haystack.includes(word)));
  const rank = (card) => (card.bare.toLowerCase().startsWith(typed) ? 0 : card.name.toLowerCase().includes(typed) ? 1 : 2);
  const prefix = ["", "lora", "lyco", "hypernet"].includes(kind) ? "" : kind;
  return fitting.toSorted((one, other) => rank(one) - rank(other)).slice(0, MOST).map((card) => ({
    start,
    card,
    text: [prefix ? card.add.replace("lora", () => prefix) : card.add, card.writes.join(", ")].filter(Boolean).join(" "),
    label: card.name,
    note: [baseName(card.base), ...card.words.slice(0, 2)].join(" · "),
    picture: card.picture,
  }));
}

function embeddingOffers(cards, query, start) {
  const typed = query.toLowerCase();
  const fitting = cards.filter((card) => card.kind === "embedding" && card.bare.toLowerCase().startsWith(typed) && card.bare !== query);
  return fitting.slice(0, MOST).map((card) => ({ start, text: card.add, label: card.bare, note: "embedding" }));
}

function drawOffer(offer, id) {
  const entry = element("li", { id, role: "option" });
  if (offer.picture) entry.append(element("img", { src: offer.picture, alt: "", loading: "lazy" }));
  entry.append(element("span", { textContent: offer.label }), element("small", { textContent: offer.note }));
  return entry;
}

/** Puts the list under a place in the box's text, measured in a copy of the box. */
function placeUnder(list, box, place) {
  const style = getComputedStyle(box);
  const copy = element("div", { textContent: box.value.slice(0, place) });
  for (const property of SHARED_STYLE) copy.style[property] = style[property];
  Object.assign(copy.style, { position: "absolute", visibility: "hidden", whiteSpace: "pre-wrap", overflowWrap: "break-word", left: "-9999px", top: "0" });
  const mark = element("span", { textContent: "\u200b" });
  copy.append(mark);
  document.body.append(copy);
  const edge = box.getBoundingClientRect();
  const left = Math.min(edge.left + mark.offsetLeft, document.documentElement.clientWidth - list.offsetWidth - 8);
  list.style.left = `${Math.max(8, left)}px`;
  list.style.top = `${edge.top + mark.offsetTop - box.scrollTop + parseFloat(style.lineHeight) + 4}px`;
  copy.remove();
}
