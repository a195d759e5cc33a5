// Small helpers for building and changing the page. Text only ever enters through textContent.

/** An element with properties or attributes, and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made && name !== "list" && name !== "role") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** An SVG element. */
export function drawn(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const waiting = new Map();
let observer = null;

function settle() {
  for (const [selector, resolve] of waiting) {
    const found = document.querySelector(selector);
    if (!found) continue;
    waiting.delete(selector);
    for (const done of resolve) done(found);
  }
  if (!waiting.size) {
    observer?.disconnect();
    observer = null;
  }
}

/** The first element that matches, as soon as there is one: Gradio mounts a tab's content when it is opened. */
export function present(selector) {
  return new Promise((resolve) => {
    waiting.set(selector, [...(waiting.get(selector) ?? []), resolve]);
    observer ??= new MutationObserver(settle);
    observer.observe(document.body, { childList: true, subtree: true });
    settle();
  });
}

/** Replace part of a text box so that Ctrl+Z takes it back and Gradio learns of it. */
export function replaceText(box, start, end, text) {
  if (box.offsetParent) {
    box.focus();
    box.setSelectionRange(start, end);
    const command = text ? ["insertText", false, text] : ["delete"];
    if (start === end && !text) return;
    if (document.execCommand(...command)) return;
  }
  setText(box, box.value.slice(0, start) + text + box.value.slice(end));
}

/** Set a box's whole text without moving the focus to it; Ctrl+Z does not know of it. */
export function setText(box, text) {
  const setter = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
  setter.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

/** For every code point of a text (and its end), its place in the string: the server counts code points. */
export function codePointOffsets(text) {
  const offsets = [];
  let place = 0;
  for (const character of text) {
    offsets.push(place);
    place += character.length;
  }
  offsets.push(place);
  return offsets;
}

/**
 * Ask a route: the answer's JSON, with `ok` and the `etag` it came with. A refusal comes back as {detail, problems}, like
 * every answer that could not be had.
 */
export async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    return { ok: false, detail: "The server does not answer. It may be restarting; nothing you typed is lost." };
  }
  const isJson = answer.status !== 204 && answer.headers.get("content-type")?.includes("json");
  const body = isJson ? await answer.json() : {};
  if (answer.ok) return { ok: true, etag: answer.headers.get("etag"), ...body };
  const detail = typeof body.detail === "string" ? body.detail : `The server refused this (${answer.status}).`;
  return { ok: false, detail, problems: body.problems ?? [] };
}

/** POST a JSON value. */
export function send(address, value) {
  const headers = { "content-type": "application/json" };
  return ask(address, { method: "POST", headers, body: JSON.stringify(value) });
}
