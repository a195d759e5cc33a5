// The images of this session: one large, all of them as a strip, the newest first, and how the large one was made.

import { ask, element } from "./dom.js";
import { problemLine } from "./explanation.js";
import { copyText } from "./copying.js";

/** Pixels: images up to this size are shown as they are made, pixel by pixel, not blurred. */
const TINY = 128;
/** Thumbnails in the strip; older images are in the folder. */
const MOST = 60;

/** Draws into the panel of results. */
export function galleryView(panel) {
  const find = (selector) => panel.querySelector(selector);
  const picture = find(".picture");
  const strip = find(".strip");
  const lightbox = find(".lightbox");
  const jobs = new Map();
  let entries = [];
  let drawn = "";
  let newest = null;
  let chosen = null;
  let image = null;
  let ratio = 0;
  let isAside = false;

  /** What the live state says there is: images of the job at work, then of those that ended. */
  function follow(running, recent) {
    const groups = [...(running?.seeds.length ? [running] : []), ...recent];
    entries = groups.flatMap(({ id, seeds }) => seeds.map((seed, index) => ({ job: id, index, seed }))).slice(0, MOST);
    if (!running) isAside = false;
    drawStrip(Boolean(running));
    const [first] = recent;
    if (first && first.id !== newest) {
      newest = first.id;
      // A job at work may have given its images to look at already.
      jobs.delete(newest);
      if (!isAside || chosen?.job === newest) choose({ job: newest, index: chosen?.job === newest ? chosen.index : 0 });
    }
  }

  function drawStrip(isBusy) {
    const wanted = JSON.stringify([isBusy, entries.map(({ job, index }) => [job, index])]);
    if (wanted === drawn) return;
    drawn = wanted;
    const items = entries.map(thumbnail);
    if (isBusy && items.length) items.unshift(liveButton());
    strip.hidden = items.length < 2;
    strip.replaceChildren(...items);
    mark();
  }
  function thumbnail(entry, place) {
    const isOlder = entry.job !== entries[0].job;
    const label = `${isOlder ? "Earlier image" : "Image"} ${isOlder ? place + 1 : entry.index + 1}, seed ${entry.seed}`;
    const thumb = element("button", { type: "button", "aria-label": label, className: entry.index === 0 && place ? "first" : "" });
    thumb.append(element("img", { src: `/app/thumb/${entry.job}/${entry.index}`, alt: "", loading: "lazy" }));
    thumb.addEventListener("click", () => lookAt(entry));
    return thumb;
  }
  function liveButton() {
    const button = element("button", { type: "button", className: "now", "aria-label": "Live: the image being made", textContent: "Live" });
    button.addEventListener("click", () => {
      isAside = false;
      showLive();
    });
    return button;
  }
  const placeOf = (image) => entries.findIndex(({ job, index }) => job === image?.job && index === image?.index);
  function mark() {
    const isLive = ratio > 0 && !isAside;
    const place = placeOf(chosen);
    for (const [index, thumb] of [...strip.querySelectorAll("button:not(.now)")].entries()) {
      thumb.setAttribute("aria-pressed", !isLive && index === place);
      // One stop for Tab; the arrows go on from there.
      thumb.tabIndex = index === Math.max(0, place) ? 0 : -1;
    }
    strip.querySelector(".now")?.setAttribute("aria-pressed", isLive);
  }

  /** The preview, as wide as `given` times its height; 0 for none. */
  function live(given) {
    ratio = given;
    showLive();
  }
  function showLive() {
    const isLive = ratio > 0 && !isAside;
    find(".frame").classList.toggle("live", isLive);
    if (isLive) find(".frame").style.setProperty("--ratio", ratio);
    else if (image) find(".frame").style.setProperty("--ratio", image.width / image.height);
    mark();
  }

  function lookAt(entry) {
    isAside = true;
    choose(entry);
  }
  async function choose({ job, index }) {
    chosen = { job, index };
    mark();
    const known = await jobDetails(job);
    if (chosen.job !== job || chosen.index !== index || !known?.images[index]) return;
    image = known.images[index];
    drawImage();
    drawFacts(known);
    showLive();
  }
  /** A job that is at work is asked for anew each time: it may have more images by now. */
  async function jobDetails(job) {
    if (jobs.has(job)) return jobs.get(job);
    const answer = await ask(`/app/jobs/${job}.json`);
    if (answer.ok && answer.seconds !== null) jobs.set(job, answer);
    return answer.ok ? answer : null;
  }
  function drawImage() {
    document.body.classList.add("pictured");
    find(".empty").hidden = true;
    picture.hidden = false;
    find(".after").hidden = false;
    const large = picture.querySelector("img");
    large.src = image.address;
    large.alt = `Image with seed ${image.seed}`;
    lightbox.querySelector("img").src = image.address;
    for (const place of [find(".frame"), lightbox]) place.classList.toggle("tiny", Math.max(image.width, image.height) <= TINY);
    find(".infotext").textContent = image.infotext;
    find(".download").href = image.address;
    find(".download").download = image.name;
    find(".open").href = image.address;
  }
  function drawFacts(job) {
    find(".after .networks").replaceChildren(...job.networks.map(networkLine));
    find(".after .problems").replaceChildren(...job.problems.map(problemLine));
    const stopped = job.state === "interrupted" ? "Stopped after" : "Made in";
    const kept = job.kept ? ` · networks keep ${(job.kept / 2 ** 20).toFixed(1)} MB` : "";
    find(".done").textContent = job.seconds === null ? "" : `${stopped} ${duration(job.seconds)}${kept}`;
  }

  function onArrow(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || entries.length < 2) return;
    event.preventDefault();
    const place = (placeOf(chosen) + step + entries.length) % entries.length;
    lookAt(entries[place]);
    const thumb = strip.querySelectorAll("button:not(.now)")[place];
    thumb.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (strip.contains(document.activeElement)) thumb.focus();
  }

  picture.addEventListener("click", () => lightbox.showModal());
  lightbox.addEventListener("click", () => lightbox.close());
  for (const place of [picture, strip, lightbox]) place.addEventListener("keydown", onArrow);
  find(".copy").addEventListener("click", () => copyText(find(".copy"), image?.infotext ?? ""));

  return { follow, live, current: () => image };
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
