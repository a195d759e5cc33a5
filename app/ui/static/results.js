// Beside the form: how far the job is, the image being made, the images made, and how.

import { send } from "./dom.js";
import { duration, galleryView } from "./gallery.js";

const TITLE = "Patchbay";
const DOING = { loading: "Loading the model", encoding: "Reading the prompt", decoding: "Decoding" };

/**
 * Draws into the panel; `say(text)` shows an error, `showStep(step)` moves the plot's playhead.
 * The panel sends the event "jobended" after each of this browser's jobs.
 */
export function resultsView(panel, say, showStep) {
  const find = (selector) => panel.querySelector(selector);
  const gallery = galleryView(panel);
  let toldJob = null;
  let wasBusy = false;
  let wanted = null;
  let fetching = false;

  function showState(state) {
    const running = state.jobs.find((job) => job.state !== "queued");
    const waiting = state.jobs.filter((job) => job.state === "queued");
    const busy = state.jobs.length > 0;
    document.body.classList.toggle("busy", busy);
    showProgress(running, waiting, state.queue);
    showPreview(running);
    gallery.follow(running, state.recent);
    if (busy !== wasBusy) announce(busy ? "Generating" : "Finished");
    wasBusy = busy;
    if (state.last && state.last.id !== toldJob) {
      toldJob = state.last.id;
      panel.dispatchEvent(new Event("jobended", { bubbles: true }));
      if (state.last.error) say(state.last.error);
    }
  }

  function showProgress(running, waiting, queue) {
    const fraction = running?.steps ? running.step / running.steps : 0;
    const bar = find(".progress");
    bar.firstElementChild.style.width = `${100 * fraction}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * fraction));
    bar.classList.toggle("unknown", Boolean(running) && !fraction);
    document.documentElement.style.setProperty("--progress", fraction);
    document.title = running ? `${Math.round(100 * fraction)} % · ${TITLE}` : TITLE;
    find(".status").textContent = status(running, waiting, queue);
    find(".drop").hidden = !waiting.length;
    find(".drop").textContent = waiting.length === 1 ? "Drop the one waiting" : `Drop the ${waiting.length} waiting`;
    showStep(running?.step ? ((running.step - 1) % running.stepsEach) + 1 : 0);
  }

  /** One preview is fetched at a time: on a slow line, later ones replace those that were not asked for yet. */
  function showPreview(running) {
    const preview = find(".preview");
    wanted = running?.preview ?? null;
    gallery.live(running && wanted ? running.width / running.height : 0);
    preview.hidden = !wanted;
    if (wanted && !fetching) fetchPreview(preview);
  }
  async function fetchPreview(preview) {
    fetching = true;
    while (wanted && preview.getAttribute("src") !== wanted) {
      preview.src = wanted;
      await preview.decode().catch(() => {});
    }
    fetching = false;
  }

  function announce(text) {
    find(".announcement").textContent = text;
  }

  find(".drop").addEventListener("click", () => send("/app/drop"));
  return {
    showState,
    showLost() {
      find(".status").textContent = "Reconnecting to the server…";
    },
    current: gallery.current,
  };
}

function status(running, waiting, queue) {
  if (running) {
    const parts = [running.message || DOING[running.state] || `Step ${running.step} of ${running.steps}`];
    if (running.images > 1) parts.push(`image ${Math.min(running.image + 1, running.images)} of ${running.images}`);
    if (running.remaining !== null) parts.push(`${duration(running.remaining)} left`);
    if (waiting.length) parts.push(`${waiting.length} more waiting`);
    return parts.join(" · ");
  }
  if (waiting.length && !waiting[0].position) return "Starting the engine…";
  if (waiting.length) return `Waiting: position ${waiting[0].position} in the queue of ${queue}`;
  return queue ? `Ready · busy for others (${queue})` : "Ready";
}
