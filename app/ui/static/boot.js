// Starts the page's scripts once Gradio has drawn what they need. What Gradio's events call is exported from here.

import { activeNetworks, networksInUse } from "./active.js";
import { present } from "./dom.js";
import { explainPrompts } from "./explanation.js";
import { connectForm, whenRecalled } from "./form.js";
import { connectButtons, listenToKeys } from "./keys.js";
import { networkLibrary } from "./library.js";
import { followJobs } from "./live.js";
import { showNetworks } from "./networks.js";
import { networkPicker } from "./picking.js";
import { readImages } from "./pnginfo.js";
import { enhancePrompt } from "./prompt.js";
import { resultsView } from "./results.js";
import { showSettings } from "./settings.js";
import { watchKeysAndStyles } from "./styles.js";
import { showTour } from "./tour.js";

export * from "./form.js";

async function start() {
  const prompt = await present("#txt2img_prompt textarea");
  const negative = await present("#txt2img_neg_prompt textarea");
  const notice = await present("#explanation .notice");
  const panel = await present("#results section");
  const say = (text) => { notice.textContent = text; };

  enhancePrompt(prompt, "Prompt");
  enhancePrompt(negative, "Negative prompt");
  listenToKeys();
  connectButtons([prompt, negative]);
  let showStep = () => {};
  const results = resultsView(panel, say, (step) => showStep(step));
  connectForm(say, results.current);
  followJobs(results.showState, results.showLost);
  readImages();
  showSettings();
  showTour(prompt);
  const explanation = await explainPrompts(prompt, negative);
  ({ showStep } = explanation);
  const picker = networkPicker(prompt, negative, say, results.current);
  const inUse = networksInUse(prompt, negative, explanation);
  inUse.watch(activeNetworks(notice.parentElement.querySelector(".active"), picker, say).show);
  showNetworks(picker, (seen) => watchKeysAndStyles(inUse, picker.boxes, seen));
  await whenRecalled.promise;
  document.body.classList.add("ready");
  // A large library takes a moment: it is fetched before the tab or a "<" asks for it.
  setTimeout(networkLibrary, 500);
}

start();
