// The PNG Info tab: read an image's settings without changing the form, until asked to.

import { ask, present } from "./dom.js";
import { fillForm } from "./form.js";
import { acceptFiles } from "./prompt.js";
import { copyText } from "./copying.js";

/** Gives the tab its life, when it is first opened. */
export async function readImages() {
  const zone = await present("#pnginfo .dropzone");
  const panel = zone.closest("#pnginfo");
  const find = (selector) => panel.querySelector(selector);
  const image = find("img");
  let read = null;

  async function take(file) {
    if (image.src) URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file);
    image.hidden = false;
    image.alt = file.name;
    const answer = await ask("/app/pnginfo", { method: "POST", body: file });
    read = answer.ok && answer.infotext ? answer : null;
    find(".infotext").textContent = read?.infotext ?? "";
    find(".notice").textContent = answer.ok ? (read ? "" : "This image carries no parameters.") : answer.detail;
    for (const button of panel.querySelectorAll(".tool")) button.disabled = !read;
  }

  acceptFiles(zone, take);
  find("input").addEventListener("change", (event) => event.target.files[0] && take(event.target.files[0]));
  find(".apply").addEventListener("click", () => {
    fillForm(read.fields);
    document.querySelector("#tabs button[role=tab]")?.click();
  });
  find(".copy").addEventListener("click", () => copyText(find(".copy"), read.infotext));
}
