// The Networks tab: a grid that holds only the cards one sees, however many there are.

import { ask, element, present } from "./dom.js";
import { showDetails } from "./details.js";
import { styleTools } from "./styles.js";
import { favour, networkLibrary, refreshLibrary, searchTest } from "./library.js";

const GAP = 8;
const UNDER_PICTURE = 78;
const LOOK_AGAIN = 5000;
const NAMES = { sd15: "SD 1.5", sd2: "SD 2", sdxl: "SDXL", "sdxl-refiner": "Refiner", sd3: "SD 3", flux: "Flux", chroma: "Chroma" };

/** The name of a base model as people write it. */
export const baseName = (base) => NAMES[base] ?? (base === "unknown" ? "?" : base);

/** Gives the tab its life when it is first opened; `picker` adds and removes, `watch(seen)` tells what is in use. */
export async function showNetworks(picker, watch) {
  const panel = (await present("#networks .viewport")).closest("section");
  const find = (selector) => panel.querySelector(selector);
  const grid = cardGrid(find(".viewport"), drawCard);
  let all = [];
  let view = {};
  let active = new Set();
  let base = "unknown";
  let looked = Date.now();

  const isOther = (card) => base !== "unknown" && card.base !== "unknown" && card.base !== base && card.kind !== "checkpoint";
  function drawCard(card, index, count) {
    return networkCard(card, {
      index,
      count,
      isActive: active.has(card.key),
      otherBase: isOther(card) ? base : "",
      async onPick(event) {
        await picker.toggle(card);
        // Whoever came by keyboard or finger goes on from the card; the mouse leaves the cursor in the prompt.
        if (event.detail === 0 || event.pointerType === "touch") grid.focus(index);
      },
      onDetails: () => showDetails(find(".details"), card, reload, picker),
    });
  }
  function filter() {
    const test = searchTest(find("input").value);
    const [kind, wantedBase, algorithm, folder] = ["kind", "base", "algorithm", "folder"].map((name) => find(`.${name}`).value);
    const onlyFavourites = find(".favourites").ariaPressed === "true";
    const shown = all.filter((card) => test(card)
      && (!kind || card.kind === kind)
      && (!wantedBase || card.base === wantedBase)
      && (!algorithm || card.algorithms.includes(algorithm))
      && (!folder || card.folder === folder || card.folder.startsWith(`${folder}/`))
      && (view.others || !isOther(card))
      && (!onlyFavourites || card.favourite));
    grid.show(sorted(shown, find(".sort").value));
    const total = kind ? all.filter((card) => card.kind === kind).length : all.length;
    find(".count").textContent = shown.length === total ? `${total}` : `${shown.length} of ${total}`;
    find(".none").hidden = shown.length > 0;
    find(".empty").hidden = total > 0;
    find(".style-tools").hidden = kind !== "style";
  }
  function take(library) {
    view = library;
    all = library.cards;
    grid.resize(view.size);
    fillChoices(find(".base"), new Map(all.map((card) => [card.base, baseName(card.base)])));
    fillChoices(find(".algorithm"), new Map(all.flatMap((card) => card.algorithms.map((name) => [name, name]))));
    fillChoices(find(".folder"), foldersOf(all));
    filter();
  }
  async function reload() {
    looked = Date.now();
    take(await refreshLibrary());
  }
  async function askBase() {
    const name = document.querySelector("#checkpoint input")?.value;
    const answer = name ? await ask(`/app/base.json?checkpoint=${encodeURIComponent(name)}`) : { ok: false };
    base = answer.ok ? answer.base : "unknown";
    filter();
  }

  find("input").addEventListener("input", filter);
  find("input").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown") return;
    event.preventDefault();
    grid.focus(0);
  });
  for (const choice of panel.querySelectorAll("select")) choice.addEventListener("change", filter);
  find(".favourites").addEventListener("click", (event) => {
    event.currentTarget.ariaPressed = String(event.currentTarget.ariaPressed !== "true");
    filter();
  });
  find(".refresh").addEventListener("click", reload);
  styleTools(find(".style-tools"), picker.boxes, reload, picker.say);
  panel.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea") || find("dialog").open) return;
    if (event.key === "/") find("input").focus();
    else if (event.key === "z" && (event.ctrlKey || event.metaKey) && !event.shiftKey) picker.undo();
    else return;
    event.preventDefault();
  });
  // Files may have come while another window was in front.
  window.addEventListener("focus", () => panel.offsetParent && Date.now() - looked > LOOK_AGAIN && !find("dialog").open && reload());
  document.querySelector("#checkpoint")?.addEventListener("focusout", () => setTimeout(askBase, 300));
  watch((keys) => {
    active = keys;
    grid.redraw();
  });
  take(await networkLibrary());
  askBase();
}

