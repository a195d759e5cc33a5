// One network as a card: its picture, name, base model, trigger words, strength, and a star.

import { baseName } from "./bases.js";
import { element } from "./dom.js";
import { favour } from "./library.js";

/** The card; `shown` tells whether it is in use and which other base the checkpoint has, and does what its buttons say. */
export function networkCard(card, shown) {
  const verb = { checkpoint: "Use", vae: "Use" }[card.kind] ?? (shown.isActive ? "Remove" : "Add");
  const pick = element("button", { type: "button", className: "pick", "aria-pressed": String(shown.isActive), "aria-label": `${verb} ${card.name}` });
  pick.append(picture(card));
  pick.addEventListener("click", shown.onPick);
  const words = card.words.slice(0, 3).map((word) => element("span", { className: "chip", textContent: word }));
  const made = element("div", { className: `card${shown.isActive ? " active" : ""}${shown.otherBase ? " other" : ""}`, role: "listitem" },
    pick,
    ...(card.kind === "style" ? [] : [
      element("span", { className: `badge ${/^[\w-]+$/.test(card.base) ? card.base : ""}`, textContent: card.unread ? "…" : baseName(card.base) }),
    ]),
    favouriteButton(card),
    element("div", { className: "name", title: card.name, textContent: card.bare }),
    element("div", { className: "chips", title: card.words.join(", ") }, ...words),
    element("div", { className: "foot" },
      element("span", { className: "weight", textContent: card.add.startsWith("<") && !card.unread ? card.weight.toFixed(2) : "" }),
      detailsButton(card, shown.onDetails)),
  );
  pick.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "i") shown.onDetails();
    else if (event.key === "f") made.querySelector(".star")?.click();
  });
  remark(card, shown.otherBase, made, pick);
  return made;
}

/** What keeps it from being used with the checkpoint, or at all. */
function remark(card, otherBase, made, pick) {
  const said = card.problem || (otherBase && `Made for ${baseName(card.base)}; the checkpoint is ${baseName(otherBase)}.`);
  if (!said) return;
  const id = `remark-${card.key}`;
  made.title = said;
  made.append(element("span", { id, className: card.problem ? "remark broken" : "remark", textContent: card.problem ? "Cannot be read" : `Not for ${baseName(otherBase)}` }));
  pick.setAttribute("aria-describedby", id);
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
  const button = element("button", { type: "button", className: "about", "aria-label": `Details of ${card.name}`, textContent: "Details" });
  button.addEventListener("click", onDetails);
  return button;
}
