// The view in which two evaluators see the same images.
import { el, number, options, problem, signed } from "./dom.js";
import { baseNames, card } from "./sample.js";
import { imagePlace } from "./images.js";
import { firstMap, lookBar } from "./try.js";
import { request, score } from "./server.js";

export function compareView(app) {
  const form = document.getElementById("compare-form");
  const results = document.getElementById("compare-results");
  const place = imagePlace(document.getElementById("compare-drop"));
  let evaluators = [];

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem(form, place.images.length ? "" : "There is no image yet: drop, paste or pick one.");
    if (!place.images.length) return;
    const images = [...place.images];
    const both = [form.first, form.second].map((select) => evaluators.find((e) => e.name === select.value));
    form.classList.add("busy");
    try {
      const seen = await Promise.all(both.map((evaluator) =>
        score(request({ evaluator, mode: evaluator.modes[0], prompt: form.prompt.value, images, grid: "sd3" }))));
      results.replaceChildren(...comparison(images, both, seen.map((s) => s.samples)));
    } catch (err) {
      if (!app.refused(err)) problem(form, err.message);
    } finally {
      form.classList.remove("busy");
    }
  });

  return {
    models(found) {
      evaluators = found.evaluators;
      const list = evaluators.map((e) => [e.name, e.name]);
      const fresh = !form.first.options.length;
      options(form.first, list);
      options(form.second, list);
      if (fresh && list.length > 1) form.second.value = list[1][0];
    },
  };
}

function comparison(images, both, samples) {
  const names = both.map((e, k) => (both[0].name === both[1].name ? `${e.name} (${k + 1})` : e.name));
  const pairs = images.map((_, i) => [samples[0][i], samples[1][i]]);
  const made = [];
  const rows = images.map((image, i) => {
    const cards = [0, 1].map((k) => card(samples[k][i], { address: image.address, name: names[k], evaluator: both[k] }));
    made.push(...cards);
    return el("section", { class: "versus", "aria-label": image.name }, el("h2", {}, image.name), differences(pairs[i]), el("div", { class: "cards" }, cards.map((c) => c.element)));
  });
  const maps = baseNames(both.flatMap((e) => e.maps)).map((name) => ({ name }));
  const look = { map: firstMap(maps), strength: 0.9, boxes: true };
  const show = () => made.forEach((one) => one.show(look.map, look.strength, look.boxes));
  show();
  return [el("p", { class: "summary" }, agreement(pairs)), maps.length ? lookBar(look, { maps }, false, show) : null, ...rows].filter(Boolean);
}

/** How far two evaluators agree, in words. */
function agreement(pairs) {
  const scored = pairs.filter((pair) => pair.every((s) => !s.error));
  const failed = pairs.length - scored.length;
  const lost = failed ? ` ${failed} of ${pairs.length} images could not be scored by both.` : "";
  if (scored.length < 3) return `With three images or more, this says how far the two agree on their order.${lost}`;
  const rho = spearman(...[0, 1].map((k) => scored.map((pair) => pair[k].reward)));
  if (Number.isNaN(rho)) return `One of them gives all images the same reward.${lost}`;
  const best = [0, 1].map((k) => scored.reduce((b, pair, i) => (pair[k].reward > scored[b][k].reward ? i : b), 0));
  return `Rank correlation of the rewards over ${scored.length} images: ${number(rho, 2)}. They prefer ${best[0] === best[1] ? "the same image" : "different images"}.${lost}`;
}

/** Spearman's rank correlation, ties sharing their mean rank; NaN where there is no order. */
export function spearman(a, b) {
  const [x, y] = [a, b].map((values) => values.map((v) => values.reduce((r, w) => r + (w < v) + (w === v) / 2, 0.5)));
  const middle = (a.length + 1) / 2;
  let top = 0, left = 0, right = 0;
  x.forEach((rank, i) => {
    top += (rank - middle) * (y[i] - middle);
    left += (rank - middle) ** 2;
    right += (y[i] - middle) ** 2;
  });
  return top / Math.sqrt(left * right);
}

/** What two samples have in common and how it differs. */
function differences([a, b]) {
  if (a.error || b.error) return null;
  const shared = a.scores.filter((s) => b.scores.some((o) => o.name === s.name));
  const lines = [["reward", a.reward, b.reward], ...shared.map((s) => [s.name, s.value, b.scores.find((o) => o.name === s.name).value])];
  return el("table", { class: "numbers" },
    el("thead", {}, el("tr", {}, ["", "first", "second", "difference"].map((text) => el(text ? "th" : "td", text ? { scope: "col" } : {}, text)))),
    el("tbody", {}, lines.map(([name, x, y]) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, number(x)), el("td", {}, number(y)), el("td", {}, signed(y - x))))));
}
