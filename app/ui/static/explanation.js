// What the prompts mean, as one types: problems in words and in the text, tokens, strengths over the steps.

import { element, present, send } from "./dom.js";
import { highlightLayer } from "./highlight.js";
import { strengthPlot } from "./plot.js";

const CHECKPOINT = "#checkpoint input";
const PAUSE = 200;
const LOOK = 400;
const RETRY = 3000;
const PLOT_MARGIN = 22;
const STEPS = "#txt2img_steps input[type=number]";

/** Explains the two boxes whenever their text or the number of steps changes. */
export async function explainPrompts(prompt, negative) {
  const panel = await present("#explanation .problems");
  const view = explanationView(panel.closest("#explanation"));
  const watchers = [];
  let answered = { text: null, active: [] };
  const boxes = { prompt: annotated(prompt), negative: annotated(negative) };
  let asked = "";
  let timer = 0;

  const question = () => ({
    prompt: prompt.value,
    negative: negative.value,
    steps: Math.max(1, Math.min(1000, Math.round(Number(document.querySelector(STEPS)?.value)) || 20)),
    checkpoint: document.querySelector(CHECKPOINT)?.value ?? "",
  });
  const notify = () => watchers.forEach((watcher) => watcher(answered));
  async function explain() {
    const asking = question();
    const key = JSON.stringify(asking);
    if (key === asked) {
      // Changed and changed back: what follows the text must hear of that too.
      if (answered.text === prompt.value) notify();
      return;
    }
    asked = key;
    const answer = await send("/app/explain", asking);
    if (asked !== key) return;
    if (!answer.ok) {
      view.showProblems([{ level: "error", message: answer.detail }]);
      setTimeout(() => { asked = ""; }, RETRY);
      return;
    }
    answered = { ...answer, text: asking.prompt };
    notify();
    for (const [name, source] of [["prompt", "prompt"], ["negative", "negative_prompt"]]) {
      const problems = answer.problems.filter((problem) => problem.source === source);
      boxes[name].show(asking[name], problems, answer.tokens[name], name === "prompt" ? answer.networks : []);
    }
    view.showProblems(answer.problems);
    view.showAdded(answer.added);
    view.showPlot(answer);
  }
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(explain, PAUSE);
  };

  for (const box of [prompt, negative]) box.addEventListener("input", soon);
  // The form is also filled without an event: by Gradio, by a slider, after a reload.
  setInterval(() => document.visibilityState === "visible" && JSON.stringify(question()) !== asked && soon(), LOOK);
  explain();
  return {
    showStep: view.showStep,
    showMisfits: (box, text, problems) => boxes[box].showMisfits(text, problems),
    /** The explanation of the prompt as it stands now. */
    async explained() {
      if (answered.text !== prompt.value) await explain();
      return answered;
    },
    /** Calls `watcher` with every new explanation, and with the one there is. */
    watch(watcher) {
      watchers.push(watcher);
      if (answered.text !== null) watcher(answered);
    },
  };
}

function annotated(box) {
  const layer = highlightLayer(box);
  const count = element("output", { className: "tokens", title: "Tokens, of the chunks they fill", textContent: "0/75" });
  box.closest(".block").append(count);
  return {
    showMisfits: layer.showMisfits,
    show(text, problems, tokens, networks) {
      layer.show(text, problems, networks);
      count.textContent = `${tokens.tokens}/${tokens.limit}`;
      count.classList.toggle("long", tokens.limit > 75);
    },
  };
}

function explanationView(panel) {
  const problems = panel.querySelector(".problems");
  const schedule = panel.querySelector(".schedule");
  const plot = schedule.querySelector(".plot");
  const caption = schedule.querySelector("figcaption");
  let shownPlot = null;
  let shownProblems = "";
  let explained = null;

  function showPlot(explanation) {
    explained = explanation;
    const width = Math.max(240, schedule.parentElement.clientWidth - PLOT_MARGIN);
    shownPlot = strengthPlot(explanation, width);
    schedule.hidden = !shownPlot;
    plot.replaceChildren(...(shownPlot ? [shownPlot.drawing] : []));
    caption.replaceChildren(...(shownPlot ? [shownPlot.legend] : []));
  }
  new ResizeObserver(() => explained && showPlot(explained)).observe(panel);

  return {
    showProblems(list) {
      const key = JSON.stringify(list);
      if (key === shownProblems) return;
      shownProblems = key;
      problems.replaceChildren(...list.map(problemLine));
    },
    showPlot,
    showAdded(words) {
      panel.querySelector(".added").textContent = words.length ? `Trigger words added: ${words.join(", ")}` : "";
    },
    /** The line that moves over the plot while an image is made; step 0 hides it. */
    showStep(step) {
      const line = plot.querySelector(".playhead");
      if (!line) return;
      const place = step ? (shownPlot.at(step) + shownPlot.at(step + 1)) / 2 : -9;
      line.setAttribute("x1", place);
      line.setAttribute("x2", place);
    },
  };
}

/** A problem as a list entry: what, and what to do. */
export function problemLine(problem) {
  const where = problem.source === "negative_prompt" ? "Negative prompt: " : "";
  const line = element("li", { className: problem.level }, element("span", { textContent: where + problem.message }));
  if (problem.hint) line.append(" ", element("em", { textContent: problem.hint }));
  return line;
}
