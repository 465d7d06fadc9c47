// The view in which people score images of their own.
import { duration, el, options, problem, segmented, slider } from "./dom.js";
import { all, card } from "./sample.js";
import { imagePlace } from "./images.js";
import { curl, npy, picture, pythonLines, save, stem } from "./files.js";
import { scaleOf } from "./drawing.js";
import { request, score } from "./server.js";

const presets = ["sd3", "flux", "flux2", "qwen-image", "qwen-image-2.1", "sana", "wan", "z-image"];
const tokens = document.documentElement.dataset.tokens === "true";

export function tryView(app) {
  const form = document.getElementById("try-form");
  const results = document.getElementById("try-results");
  const place = imagePlace(document.getElementById("try-drop"));
  let evaluators = [];
  let running;

  const chosen = () => evaluators.find((e) => e.name === form.evaluator.value);

  function describe() {
    const evaluator = chosen();
    if (!evaluator) return;
    options(form.mode, evaluator.modes.map((mode) => [mode, mode]));
    form.mode.disabled = evaluator.modes.length < 2;
    form.grid.disabled = !evaluator.maps.length;
    for (const option of form.advantage.options) option.disabled = option.value.startsWith("denseflow") && !evaluator.maps.length;
    if (form.advantage.selectedOptions[0].disabled) form.advantage.value = "flowgrpo";
    const note = document.getElementById("note");
    note.hidden = !evaluator.note;
    note.textContent = evaluator.note;
  }
  form.evaluator.addEventListener("change", describe);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem(form, place.images.length ? "" : "There is no image yet: drop, paste or pick one.");
    if (!place.images.length) return;
    running?.abort();
    const mine = running = new AbortController();
    const evaluator = chosen();
    const images = [...place.images];
    const asked = request({ evaluator, mode: form.mode.value, prompt: form.prompt.value, images, grid: form.grid.value, advantage: form.advantage.value });
    form.classList.add("busy");
    results.setAttribute("aria-busy", "true");
    try {
      const { answer, samples } = await score(asked, mine.signal);
      app.tell("ok", state(answer));
      results.replaceChildren(...gallery(answer, samples, { evaluator, images, asked }));
    } catch (err) {
      if (err.name === "AbortError") return;
      if (!app.refused(err)) problem(form, err.message);
    } finally {
      if (running === mine) {
        form.classList.remove("busy");
        results.removeAttribute("aria-busy");
      }
    }
  });

  const state = (answer) => `${answer.evaluator}, ${duration(answer.timing_ms.total)}`;

  return {
    models(found) {
      evaluators = found.evaluators;
      options(form.evaluator, evaluators.map((e) => [e.name, e.name]));
      options(form.grid, [...presets, ...found.decoders.map((d) => d.name).filter((name) => !presets.includes(name))].map((name) => [name, name]));
      describe();
    },
  };
}

/** The elements of an answer: warnings, what to show, cards, and lines that ask the same. */
function gallery(answer, samples, { evaluator, images, asked }) {
  // One scale for all images, for them to be compared.
  const scales = {};
  for (const { name } of samples.find((s) => s.dense.length)?.dense ?? []) {
    scales[name] = scaleOf(...samples.flatMap((s) => s.dense.filter((map) => map.name === name)));
  }
  const cards = samples.map((sample, i) => {
    const stemmed = stem(images[i].name);
    const made = card(sample, {
      address: images[i].address, name: images[i].name, evaluator, group: samples.length, scales,
      downloads: sample.error ? [] : [
        ["PNG", async () => save(`${stemmed}.overlay.png`, await picture(made.figure), "image/png")],
        ...sample.maps.map((map) => [`${map.name}.npy`, () => save(`${stemmed}.${map.name}.npy`, npy(map), "application/octet-stream")]),
        ...sample.dense.map((map) => [`dense ${map.name}.npy`, () => save(`${stemmed}.dense.${map.name}.npy`, npy(map), "application/octet-stream")]),
        ["JSON", () => save(`${stemmed}.json`, JSON.stringify(plain(answer, sample, asked.prompts[i]), null, 2), "application/json")],
      ],
    });
    return made;
  });
  const look = { map: firstMap(evaluator.maps), strength: 0.9, boxes: true };
  const show = () => cards.forEach((one) => one.show(look.map, look.strength, look.boxes));
  show();
  const names = images.map((image) => image.name);
  return [
    ...(answer.warnings || []).map((text) => el("p", { class: "hint" }, text)),
    evaluator.maps.length ? lookBar(look, evaluator, samples.some((s) => s.boxes.length), show) : null,
    el("div", { class: "cards" }, cards.map((one) => one.element)),
    el("details", { class: "lines" }, el("summary", {}, "The same from a shell or from Python"),
      snippet("curl", curl(asked, names, tokens)), snippet("Python", pythonLines(asked, names, tokens))),
  ].filter(Boolean);
}

/** What lies over the images at first. */
export const firstMap = (maps) => (maps.length > 1 ? all : maps[0]?.name);

/** The bar that chooses what lies over the images. */
export function lookBar(look, evaluator, boxes, show) {
  const set = (name) => (value) => { look[name] = value; show(); };
  const check = boxes && el("label", { class: "check" }, el("input", { type: "checkbox", checked: true, onchange: (event) => set("boxes")(event.target.checked) }), "Boxes");
  return el("div", { class: "look", role: "group", "aria-label": "What lies over the images" },
    segmented("Map", `map-${Math.random()}`, [["", "none"], ...(evaluator.maps.length > 1 ? [[all, all]] : []), ...evaluator.maps.map((m) => [m.name, m.name])], look.map, set("map")),
    slider("Opacity", look.strength, set("strength")), check,
    el("span", { class: "legend" }, "fine", el("span", { class: "ramp heat", "aria-hidden": "true" }), "flawed"));
}

function snippet(title, text) {
  const copy = el("button", { type: "button", class: "quiet", onclick: async () => {
    await navigator.clipboard.writeText(text);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return el("div", { class: "snippet" }, el("h3", {}, title, copy), el("pre", { tabindex: 0 }, text));
}

/** A sample as JSON without its maps, which have files of their own. */
function plain(answer, sample, prompt) {
  const { reward, rank, advantage, scores, missing, boxes, text } = sample;
  return { prompt, evaluator: answer.evaluator, model: answer.model, reward, rank, advantage, scores: Object.fromEntries(scores.map((s) => [s.name, s.value])), missing, boxes, text };
}
