// The Networks tab: a grid that holds only the cards one sees, however many there are.

import { ask, element, present } from "./dom.js";
import { showDetails } from "./details.js";
import { favourites, networkLibrary, refreshLibrary, searchTest, uses } from "./library.js";

const GAP = 8;
/** Pixels of a card under its picture: name, words, strength. */
const BELOW = 82;
const NAMES = { sd15: "SD 1.5", sd2: "SD 2", sdxl: "SDXL", "sdxl-refiner": "Refiner", sd3: "SD 3", flux: "Flux", chroma: "Chroma" };

/** The name of a base model as people write it. */
export const baseName = (base) => NAMES[base] ?? (base === "unknown" ? "?" : base);

/** Gives the tab its life when it is first opened; `picker` adds and removes, `watch(seen)` tells what is active. */
export async function showNetworks(picker, watch) {
  const panel = (await present("#networks .viewport")).closest("section");
  const find = (selector) => panel.querySelector(selector);
  const grid = cardGrid(find(".viewport"), drawCard);
  let all = [];
  let active = new Set();
  let base = "unknown";
  let showOthers = true;

  const isOther = (card) => card.kind === "lora" && base !== "unknown" && card.base !== "unknown" && card.base !== base;
  function drawCard(card, index, count) {
    return networkCard(card, {
      index,
      count,
      isActive: active.has(card.name),
      otherBase: isOther(card) ? base : "",
      onPick: () => picker.toggle(card),
      onDetails: () => showDetails(find(".details"), card, reload),
    });
  }
  function filter() {
    const test = searchTest(find("input").value);
    const [wantedBase, folder] = [find(".base").value, find(".folder").value];
    const onlyFavourites = find(".favourites").ariaPressed === "true";
    const loved = favourites.all();
    const shown = all.filter((card) => test(card)
      && (showOthers || !isOther(card))
      && (!wantedBase || card.base === wantedBase)
      && (!folder || card.folder === folder || card.folder.startsWith(`${folder}/`))
      && (!onlyFavourites || loved[card.name]));
    grid.show(sorted(shown, find(".sort").value));
    find(".count").textContent = shown.length === all.length ? `${all.length}` : `${shown.length} of ${all.length}`;
  }
  function take(library) {
    all = library.cards;
    showOthers = library.others;
    grid.resize(library.size);
    fillChoices(find(".base"), new Map(all.map((card) => [card.base, baseName(card.base)])));
    fillChoices(find(".folder"), new Map(all.filter((card) => card.folder).map((card) => [card.folder, card.folder])));
    find(".none").hidden = all.length > 0;
    filter();
  }
  const reload = async () => take(await refreshLibrary());
  async function askBase() {
    const name = document.querySelector("#checkpoint input")?.value;
    const answer = name ? await ask(`/app/base.json?checkpoint=${encodeURIComponent(name)}`) : { ok: false };
    base = answer.ok ? answer.base : "unknown";
    filter();
  }

  find("input").addEventListener("input", filter);
  for (const choice of panel.querySelectorAll("select")) choice.addEventListener("change", filter);
  find(".favourites").addEventListener("click", (event) => {
    event.currentTarget.ariaPressed = String(event.currentTarget.ariaPressed !== "true");
    filter();
  });
  find(".refresh").addEventListener("click", reload);
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea")) return;
    event.preventDefault();
    find("input").focus();
  });
  document.querySelector("#checkpoint")?.addEventListener("focusout", () => setTimeout(askBase, 300));
  watch((names) => {
    active = names;
    grid.redraw();
  });
  take(await networkLibrary());
  askBase();
}

function fillChoices(select, choices) {
  const chosen = select.value;
  const names = [...choices].sort((one, other) => one[1].localeCompare(other[1]));
  select.replaceChildren(select.options[0], ...names.map(([value, label]) => new Option(label, value)));
  select.value = choices.has(chosen) ? chosen : "";
}

function sorted(cards, by) {
  if (by === "time" || by === "size") return cards.toSorted((one, other) => other[by] - one[by]);
  const used = uses.all();
  const rank = { used: (card) => used[card.name]?.last ?? 0, uses: (card) => used[card.name]?.times ?? 0 }[by];
  if (rank) return cards.toSorted((one, other) => rank(other) - rank(one));
  return cards;
}

