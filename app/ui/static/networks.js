// The Networks tab: what is searched for, filtered and sorted, as cards.

import { ask, present } from "./dom.js";
import { baseName } from "./bases.js";
import { networkCard } from "./cards.js";
import { showDetails } from "./details.js";
import { folderTree } from "./folders.js";
import { cardGrid } from "./grid.js";
import { styleTools } from "./styles.js";
import { networkLibrary, refreshLibrary, searchTest, takeMarks, watchLibrary } from "./library.js";

const LOOK_AGAIN = 5000;
const NARROW = "(max-width: 900px)";
const TREE = "patchbay.folders.shown";

/** Gives the tab its life when it is first opened; `picker` adds and removes, `watch(seen)` tells what is in use. */
export async function showNetworks(picker, watch) {
  const panel = (await present("#networks .viewport")).closest("section");
  const find = (selector) => panel.querySelector(selector);
  const grid = cardGrid(find(".viewport"), drawCard);
  const folders = folderDrawer(panel, () => filter());
  let all = [];
  let view = {};
  let active = new Set();
  let base = "unknown";
  let looked = Date.now();

  const isOther = (card) => base !== "unknown" && card.base !== "unknown" && card.base !== base && card.kind !== "checkpoint";
  function drawCard(card) {
    return networkCard(card, {
      isActive: active.has(card.key),
      otherBase: isOther(card) ? base : "",
      async onPick(event) {
        await picker.toggle(card);
        // Whoever came by keyboard or finger goes on from the card; the mouse leaves the cursor in the prompt.
        if (event.detail === 0 || event.pointerType === "touch") grid.focusCard(card);
      },
      onDetails: () => showDetails(find(".details"), card, reload, picker),
    });
  }
  /** Show what fits; `stay` where one has scrolled to. */
  function filter(stay = false) {
    const test = searchTest(find("input").value);
    const [kind, wantedBase, algorithm] = ["kind", "base", "algorithm"].map((name) => find(`.${name}`).value);
    const onlyFavourites = find(".favourites").ariaPressed === "true";
    const fitting = all.filter((card) => (!kind || card.kind === kind)
      && (!wantedBase || card.base === wantedBase)
      && (!algorithm || card.algorithms.includes(algorithm))
      && (view.others || !isOther(card))
      && (!onlyFavourites || card.favourite)
      && test(card));
    folders.count(fitting);
    const folder = folders.chosen();
    const shown = folder ? fitting.filter((card) => card.folder === folder || card.folder.startsWith(`${folder}/`)) : fitting;
    grid.show(sorted(shown, find(".sort").value), stay);
    const total = kind ? all.filter((card) => card.kind === kind).length : all.length;
    find(".count").textContent = shown.length === total ? `${total}` : `${shown.length} of ${total}`;
    find(".none").hidden = shown.length > 0;
    find(".empty").hidden = total > 0;
    find(".style-tools").hidden = kind !== "style";
  }
  function showFolders() {
    const kind = find(".kind").value;
    folders.show(all.filter((card) => !kind || card.kind === kind));
  }
  function take(library, stay = false) {
    showReading(find(".reading"), library.reading);
    if (!library.cards || library === view) return;
    view = library;
    all = library.cards;
    grid.resize(view.size);
    fillChoices(find(".base"), new Map(all.map((card) => [card.base, baseName(card.base)])));
    fillChoices(find(".algorithm"), new Map(all.flatMap((card) => card.algorithms.map((name) => [name, name]))));
    showFolders();
    filter(stay);
  }
  async function reload() {
    looked = Date.now();
    take(await refreshLibrary(), true);
  }
  const isByUse = () => ["last", "times"].includes(find(".sort").value);
  /** How often and when each was used is asked for when it is sorted by. */
  async function resort(stay = false) {
    if (isByUse()) await takeMarks(all);
    filter(stay);
  }
  async function askBase() {
    const name = document.querySelector("#checkpoint input")?.value;
    const answer = name ? await ask(`/app/base.json?checkpoint=${encodeURIComponent(name)}`) : { ok: false };
    base = answer.ok ? answer.base : "unknown";
    grid.redraw();
    filter(true);
  }

  find("input").addEventListener("input", () => filter());
  find("input").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "Enter") return;
    event.preventDefault();
    grid.focus(0);
  });
  find(".kind").addEventListener("change", showFolders);
  for (const choice of panel.querySelectorAll("select")) choice.addEventListener("change", () => resort());
  find(".favourites").addEventListener("click", (event) => {
    event.currentTarget.ariaPressed = String(event.currentTarget.ariaPressed !== "true");
    filter();
  });
  find(".refresh").addEventListener("click", reload);
  styleTools(find(".style-tools"), picker.boxes, reload, picker.say);
  listenToKeys(panel, find, picker);
  // Files may have come, and images been made, while another tab or window was in front.
  const lookAgain = () => panel.offsetParent && Date.now() - looked > LOOK_AGAIN && !document.querySelector("dialog[open]") && reload();
  window.addEventListener("focus", lookAgain);
  new IntersectionObserver(([seen]) => seen.isIntersecting && isByUse() && resort()).observe(panel);
  document.addEventListener("jobended", () => panel.offsetParent && isByUse() && resort(true));
  document.addEventListener("focusout", (event) => event.target.closest?.("#checkpoint") && setTimeout(askBase, 300));
  watch((keys) => {
    if (keys.size === active.size && [...keys].every((key) => active.has(key))) return;
    active = keys;
    grid.redraw();
  });
  watchLibrary((library) => take(library, true));
  take(await networkLibrary());
  askBase();
  // What the server knew is shown at once; what has come and gone since it looked follows.
  if (!view.reading) await reload();
}