function fillChoices(select, choices) {
  const chosen = select.value;
  const names = [...choices].sort((one, other) => (one[0] < other[0] ? -1 : 1));
  select.replaceChildren(select.options[0], ...names.map(([value, label]) => new Option(label, value)));
  select.value = choices.has(chosen) ? chosen : "";
}

/** Every folder, those between too, indented by its depth. */
function foldersOf(cards) {
  const folders = new Map();
  for (const folder of new Set(cards.map((card) => card.folder).filter(Boolean))) {
    const parts = folder.split("/");
    parts.forEach((part, depth) => folders.set(parts.slice(0, depth + 1).join("/"), "\u2003".repeat(depth) + part));
  }
  return folders;
}

function sorted(cards, by) {
  if (by === "name") return cards;
  return cards.toSorted((one, other) => other[by] - one[by]);
}

/** Draws the rows in view and two more; the scrollbar is that of all of them. */
function cardGrid(viewport, draw) {
  const [sizer, shownRows] = [viewport.querySelector(".sizer"), viewport.querySelector(".window")];
  let [cardWidth, rowHeight] = [160, 0];
  let cards = [];
  let drawn = "";

  function redraw() {
    drawn = "";
    update();
  }
  function update() {
    const width = viewport.clientWidth;
    if (!width) return;
    const columns = Math.max(1, Math.floor((width + GAP) / (Math.min(cardWidth, width / 2 - GAP) + GAP)));
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
    /** Cards at least `width` pixels wide. */
    resize(width) {
      cardWidth = width;
      rowHeight = Math.round(width * 1.1) + UNDER_PICTURE + GAP;
      viewport.style.setProperty("--card-height", `${rowHeight - GAP}px`);
    },
    focus: (index) => shownRows.querySelector(`[data-index="${index}"]`)?.focus({ preventScroll: true }),
    redraw,
  };
}

function networkCard(card, shown) {
  const verb = { checkpoint: "Use", vae: "Use" }[card.kind] ?? (shown.isActive ? "Remove" : "Add");
  const pick = element("button", { type: "button", className: "pick", "data-index": shown.index, "aria-pressed": String(shown.isActive), "aria-label": `${verb} ${card.name}` });
  pick.append(picture(card));
  pick.addEventListener("click", shown.onPick);
  const words = card.words.slice(0, 3).map((word) => element("span", { className: "chip", textContent: word }));
  const made = element("div", { className: `card${shown.isActive ? " active" : ""}${shown.otherBase ? " other" : ""}`, role: "listitem", "aria-setsize": shown.count, "aria-posinset": shown.index + 1 },
    pick,
    ...(card.kind === "style" ? [] : [element("span", { className: `badge ${/^[\w-]+$/.test(card.base) ? card.base : ""}`, textContent: baseName(card.base) })]),
    favouriteButton(card),
    element("div", { className: "name", title: card.name, textContent: card.bare }),
    element("div", { className: "chips", title: card.words.join(", ") }, ...words),
    element("div", { className: "foot" },
      element("span", { className: "weight", textContent: card.add.startsWith("<") ? card.weight.toFixed(2) : "" }),
      detailsButton(card, shown.onDetails)),
  );
  const remark = card.problem || (shown.otherBase && `Made for ${baseName(card.base)}; the checkpoint is ${baseName(shown.otherBase)}.`);
  if (remark) {
    const id = `remark-${card.key}`;
    made.title = remark;
    made.append(element("span", { id, className: card.problem ? "remark broken" : "remark", textContent: card.problem ? "Cannot be read" : `For ${baseName(card.base)}` }));
    pick.setAttribute("aria-describedby", id);
  }
  return made;
}

/** Its preview, else its initial on a colour of its own. */
function picture(card) {
  if (card.picture && !card.pictureFailed) {
    const image = element("img", { loading: "lazy", decoding: "async", src: card.picture, alt: "" });
    image.addEventListener("error", () => {
      card.pictureFailed = true;
      image.replaceWith(picture(card));
    });
    return image;
  }
  const hue = [...card.name].reduce((sum, character) => (sum * 31 + character.codePointAt(0)) % 360, 7);
  const initial = element("span", { className: "initial", textContent: [...card.bare][0]?.toUpperCase() ?? "?" });
  initial.style.setProperty("--hue", hue);
  return initial;
}

function favouriteButton(card) {
  const star = element("button", { type: "button", className: "star", "aria-label": `Favourite ${card.name}`, "aria-pressed": String(card.favourite), textContent: "★" });
  star.addEventListener("click", async () => star.setAttribute("aria-pressed", await favour(card)));
  return star;
}

function detailsButton(card, onDetails) {
  const button = element("button", { type: "button", className: "about", "aria-label": `About ${card.name}`, textContent: "Details" });
  button.addEventListener("click", onDetails);
  return button;
}