/** Draws the rows in view and two more; the scrollbar is that of all of them. */
function cardGrid(viewport, draw) {
  const [sizer, shownRows] = [viewport.querySelector(".sizer"), viewport.querySelector(".window")];
  let [width, rowHeight] = [150, 244];
  let cards = [];
  let drawn = "";

  function redraw() {
    drawn = "";
    update();
  }
  function update() {
    const room = viewport.clientWidth;
    if (!room) return;
    const columns = Math.max(1, Math.floor((room + GAP) / (width + GAP)));
    const rows = Math.ceil(cards.length / columns);
    const first = Math.max(0, Math.floor(viewport.scrollTop / rowHeight) - 1);
    const last = Math.min(rows, Math.ceil((viewport.scrollTop + viewport.clientHeight) / rowHeight) + 1);
    const key = `${columns}:${first}:${last}`;
    if (key === drawn) return;
    drawn = key;
    sizer.style.height = `${rows * rowHeight}px`;
    shownRows.style.transform = `translateY(${first * rowHeight}px)`;
    shownRows.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const focused = shownRows.contains(document.activeElement) ? Number(document.activeElement.dataset.index) : -1;
    const inView = cards.slice(first * columns, last * columns);
    shownRows.replaceChildren(...inView.map((card, index) => draw(card, first * columns + index, cards.length)));
    shownRows.querySelector(`[data-index="${focused}"]`)?.focus({ preventScroll: true });
  }
  function move(event) {
    const index = Number(event.target.dataset?.index);
    const columns = getComputedStyle(shownRows).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (!step || Number.isNaN(index)) return;
    event.preventDefault();
    const next = Math.min(cards.length - 1, Math.max(0, index + step));
    const top = Math.floor(next / columns) * rowHeight;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    else if (top + rowHeight > viewport.scrollTop + viewport.clientHeight) viewport.scrollTop = top + rowHeight - viewport.clientHeight;
    update();
    shownRows.querySelector(`[data-index="${next}"]`)?.focus({ preventScroll: true });
  }

  viewport.addEventListener("scroll", () => requestAnimationFrame(update), { passive: true });
  viewport.addEventListener("keydown", move);
  new ResizeObserver(update).observe(viewport);
  return {
    show(list) {
      cards = list;
      viewport.scrollTop = 0;
      redraw();
    },
    /** Cards of about this width, in pixels. */
    resize(size) {
      width = size;
      rowHeight = Math.round(size * 1.02) + BELOW + GAP;
      viewport.style.setProperty("--card-height", `${rowHeight - GAP}px`);
      redraw();
    },
    redraw,
  };
}

function networkCard(card, shown) {
  const verb = shown.isActive ? "Remove" : "Add";
  const pick = element("button", { type: "button", className: "pick", "data-index": shown.index, "aria-pressed": String(shown.isActive), "aria-label": `${verb} ${card.name}` });
  pick.append(picture(card));
  pick.addEventListener("click", shown.onPick);
  const words = card.words.slice(0, 3).map((word) => element("span", { className: "chip", textContent: word }));
  const made = element("div", { className: `card${shown.isActive ? " active" : ""}${shown.otherBase ? " other" : ""}`, role: "listitem", "aria-setsize": shown.count, "aria-posinset": shown.index + 1 },
    pick,
    element("span", { className: `badge ${/^[\w-]+$/.test(card.base) ? card.base : ""}`, textContent: card.kind === "lora" ? baseName(card.base) : card.kind }),
    favouriteButton(card),
    element("div", { className: "name", title: card.name, textContent: card.bare }),
    element("div", { className: "chips", title: card.words.join(", ") }, ...words),
    element("div", { className: "foot" },
      element("span", { className: "weight", textContent: card.kind === "lora" ? card.weight.toFixed(2) : "" }),
      detailsButton(card, shown.onDetails)),
  );
  if (card.problem) made.title = card.problem;
  else if (shown.otherBase) made.title = `Made for ${baseName(card.base)}; the checkpoint is ${baseName(shown.otherBase)}.`;
  return made;
}

/** Its preview, else its initial on a colour of its own. */
function picture(card) {
  if (card.picture) return element("img", { loading: "lazy", decoding: "async", src: card.picture, alt: "" });
  const hue = [...card.name].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);
  const initial = element("span", { className: "initial", textContent: [...card.bare][0]?.toUpperCase() ?? "?" });
  initial.style.setProperty("--hue", hue);
  return initial;
}

function favouriteButton(card) {
  const star = element("button", { type: "button", className: "star", "aria-label": `Favourite ${card.name}`, "aria-pressed": String(favourites.has(card)), textContent: "★" });
  star.addEventListener("click", () => star.setAttribute("aria-pressed", favourites.toggle(card)));
  return star;
}

function detailsButton(card, onDetails) {
  const button = element("button", { type: "button", className: "about", "aria-label": `About ${card.name}`, textContent: "Details" });
  button.addEventListener("click", onDetails);
  return button;
}
