// What of a network the chosen checkpoint has a place for, as the list under the prompt tells it before generating.

import { element } from "./dom.js";
import { baseName } from "./bases.js";

const SHOWN = 3;

/** A mark for a row, and the sentences that stand in its panel; `follow(tag)` shows what is known of a tag. */
export function matchMark() {
  const mark = element("span", { className: "match" });
  const more = element("div", { className: "match-more", hidden: true });
  return {
    mark,
    more,
    follow(tag) {
      const { short, level, sentences } = described(tag);
      mark.hidden = !short;
      mark.className = `match ${level}`;
      mark.textContent = short;
      mark.title = sentences[0] ?? "";
      more.hidden = !sentences.length;
      more.replaceChildren(...sentences.map((text) => element("p", { textContent: text })));
    },
  };
}

function described({ match }) {
  if (!match) return { short: "", level: "", sentences: [] };
  if (!match.known && !match.reason) return { short: "…", level: "", sentences: ["Finding out what of it fits the checkpoint."] };
  if (!match.known) return { short: "?", level: "", sentences: [`What of it fits is not yet known. ${match.reason}`] };
  const amiss = match.unmatched + match.mismatched;
  const total = match.matched + amiss;
  const base = match.family === "unknown" ? "the checkpoint" : `the checkpoint (${baseName(match.family)})`;
  if (match.error) return { short: `0/${total}`, level: "error", sentences: [match.error, ...match.warnings] };
  if (!amiss) return { short: `✓ ${total}`, level: "", sentences: [`All ${total} modules of the file fit ${base}.`, ...match.warnings] };
  const counts = [[match.mismatched, "have another shape"], [match.unmatched, "have no place there"]];
  const said = counts.filter(([count]) => count).map(([count, what]) => `${count} ${what}`).join(" and ");
  return {
    short: `${match.matched}/${total}`,
    level: "warning",
    sentences: [`${match.matched} of ${total} modules fit ${base}; ${said}.`, `For example: ${match.examples.slice(0, SHOWN).join(", ")}`],
  };
}

/** The tags to underline because their networks do not fit the checkpoint. */
export function misfits(active) {
  const isAmiss = ({ off, match, other }) => !off && (match?.error || other);
  return active.filter(isAmiss).map(({ span, match }) => ({ span, level: match?.error ? "error" : "warning" }));
}

/** One line under a row for what keeps its network from being used; names like a missing one are offered. */
export function showProblem(line, tag, use) {
  const { problem = "", key, match, other, base, reason } = tag;
  line.replaceChildren();
  const isWrong = Boolean(match?.error);
  if (tag.off || !(problem || isWrong || other)) {
    line.hidden = true;
    return;
  }
  line.hidden = false;
  line.classList.toggle("warning", !problem && !isWrong);
  line.title = problem;
  if (!key) {
    line.append(tag.near?.length ? "Not found. Did you mean " : "Not found.");
    for (const name of tag.near ?? []) {
      const button = element("button", { type: "button", className: "near", title: `Name ${name} instead`, textContent: name });
      button.addEventListener("click", () => use(name));
      line.append(button, " ");
    }
  } else {
    // What the text says wrong stands above in full, with the other problems.
    line.title = problem || match?.error || "";
    line.append(problem ? "Not used" : isWrong ? misfit(tag) : `Made for ${baseName(base)} (${reason}); the checkpoint is ${baseName(other)}.`);
  }
}

/** Why nothing of a network is applied, in short; its panel has the whole sentence. */
function misfit({ base, reason, match }) {
  if (base === "unknown") return match.matched || match.unmatched || match.mismatched ? "Nothing of it is applied: it does not fit this checkpoint." : match.error;
  return `Made for ${baseName(base)} (${reason}): nothing of it is applied to this checkpoint.`;
}