/** "/" goes to the search from wherever nothing is typed; Ctrl+Z takes the last pick back. */
function listenToKeys(panel, find, picker) {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || isTyping || !panel.offsetParent || document.querySelector("dialog[open]")) return;
    find("input").focus();
    event.preventDefault();
  });
  panel.addEventListener("keydown", (event) => {
    if (event.target.matches("input, textarea") || document.querySelector("dialog[open]")) return;
    if (event.key !== "z" || !(event.ctrlKey || event.metaKey) || event.shiftKey) return;
    picker.undo();
    event.preventDefault();
  });
}

/** The tree beside the cards; on a narrow page, in a drawer. */
function folderDrawer(panel, onChoose) {
  const [place, button, drawer] = [".folders", ".show-folders", ".drawer"].map((selector) => panel.querySelector(selector));
  const narrow = window.matchMedia(NARROW);
  const tree = folderTree(place, () => {
    drawer.close();
    label();
    onChoose();
  });
  let isWanted = kept() !== "no";
  let hasFolders = false;

  function label() {
    const folder = tree.chosen();
    button.textContent = folder ? `Folder: ${folder.split("/").at(-1)}` : "Folders";
    button.title = folder;
  }
  function lay() {
    const isBeside = hasFolders && isWanted && !narrow.matches;
    place.hidden = !isBeside && !drawer.open;
    button.hidden = !hasFolders;
    button.setAttribute("aria-expanded", String(isBeside || drawer.open));
    panel.querySelector(".browse").classList.toggle("with-folders", isBeside);
  }
  button.addEventListener("click", () => {
    if (narrow.matches) {
      drawer.append(place);
      drawer.showModal();
      place.hidden = false;
      tree.focus();
    } else {
      isWanted = !isWanted;
      keep(isWanted ? "yes" : "no");
    }
    lay();
  });
  drawer.addEventListener("click", (event) => event.target === drawer && drawer.close());
  drawer.addEventListener("close", () => {
    panel.querySelector(".browse").prepend(place);
    lay();
    button.focus();
  });
  narrow.addEventListener("change", () => {
    drawer.close();
    lay();
  });
  return {
    show(cards) {
      hasFolders = tree.show(cards);
      label();
      lay();
    },
    count: tree.count,
    chosen: tree.chosen,
  };
}

/** Whether the tree was wanted beside the cards, in this browser. */
function kept() {
  try {
    return localStorage.getItem(TREE);
  } catch {
    return null;
  }
}

function keep(answer) {
  try {
    localStorage.setItem(TREE, answer);
  } catch { /* private browsing: for this visit only */ }
}

/** How far a first look at the folders has come. */
function showReading(line, reading) {
  const [done, total] = reading ?? [0, 0];
  line.hidden = !reading;
  line.querySelector("progress").max = Math.max(1, total);
  line.querySelector("progress").value = done;
  line.querySelector("span").textContent = reading ? (total ? `Reading what the files hold: ${done} of ${total}. Names can be searched already.` : "Looking at the folders…") : "";
}

function fillChoices(select, choices) {
  const chosen = select.value;
  const names = [...choices].sort((one, other) => (one[0] < other[0] ? -1 : 1));
  select.replaceChildren(select.options[0], ...names.map(([value, label]) => new Option(label, value)));
  select.value = choices.has(chosen) ? chosen : "";
}

function sorted(cards, by) {
  if (by === "name") return cards;
  return cards.toSorted((one, other) => other[by] - one[by]);
}
