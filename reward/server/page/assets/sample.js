// One scored image as people see it: the image under its maps with its boxes, scores as
// bars, the dense map beside it, and what the evaluator wrote.
import { boxLayer, gradient, mean, overlay, paintMap, scaleOf, valueAt, worst } from "./drawing.js";
import { el, number, signed } from "./dom.js";

/** The name of all maps at once. */
export const all = "all";

/** The names of maps without those of a mixture's members, each once. */
export const baseNames = (maps) => [...new Set(maps.map((map) => base(map.name)))];
const base = (name) => name.split("/").pop();

/** The map of a name, of all, or of a base name: the worst of those it stands for; null for none. */
export function mapOf(maps, name) {
  if (name === all) return worst(maps);
  return maps.find((map) => map.name === name) ?? worst(maps.filter((map) => base(map.name) === name));
}

let count = 0;

/** Bars of scores. spec says their ranges; other is a second list to compare with. */
export function scoreBars(sample, evaluator) {
  return el("dl", { class: "scores" }, sample.scores.map(({ name, value }) => {
    const spec = evaluator?.scores.find((s) => s.name === name);
    const low = spec?.min ?? Math.min(0, value), high = spec?.max ?? Math.max(1, value);
    const lacks = sample.missing.includes(name);
    const fill = el("span", { class: "fill" });
    fill.style.setProperty("--part", lacks ? 0 : Math.min(1, Math.max(0, (value - low) / (high - low || 1))));
    return el("div", { class: lacks ? "lacks" : null, title: spec?.doc || null },
      el("dt", {}, name.replaceAll("_", " ")),
      el("dd", {}, el("span", { class: "bar", "aria-hidden": "true" }, fill), el("span", { class: "value" }, lacks ? "missing" : number(value))));
  }));
}

/** The image of a sample with a canvas for a map and a layer of boxes. */
export function layers(address, alt, boxes) {
  const image = el("img", { src: address, alt, decoding: "async" });
  return el("div", { class: "layers" }, image, el("canvas", { "aria-hidden": "true" }), boxes.length ? boxLayer(boxes) : null);
}

/** Reads the maps of a sample where the pointer is, or where the arrow keys went. */
function probe(figure, sample, readout) {
  const cross = el("span", { class: "cross", "aria-hidden": "true" });
  figure.append(cross);
  figure.tabIndex = 0;
  figure.setAttribute("role", "application");
  figure.setAttribute("aria-roledescription", "image with maps");
  figure.setAttribute("aria-describedby", readout.id);
  const means = sample.maps.map((map) => `${map.name} ${number(mean(map), 2)}`).join(" · ");
  readout.textContent = means && "mean " + means;
  let at = [0.5, 0.5];
  const read = (x, y) => {
    at = [Math.min(0.999, Math.max(0, x)), Math.min(0.999, Math.max(0, y))];
    figure.style.setProperty("--x", at[0]);
    figure.style.setProperty("--y", at[1]);
    figure.classList.add("read");
    const image = figure.querySelector("img");
    const values = [...sample.maps, ...sample.dense.slice(0, 1)].map((map) => `${map.name} ${number(valueAt(map, ...at), 2)}`);
    readout.textContent = `${values.join(" · ")} at ${Math.floor(at[0] * image.naturalWidth)}, ${Math.floor(at[1] * image.naturalHeight)}`;
  };
  const leave = () => {
    figure.classList.remove("read");
    readout.textContent = means && "mean " + means;
  };
  figure.addEventListener("pointermove", (event) => {
    const place = figure.getBoundingClientRect();
    read((event.clientX - place.left) / place.width, (event.clientY - place.top) / place.height);
  });
  figure.addEventListener("pointerleave", leave);
  figure.addEventListener("blur", leave);
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    const by = event.shiftKey ? 0.1 : 0.02;
    read(at[0] + by * step[0], at[1] + by * step[1]);
  });
}

/** What the evaluator wrote, its boxes as buttons that point at the image. */
function reasoning(sample, point) {
  const parts = [];
  const pattern = /\{[^{}]*\[([^\]{}]*)\][^{}]*\}/g;
  let last = 0;
  for (const found of sample.text.matchAll(pattern)) {
    const coordinates = found[1].split(",").map(Number);
    const i = sample.boxes.findIndex(({ box }) => box.every((v, k) => Math.abs(v - coordinates[k]) < 1));
    if (i < 0) continue;
    parts.push(sample.text.slice(last, found.index), point(i));
    last = found.index + found[0].length;
  }
  parts.push(sample.text.slice(last));
  return el("details", { class: "text", open: sample.boxes.length > 0 }, el("summary", {}, "What it wrote"), el("p", {}, parts));
}

