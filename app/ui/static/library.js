// The cards of all networks, fetched once and shared: the grid, the completion and the list under the prompt use them.

import { send } from "./dom.js";

const KEYS = { added: "patchbay.added", favourites: "patchbay.favourites", uses: "patchbay.uses" };

/** A record kept in this browser; unreadable or refused storage is an empty one. */
function kept(key) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? {};
  } catch {
    return {};
  }
}
function keep(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch { /* no room, or private browsing */ }
}

const NOTHING = { cards: [], size: 150, others: true };
let library = null;

/** The cards and how they are shown: {cards, size, others}. Asked for once, and again by `refreshLibrary`. */
export function networkLibrary() {
  library ??= fetch("/app/networks.json").then(async (answer) => {
    const held = answer.ok ? await answer.json() : NOTHING;
    for (const card of held.cards) {
      card.haystack = [card.name, card.title, card.base, card.hash, card.text, ...card.words, ...card.tags].join("\n").toLowerCase();
    }
    return held;
  }).catch(() => NOTHING);
  return library;
}

/** Every card. */
export const networkCards = async () => (await networkLibrary()).cards;

/** Have the server look at the folders again. */
export async function refreshLibrary() {
  await send("/app/networks/refresh");
  library = null;
  return networkLibrary();
}

/** A test for a search: words must all be there, `a|b` one of them, `-c` must not, `"a b"` as it stands. */
export function searchTest(query) {
  const terms = [...query.toLowerCase().matchAll(/(-?)(?:"([^"]*)"?|(\S+))/g)].map(([, minus, exact, plain]) => ({
    wanted: !minus,
    options: (exact === undefined ? plain.split("|") : [exact]).filter(Boolean),
  })).filter((term) => term.options.length);
  return (card) => terms.every((term) => term.wanted === term.options.some((option) => card.haystack.includes(option)));
}

/** Which cards are favourites. */
export const favourites = {
  has: (card) => Boolean(kept(KEYS.favourites)[card.name]),
  toggle(card) {
    const all = kept(KEYS.favourites);
    if (all[card.name]) delete all[card.name];
    else all[card.name] = 1;
    keep(KEYS.favourites, all);
    return Boolean(all[card.name]);
  },
  all: () => kept(KEYS.favourites),
};

/** How often and when each was added to the prompt. */
export const uses = {
  all: () => kept(KEYS.uses),
  count(card) {
    const all = kept(KEYS.uses);
    all[card.name] = { times: (all[card.name]?.times ?? 0) + 1, last: Date.now() };
    keep(KEYS.uses, all);
  },
};

/** What a click added with each network, so that a second click takes exactly that away. */
export const additions = {
  get: (card) => kept(KEYS.added)[card.name] ?? { words: [], negative: "" },
  set(card, value) {
    const all = kept(KEYS.added);
    if (value) all[card.name] = value;
    else delete all[card.name];
    keep(KEYS.added, all);
  },
};
