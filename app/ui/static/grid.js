// A grid that holds only the cards one sees, however many there are.

const GAP = 8;
const UNDER_PICTURE = 78;
const NARROWEST = 110;

/** Draws the rows in view and two more with `draw(card)`; the scrollbar is that of all of them. */
export function cardGrid(viewport, draw) {
  const [sizer, shownRows] = [viewport.querySelector(".sizer"), viewport.querySelector(".window")];
  let [cardWidth, rowHeight] = [160, 0];
  let cards = [];
  let drawn = "";
  let columns = 1;
  let current = 0;
  let kept = new Map();

  const at = (index) => shownRows.querySelector(`[data-index="${index}"]`);
  /** Draw every card anew: what is shown of them has changed. */
  function redraw() {
    kept = new Map();
    drawn = "";
    update();
  }
  function update() {
    const width = viewport.clientWidth;
    if (!width) return;
    columns = Math.max(1, Math.floor((width + GAP) / (Math.min(cardWidth, Math.max(NARROWEST, width / 2 - GAP)) + GAP)));
    const rows = Math.ceil(cards.length / columns);
    const first = Math.max(0, Math.floor(viewport.scrollTop / rowHeight) - 1);
    const last = Math.min(rows, Math.ceil((viewport.scrollTop + viewport.clientHeight) / rowHeight) + 1);
    const key = `${columns}:${first}:${last}`;
    if (key === drawn) return;
    drawn = key;
    sizer.style.height = `${Math.max(0, rows * rowHeight - GAP)}px`;
    shownRows.style.transform = `translateY(${first * rowHeight}px)`;
    shownRows.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    const focused = shownRows.contains(document.activeElement) ? Number(document.activeElement.dataset.index ?? -1) : -1;
    const inView = cards.slice(first * columns, last * columns);
    // A card that was in view is the same element still: its picture does not blink.
    kept = new Map(inView.map((card) => [card, kept.get(card) ?? draw(card)]));
    inView.forEach((card, place) => number(kept.get(card), first * columns + place));
    shownRows.replaceChildren(...kept.values());
    markCurrent();
    if (focused >= 0) at(focused)?.focus({ preventScroll: true });
  }
  function number(node, index) {
    node.querySelector(".pick").dataset.index = index;
    node.setAttribute("aria-setsize", cards.length);
    node.setAttribute("aria-posinset", index + 1);
  }
  /** One card's buttons can be reached by Tab: the one last used, or the first in view. */
  function markCurrent() {
    const card = (at(current) ?? shownRows.querySelector("[data-index]"))?.parentElement;
    for (const button of shownRows.querySelectorAll("button")) button.tabIndex = button.parentElement === card || button.parentElement?.parentElement === card ? 0 : -1;
  }
  function go(index) {
    current = Math.min(cards.length - 1, Math.max(0, index));
    const top = Math.floor(current / columns) * rowHeight;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    else if (top + rowHeight > viewport.scrollTop + viewport.clientHeight) viewport.scrollTop = top + rowHeight - viewport.clientHeight;
    update();
    markCurrent();
    at(current)?.focus({ preventScroll: true });
  }
  function move(event) {
    const index = Number(event.target.dataset?.index ?? NaN);
    if (Number.isNaN(index) || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = columns * Math.max(1, Math.floor(viewport.clientHeight / rowHeight));
    const to = {
      ArrowLeft: index - 1, ArrowRight: index + 1, ArrowUp: index - columns, ArrowDown: index + columns,
      PageUp: index - page, PageDown: index + page, Home: 0, End: cards.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    if (to >= 0 || event.key !== "ArrowUp") go(to);
  }

  viewport.addEventListener("scroll", () => requestAnimationFrame(update), { passive: true });
  viewport.addEventListener("keydown", move);
  viewport.addEventListener("focusin", (event) => {
    const index = event.target.closest?.(".card")?.querySelector("[data-index]")?.dataset.index;
    if (index === undefined || Number(index) === current) return;
    current = Number(index);
    markCurrent();
  });
  new ResizeObserver(update).observe(viewport);
  return {
    /** These cards, from the first on, or (`stay`) from where one has scrolled to. */
    show(list, stay = false) {
      cards = list;
      if (!stay) [viewport.scrollTop, current] = [0, 0];
      drawn = "";
      update();
    },
    /** Cards at least `width` pixels wide. */
    resize(width) {
      cardWidth = width;
      rowHeight = Math.round(width * 1.1) + UNDER_PICTURE + GAP;
      viewport.style.setProperty("--card-height", `${rowHeight - GAP}px`);
    },
    focus: go,
    focusCard: (card) => go(cards.indexOf(card)),
    redraw,
  };
}