/** The dense maps of a sample on their grid, one at a time, with a legend. */
function denseView(sample, scales) {
  const canvas = el("canvas", { class: "dense", role: "img" });
  const legend = el("span", { class: "ramp", "aria-hidden": "true" });
  const low = el("span"), high = el("span");
  const show = (name) => {
    const map = sample.dense.find((m) => m.name === name);
    const scale = scales?.[name] ?? scaleOf(map);
    paintMap(canvas, map, scale);
    canvas.setAttribute("aria-label", `dense ${name} on ${map.height} by ${map.width} cells, from ${number(scale.low)} to ${number(scale.high)}`);
    legend.style.setProperty("--ramp", gradient(scale.colours));
    low.textContent = number(scale.low, 2);
    high.textContent = number(scale.high, 2);
  };
  const { height, width } = sample.dense[0];
  const select = el("select", { "aria-label": "Dense map", onchange: () => show(select.value) }, sample.dense.map(({ name }) => el("option", {}, name)));
  show(sample.dense[0].name);
  return el("div", { class: "grid-map" }, el("div", { class: "caption" }, select, el("span", { class: "hint" }, `${height}×${width}`)), canvas, el("div", { class: "legend" }, low, legend, high));
}

/**
 * A card of a sample. about is {address, name, evaluator, downloads}. show(name, strength,
 * boxes) chooses the map that lies over the image.
 */
export function card(sample, { address, name, evaluator, downloads = [], group = 1, scales }) {
  const heading = el("h3", {}, name);
  if (sample.error) {
    return {
      element: el("article", { class: "card failed" }, el("header", {}, heading),
        el("div", { class: "layers" }, el("img", { src: address, alt: "" })),
        el("p", { class: "problem" }, `This image was not scored: ${sample.error.message} (${sample.error.code})`)),
      show() {},
    };
  }
  let shown, over;
  const figure = layers(address, name, sample.boxes);
  const readout = el("output", { class: "readout", id: `readout-${++count}` });
  if (sample.maps.length) probe(figure, sample, readout);
  const light = (i, on) => figure.querySelector(`[data-box="${i}"]`)?.classList.toggle("lit", on);
  const point = (i) => {
    const { label, importance } = sample.boxes[i];
    return el("button", {
      type: "button", class: "pointer", "data-label": label, onmouseenter: () => light(i, true), onmouseleave: () => light(i, false),
      onfocus: () => light(i, true), onblur: () => light(i, false), "aria-label": `${label || "box"} ${importance}, show it in the image`,
    }, `${label || "box"} ${importance}`);
  };
  const lead = group > 1 && el("p", { class: "lead" },
    sample.rank ? el("span", { class: sample.rank === 1 ? "rank best" : "rank" }, `#${sample.rank}`) : null,
    sample.advantage != null ? el("span", { class: "advantage" }, `A ${signed(sample.advantage, 2)}`) : null);
  const head = el("header", {}, el("div", {}, heading, lead), el("p", { class: "reward" }, number(sample.reward), el("small", {}, sample.cached ? "reward, cached" : "reward")));
  const element = el("article", { class: "card" }, head, figure, sample.maps.length ? readout : null,
    el("div", { class: "facts" }, el("div", {}, scoreBars(sample, evaluator), lacking(sample)), sample.dense.length ? denseView(sample, scales) : null),
    sample.text ? reasoning(sample, point) : null,
    downloads.length ? el("p", { class: "downloads" }, "Download ", downloads.map(([text, run]) => el("button", { type: "button", class: "link", onclick: run }, text))) : null);
  return {
    element, figure,
    show(map, strength, boxes) {
      if (map !== shown) [shown, over] = [map, mapOf(sample.maps, map)];
      overlay(figure, over, strength);
      figure.classList.toggle("boxed", boxes);
    },
  };
}

function lacking(sample) {
  const maps = sample.missing.filter((name) => !sample.scores.some((s) => s.name === name));
  return maps.length ? el("p", { class: "hint" }, `Missing from the answer, and counted as 0: ${maps.join(", ")}`) : null;
}
