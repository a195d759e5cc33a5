// The cards of all networks, fetched once and shared: the grid, the completion and the list under the prompt use them.

import { ask, send } from "./dom.js";

const ADDED = "patchbay.added";
const NOTHING = { cards: [], size: 160, others: true };

let known = null;

/** The cards and how they are shown: {cards, size, others}. Asked for once, and again by `refreshLibrary`. */
export function networkLibrary() {
  known ??= ask("/app/networks.json").then((answer) => {
    if (!answer.ok) {
      known = null;
      return NOTHING;
    }
    for (const card of answer.cards) {
      card.haystack = [card.name, card.title, card.base, card.hash, card.text, ...card.words, ...card.tags].join("\n").toLowerCase();
    }
    return answer;
  });
  return known;
}

/** The cards alone. */
export async function networkCards() {
  return (await networkLibrary()).cards;
}

/** Have the server look at the folders again. */
export async function refreshLibrary() {
  await send("/app/networks/refresh");
  known = null;
  return networkLibrary();
}

/** A route about a card. */
export const cardRoute = (card, action) => `/app/networks/${card.kind}/${action}/${card.key}`;

/** A test for a search: words must all be there, `a|b` one of them, `-c` must not, `"a b"` as it stands. */
export function searchTest(query) {
  const terms = [...query.toLowerCase().matchAll(/(-?)(?:"([^"]*)"?|(\S+))/g)].map(([, minus, exact, plain]) => ({
    wanted: !minus,
    options: (exact === undefined ? plain.split("|") : [exact]).filter(Boolean),
  })).filter((term) => term.options.length);
  return (card) => terms.every((term) => term.wanted === term.options.some((option) => card.haystack.includes(option)));
}

/** Make a card a favourite, or no longer; whether it is one. */
export async function favour(card) {
  const answer = await send(cardRoute(card, "favourite"), { favourite: !card.favourite });
  if (answer.ok) card.favourite = answer.favourite;
  return card.favourite;
}

/** What a click added with each network, kept in this browser, so that a second click takes exactly that away. */
export const additions = {
  get: (card) => kept()[card.key] ?? null,
  set(card, value) {
    const all = kept();
    if (value) all[card.key] = value;
    else delete all[card.key];
    try {
      localStorage.setItem(ADDED, JSON.stringify(all));
    } catch { /* no room, or private browsing: a second click takes the tag alone */ }
  },
};

function kept() {
  try {
    return JSON.parse(localStorage.getItem(ADDED)) ?? {};
  } catch {
    return {};
  }
}
