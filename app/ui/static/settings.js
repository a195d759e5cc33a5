// The Settings tab, made from what the server says of its settings. A change is saved as it is made.

import { ask, element, present, send } from "./dom.js";

/** Gives the tab its life when it is first opened. */
export async function showSettings() {
  const panel = (await present("#settings_tab nav")).closest("section");
  const find = (selector) => panel.querySelector(selector);
  let sections = [];
  let chosen = "";

  function draw() {
    const words = find("input").value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (field, section) => words.every((word) => `${field.title} ${field.description} ${field.key} ${section.title}`.toLowerCase().includes(word));
    const shown = words.length
      ? sections.map((section) => ({ ...section, fields: section.fields.filter((field) => fits(field, section)) })).filter((section) => section.fields.length)
      : sections.filter((section) => section.name === chosen);
    find("nav").replaceChildren(...sections.map((section) => {
      const isShown = shown.some((each) => each.name === section.name);
      const button = element("button", { type: "button", textContent: section.title, "aria-current": String(isShown) });
      button.addEventListener("click", () => {
        find("input").value = "";
        chosen = section.name;
        draw();
      });
      return button;
    }));
    find(".pages").replaceChildren(...shown.map((section) => element("fieldset", {},
      element("legend", { textContent: section.title }),
      element("p", { className: "about", textContent: section.about }),
      ...section.fields.map((field) => fieldRow(field, save, reset)))));
    if (!shown.length) find(".pages").replaceChildren(element("p", { textContent: "No setting has these words." }));
  }
  function take(answer) {
    if (!answer.ok) {
      say(answer.detail, true);
      return;
    }
    sections = answer.sections;
    chosen ||= sections[0]?.name;
    draw();
  }
  function say(text, isBad = false) {
    find(".said").textContent = text;
    find(".said").classList.toggle("bad", isBad);
  }
  async function save(field, value) {
    const answer = await send("/app/settings", { [field.key]: value });
    take(answer);
    if (answer.ok) say(`${field.title}: saved.`);
  }
  async function reset(field) {
    const answer = await send("/app/settings/reset", { keys: [field.key] });
    take(answer);
    if (answer.ok) say(`${field.title}: as it was.`);
  }

  find("input").addEventListener("input", draw);
  take(await ask("/app/settings.json"));
}

function fieldRow(field, save, reset) {
  const control = CONTROLS[field.kind](field);
  const id = `setting-${field.key.replace(".", "-")}`;
  control.input.id = id;
  control.input.disabled = field.locked;
  control.input.addEventListener("change", () => save(field, control.read()));
  const row = element("div", { className: "setting" },
    element("label", { htmlFor: id }, element("span", { textContent: field.title }), element("small", { textContent: field.description }),
      ...(field.locked ? [element("em", { textContent: "Locked: set by the command line or the environment" })] : [])),
    control.input);
  if (!field.locked && JSON.stringify(field.value) !== JSON.stringify(field.default)) {
    const back = element("button", { type: "button", className: "tool", textContent: "Default", "aria-label": `${field.title}: back to the default` });
    back.addEventListener("click", () => reset(field));
    row.append(back);
  }
  return row;
}

const CONTROLS = {
  switch(field) {
    const input = element("input", { type: "checkbox", checked: field.value });
    return { input, read: () => input.checked };
  },
  choice(field) {
    const input = element("select", {}, ...field.choices.map((choice) => new Option(choice, choice, false, choice === field.value)));
    return { input, read: () => input.value };
  },
  number(field) {
    const input = element("input", { type: "number", step: field.step, value: field.value ?? "", placeholder: field.optional ? "automatic" : "" });
    if (field.low !== null) input.min = field.low;
    if (field.high !== null) input.max = field.high;
    return { input, read: () => (input.value === "" && field.optional ? null : Number(input.value)) };
  },
  lines(field) {
    const input = element("textarea", { rows: Math.max(2, field.value.length + 1), value: field.value.join("\n"), placeholder: "One a line" });
    return { input, read: () => input.value.split("\n").map((line) => line.trim()).filter(Boolean) };
  },
  text(field) {
    const input = element("input", { type: "text", value: field.value ?? "" });
    return { input, read: () => input.value };
  },
};
