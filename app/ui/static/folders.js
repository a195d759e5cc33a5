// The folders of the networks as a tree: counted, folded and unfolded, walked by keys.

import { element } from "./dom.js";

const UNFOLDED = "patchbay.folders";
const PAUSE = 600;

/** A tree in `place`; `onChoose(folder)` is called with the folder that is chosen, "" for all of them. */
export function folderTree(place, onChoose) {
  const unfolded = new Set(kept());
  let nodes = new Map();
  let counts = new Map();
  let chosen = "";
  let current = "";
  let typed = "";
  let last = 0;

  const parent = (folder) => folder.slice(0, Math.max(0, folder.lastIndexOf("/")));
  const isShown = (folder) => folder === "" || parent(folder) === "" || (unfolded.has(parent(folder)) && isShown(parent(folder)));
  const shown = () => [...nodes.keys()].filter(isShown);
  const item = (folder) => [...place.children].find((child) => child.dataset.folder === folder);

  function draw() {
    const hadFocus = place.contains(document.activeElement);
    if (!nodes.has(current) || !isShown(current)) current = nodes.has(chosen) && isShown(chosen) ? chosen : "";
    place.replaceChildren(...shown().map((folder) => treeItem(folder)));
    if (hadFocus) item(current)?.focus({ preventScroll: true });
  }
  function treeItem(folder) {
    const node = nodes.get(folder);
    const count = counts.get(folder) ?? 0;
    const made = element("div", {
      role: "treeitem", tabIndex: folder === current ? 0 : -1, "data-folder": folder, title: folder,
      "aria-level": node.level, "aria-setsize": node.of, "aria-posinset": node.place, "aria-selected": String(folder === chosen),
      className: count ? "" : "vacant",
    });
    made.style.setProperty("--level", node.level - 1);
    if (node.children && folder) made.setAttribute("aria-expanded", String(unfolded.has(folder)));
    made.append(
      element("span", { className: "twisty", "aria-hidden": "true" }),
      element("span", { className: "label", textContent: node.label }),
      element("span", { className: "many", textContent: String(count) }));
    return made;
  }
  function fold(folder, isOpen) {
    if (!nodes.get(folder)?.children || !folder) return;
    unfolded[isOpen ? "add" : "delete"](folder);
    keep([...unfolded].filter((name) => nodes.has(name)));
    draw();
  }
  function choose(folder) {
    chosen = current = folder;
    draw();
    onChoose(folder);
  }
  function go(folder) {
    if (folder === undefined) return;
    item(current)?.setAttribute("tabindex", "-1");
    current = folder;
    item(current)?.setAttribute("tabindex", "0");
    item(current)?.focus();
  }
  function walk(event) {
    const all = shown();
    const at = all.indexOf(current);
    const isOpen = unfolded.has(current);
    const hasMore = nodes.get(current)?.children > 0 && current;
    const moves = {
      ArrowDown: () => go(all[at + 1]),
      ArrowUp: () => go(all[at - 1]),
      Home: () => go(all[0]),
      End: () => go(all.at(-1)),
      ArrowRight: () => (hasMore && !isOpen ? fold(current, true) : hasMore && go(all[at + 1])),
      ArrowLeft: () => (hasMore && isOpen ? fold(current, false) : current && go(parent(current))),
      Enter: () => choose(current),
      " ": () => choose(current),
      "*": () => all.filter((folder) => parent(folder) === parent(current)).forEach((folder) => fold(folder, true)),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "/") return;
    if (moves[event.key]) moves[event.key]();
    else if (event.key.length === 1) seek(event.key, all, at);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
  /** Go to the next folder whose name begins with what is typed. */
  function seek(key, all, at) {
    typed = performance.now() - last < PAUSE ? typed + key.toLowerCase() : key.toLowerCase();
    last = performance.now();
    const from = typed.length > 1 ? at : at + 1;
    const order = [...all.slice(from), ...all.slice(0, from)];
    go(order.find((folder) => nodes.get(folder).label.toLowerCase().startsWith(typed)));
  }

  place.addEventListener("keydown", walk);
  place.addEventListener("focusin", (event) => {
    if (event.target.dataset.folder === undefined || event.target.dataset.folder === current) return;
    item(current)?.setAttribute("tabindex", "-1");
    current = event.target.dataset.folder;
    event.target.setAttribute("tabindex", "0");
  });
  place.addEventListener("click", (event) => {
    const clicked = event.target.closest("[role=treeitem]");
    if (!clicked) return;
    const { folder } = clicked.dataset;
    if (event.target.matches(".twisty") && clicked.ariaExpanded) {
      current = folder;
      fold(folder, !unfolded.has(folder));
    } else choose(folder);
  });
  return {
    /** The folders there are; whether there are any. */
    show(cards) {
      nodes = nodesOf(cards);
      if (!nodes.has(chosen)) chosen = "";
      draw();
      return nodes.size > 1;
    },
    /** How many of these cards lie in each folder and below it. */
    count(cards) {
      counts = new Map([["", cards.length]]);
      for (const { folder } of cards) {
        for (let above = folder; above; above = parent(above)) counts.set(above, (counts.get(above) ?? 0) + 1);
      }
      for (const child of place.children) {
        const count = counts.get(child.dataset.folder) ?? 0;
        child.lastChild.textContent = String(count);
        child.classList.toggle("vacant", !count);
      }
    },
    chosen: () => chosen,
    focus: () => item(current)?.focus(),
  };
}

/** Every folder, those between too, in the order of the tree: {label, level, children, place, of}. */
function nodesOf(cards) {
  const paths = new Set();
  for (const folder of new Set(cards.map((card) => card.folder).filter(Boolean))) {
    const parts = folder.split("/");
    parts.forEach((_, depth) => paths.add(parts.slice(0, depth + 1).join("/")));
  }
  const below = new Map([["", []]]);
  const order = (one, other) => one.localeCompare(other, undefined, { numeric: true, sensitivity: "base" });
  for (const path of [...paths].sort(order)) {
    const above = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    below.set(above, [...(below.get(above) ?? []), path]);
  }
  const nodes = new Map([["", { label: "All folders", level: 1, children: below.get("").length, place: 1, of: below.get("").length + 1 }]]);
  function add(above, level) {
    (below.get(above) ?? []).forEach((path, index, all) => {
      const first = above ? 1 : 2;
      nodes.set(path, { label: path.split("/").at(-1), level, children: below.get(path)?.length ?? 0, place: index + first, of: all.length + first - 1 });
      add(path, level + 1);
    });
  }
  add("", 1);
  return nodes;
}

function kept() {
  try {
    const names = JSON.parse(localStorage.getItem(UNFOLDED));
    return Array.isArray(names) ? names : [];
  } catch {
    return [];
  }
}

function keep(names) {
  try {
    localStorage.setItem(UNFOLDED, JSON.stringify(names));
  } catch { /* no room, or private browsing: the tree begins folded next time */ }
}
