// The tour: prompts to click, each with the picture it makes. Shown until it is closed; the button in the top line opens it.

import { ask, element, present } from "./dom.js";
import { fillForm, formNow } from "./form.js";

const KEY = "patchbay.tour";
const CLOSED = "closed";
const FRAMES = 120;
const INVITATION = "Click a prompt to try it.";

/** Gives the tour its life; its button stays away where there is nothing to show. */
export async function showTour(prompt) {
  const panel = (await present("#tour .stops")).closest("section");
  const find = (selector) => panel.querySelector(selector);
  let before = null;
  let picked = null;

  function open(isOpen) {
    panel.hidden = !isOpen;
    document.getElementById("tour_button")?.setAttribute("aria-expanded", isOpen);
    try {
      if (isOpen) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, CLOSED);
    } catch { /* private browsing: for this visit only */ }
  }
  function say(text, isFilled) {
    find(".said").textContent = text;
    find(".go").hidden = !isFilled;
    find(".back").hidden = !before;
  }
  function pick(stop, button) {
    before ??= formNow();
    picked = stop;
    fillForm(stop.fields);
    press(button);
    say(`“${stop.title}” is in the form.`, true);
  }
  function press(button) {
    for (const each of panel.querySelectorAll(".stop")) each.setAttribute("aria-pressed", each === button);
  }
  /** The form is the user's again. */
  function leave() {
    before = null;
    picked = null;
    press(null);
    say(INVITATION, false);
  }

  find(".close").addEventListener("click", () => {
    open(false);
    document.getElementById("tour_button")?.focus({ preventScroll: true });
  });
  find(".go").addEventListener("click", () => document.getElementById("txt2img_generate")?.click());
  find(".back").addEventListener("click", () => {
    fillForm(before);
    leave();
  });
  // Gradio fills the box without an event; whoever types makes one.
  prompt.addEventListener("input", (event) => {
    if (picked && event.isTrusted && prompt.value !== picked.prompt) leave();
  });
  document.addEventListener("click", async (event) => {
    if (!event.target.closest("#tour_button")) return;
    if (panel.hidden) await load();
    open(panel.hidden);
    if (panel.hidden) return;
    document.querySelector("#tabs [role=tab]")?.click(); // it stands in the first tab
    await shown(panel);
    find(".stop")?.focus();
  });

  async function load() {
    const answer = await ask("/app/tour.json");
    const stops = answer.stops ?? [];
    document.body.classList.toggle("no-tour", answer.ok && !stops.length);
    find(".stops").replaceChildren(...stops.map((stop) => stopItem(stop, pick)));
    say(answer.ok ? INVITATION : answer.detail, false);
    return stops.length > 0 || !answer.ok;
  }

  open(await load() && !isClosed());
}

/** Once it can be seen: Gradio takes a moment to show another tab. */
async function shown(place) {
  for (let frames = 0; !place.offsetParent && frames < FRAMES; frames += 1) await new Promise(requestAnimationFrame);
}

function isClosed() {
  try {
    return localStorage.getItem(KEY) === CLOSED;
  } catch {
    return false;
  }
}

function stopItem(stop, onPick) {
  const button = element("button", { type: "button", className: "stop", "aria-pressed": "false" });
  button.append(
    stop.picture ? element("img", { src: stop.picture, alt: "", width: 72, height: 72 }) : element("span", { className: "blank" }),
    element("span", { className: "words" },
      element("b", { textContent: stop.title }),
      element("span", { className: "line", textContent: stop.line }),
      element("code", { textContent: stop.prompt })),
  );
  button.addEventListener("click", () => onPick(stop, button));
  return element("li", {}, button);
}
