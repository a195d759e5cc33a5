// Beside the form: how far the job is, the image being made, the images made, and how.

import { element } from "./dom.js";
import { problemLine } from "./explanation.js";

const TITLE = "Patchbay";
/** Pixels: images up to this size are shown as they are made, pixel by pixel, not blurred. */
const TINY = 128;
const DOING = { loading: "Loading the model", encoding: "Reading the prompt", decoding: "Decoding" };

/** Draws into the panel; `say(text)` shows an error, `showStep(step)` moves the plot's playhead. */
export function resultsView(panel, say, showStep) {
  const find = (selector) => panel.querySelector(selector);
  const gallery = galleryView(panel);
  let shownJob = null;
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
    if (busy !== wasBusy) announce(busy ? "Generating" : "Finished");
    wasBusy = busy;
    if (state.last && state.last.id !== shownJob) showFinished(state.last);
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
    showStep(running?.step ? ((running.step - 1) % running.stepsEach) + 1 : 0);
  }

  /** One preview is fetched at a time: on a slow line, later ones replace those that were not asked for yet. */
  function showPreview(running) {
    const preview = find(".preview");
    const frame = find(".frame");
    wanted = running?.preview ?? null;
    frame.classList.toggle("live", Boolean(wanted));
    preview.hidden = !wanted;
    if (!wanted) return;
    frame.style.setProperty("--ratio", running.width / running.height);
    if (!fetching) fetchPreview(preview);
  }
  async function fetchPreview(preview) {
    fetching = true;
    while (wanted && preview.getAttribute("src") !== wanted) {
      preview.src = wanted;
      await preview.decode().catch(() => {});
    }
    fetching = false;
  }

  function showFinished(job) {
    shownJob = job.id;
    if (job.error) say(job.error);
    if (!job.images.length) return;
    gallery.show(job);
    find(".after .networks").replaceChildren(...job.networks.map(networkLine));
    find(".after .problems").replaceChildren(...job.problems.map(problemLine));
    const stopped = job.state === "interrupted" ? "Stopped after" : "Made in";
    const kept = job.kept ? ` · networks keep ${(job.kept / 2 ** 20).toFixed(1)} MB` : "";
    find(".done").textContent = job.seconds === null ? "" : `${stopped} ${duration(job.seconds)}${kept}`;
  }

  function announce(text) {
    find(".announcement").textContent = text;
  }

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

/** What a network of the finished images did: how many of its modules had a place in the model. */
function networkLine(network) {
  const parts = [`${network.matched} modules applied`];
  if (network.unmatched) parts.push(`${network.unmatched} without a place in this model`);
  if (network.mismatched) parts.push(`${network.mismatched} of another shape`);
  const amiss = network.unmatched || network.mismatched;
  const title = `${network.base} · ${network.hash}`;
  const name = element("b", { textContent: network.name });
  return element("li", { className: amiss ? "amiss" : "", title }, name, ` ${parts.join(", ")}`);
}

/** Seconds in the words a person would use. */
export function duration(seconds) {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** The images of one job: one large, the others as a strip; the large one opens in full. */
function galleryView(panel) {
  const find = (selector) => panel.querySelector(selector);
  const picture = find(".picture");
  const strip = find(".strip");
  const lightbox = find(".lightbox");
  let images = [];
  let chosen = 0;

  function choose(index) {
    chosen = (index + images.length) % images.length;
    const image = images[chosen];
    const large = picture.querySelector("img");
    large.src = image.address;
    find(".frame").style.setProperty("--ratio", image.width / image.height);
    find(".frame").classList.toggle("tiny", Math.max(image.width, image.height) <= TINY);
    large.alt = `Image with seed ${image.seed}`;
    lightbox.querySelector("img").src = image.address;
    [...strip.children].forEach((thumb, place) => thumb.setAttribute("aria-pressed", place === chosen));
    find(".infotext").textContent = image.infotext;
    find(".download").href = image.address;
    find(".download").download = image.name;
    find(".open").href = image.address;
  }
  function thumbnail(image, index) {
    const thumb = element("button", { type: "button", "aria-label": `Image ${index + 1}, seed ${image.seed}` });
    thumb.append(element("img", { src: image.address, alt: "", loading: "lazy" }));
    thumb.addEventListener("click", () => choose(index));
    return thumb;
  }
  function onArrow(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || images.length < 2) return;
    event.preventDefault();
    choose(chosen + step);
  }

  picture.addEventListener("click", () => lightbox.showModal());
  lightbox.addEventListener("click", () => lightbox.close());
  for (const place of [picture, strip, lightbox]) place.addEventListener("keydown", onArrow);
  find(".copy").addEventListener("click", () => copyText(find(".copy"), images[chosen]?.infotext ?? ""));

  return {
    show(job) {
      images = job.images;
      document.body.classList.add("pictured");
      find(".empty").hidden = true;
      picture.hidden = false;
      find(".after").hidden = false;
      strip.hidden = images.length < 2;
      strip.replaceChildren(...images.map(thumbnail));
      choose(0);
    },
    current: () => images[chosen] ?? null,
  };
}

/** Copy a text, and say so on the button. */
export async function copyText(button, text) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying is not allowed here";
  }
  setTimeout(() => { button.textContent = label; }, 1500);
}
