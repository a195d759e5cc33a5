// The cards of all networks, fetched once and shared: the grid, the completion and the list under the prompt use them.

import { baseName } from "./bases.js";
import { ask, send } from "./dom.js";
import { styleCards } from "./styles.js";

const ADDED = "patchbay.added";
const NOTHING = { cards: [], size: 160, others: true };

const LOOK = 400;
const MORE_CARDS = 1500;
const RESPITE = 8;
const watchers = [];

let known = null;

/**
 * The cards and how they are shown: {cards, size, others, reading}. Asked for once, and again by `refreshLibrary`.
 * `reading` is [done, of how many] while the server looks at its folders for the first time; until then cards may be
 * names alone, and come again by themselves.
 */
export function networkLibrary() {
  known ??= fetched();
  return known;
}

async function fetched() {
  const began = performance.now();
  const [answer, styles] = await Promise.all([ask("/app/networks.json"), styleCards()]);
  if (!answer.ok) {
    known = null;
    return NOTHING;
  }
  for (const card of answer.cards) {
    card.haystack = [card.name, card.title, card.base, baseName(card.base), card.hash, card.text, ...card.words, ...card.tags].join("\n").toLowerCase();
  }
  const version = `${answer.etag} ${JSON.stringify(styles)}`;
  const library = { ...answer, version, cards: [...answer.cards, ...styles] };
  if (library.reading) followReading(Math.max(MORE_CARDS, RESPITE * (performance.now() - began)));
  return library;
}

/** Tell how the first look goes on, and fetch the cards again after a while and at its end. */
async function followReading(pause) {
  const until = performance.now() + pause;
  for (;;) {
    await new Promise((done) => setTimeout(done, LOOK));
    const { reading } = await ask("/app/networks/reading.json");
    for (const watcher of watchers) watcher({ reading });
    if (reading && performance.now() < until) continue;
    const library = await (known = fetched());
    if (library !== NOTHING) for (const watcher of watchers) watcher(library);
    return;
  }
}

/** Calls `watcher` with {reading} during a first look, and with the library whenever it has more. */
export const watchLibrary = (watcher) => watchers.push(watcher);

/** The cards alone. */
export async function networkCards() {
  return (await networkLibrary()).cards;
}

/** Have the server look at the folders again: the library as it is now, which is the same object where nothing changed. */
export async function refreshLibrary() {
  await send("/app/networks/refresh");
  const before = known;
  known = fetched();
  const [old, now] = await Promise.all([before, known]);
  if (!now.version || now.version !== old?.version) return now;
  known = before;
  return old;
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

/** Learn how often and when each card was used. */
export async function takeMarks(cards) {
  const answer = await ask("/app/networks/marks.json");
  if (answer.ok) for (const card of cards) Object.assign(card, answer.marks[card.key]);
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
