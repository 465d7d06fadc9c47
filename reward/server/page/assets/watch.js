// The view that shows what the server is doing, from one stream.
import { byteMap, bytesOf, flatten } from "./drawing.js";
import { duration, el, number, options, segmented, size, slider } from "./dom.js";
import { all, baseNames, card, mapOf } from "./sample.js";
import { events } from "./server.js";

const span = 90; // states that the lines look back on
const svg = "http://www.w3.org/2000/svg";

export function watchView(app) {
  const recent = recentView();
  const state = stateView();
  document.getElementById("watch-state").append(state.element);
  document.getElementById("watch-recent").append(recent.element);
  let stream;

  async function follow(mine) {
    for (let wait = 1000; !mine.signal.aborted; wait = Math.min(2 * wait, 15000)) {
      try {
        let first = true;
        for await (const event of events(mine.signal)) {
          if (first) {
            first = false;
            wait = 1000;
            state.begin();
            recent.begin();
            await app.load();
            app.tell("ok", "live");
          }
          if (event.type === "state") {
            state.show(event);
            recent.keep(event.keep_recent);
          } else if (event.type === "sample") recent.add(event);
        }
      } catch (err) {
        if (mine.signal.aborted || app.refused(err)) return;
      }
      if (mine.signal.aborted) return;
      app.tell("bad", "lost the server, looking for it");
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }

  return {
    visible(on) {
      if (on === Boolean(stream)) return;
      stream?.abort();
      stream = null;
      if (!on) return;
      stream = new AbortController();
      follow(stream);
    },
    follows: () => Boolean(stream),
    models(found) { recent.models(found); },
  };
}

/** A line of the last values, from 0. */
function sparkline(label) {
  const line = document.createElementNS(svg, "polyline"), area = document.createElementNS(svg, "polygon");
  const element = document.createElementNS(svg, "svg");
  element.setAttribute("viewBox", "0 0 100 30");
  element.setAttribute("preserveAspectRatio", "none");
  element.setAttribute("class", "spark");
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", label);
  element.append(area, line);
  return {
    element,
    show(values) {
      const most = Math.max(...values, 1e-9);
      const points = values.map((v, i) => `${(100 * (i + span - values.length)) / (span - 1)},${29 - (27 * Math.max(v, 0)) / most}`).join(" ");
      line.setAttribute("points", points);
      area.setAttribute("points", values.length ? `${(100 * (span - values.length)) / (span - 1)},30 ${points} 100,30` : "");
    },
  };
}

function stateView() {
  const rate = sparkline("images a second over the last minute and a half"), waits = sparkline("samples in queues over the last minute and a half");
  const place = (title, extra) => {
    const value = el("p", { class: "big" }, "–"), note = el("p", { class: "hint" });
    return { element: el("div", { class: "tile" }, el("h2", {}, title), value, note, extra), set(v, n) { value.textContent = v; note.textContent = n; } };
  };
  const tiles = {
    rate: place("Images a second", rate.element), queue: place("Queue", waits.element), latency: place("Latency"),
    batches: place("Batch size"), cache: place("Cache"), memory: place("Memory"), errors: place("Errors"),
  };
  const body = el("tbody"), groups = el("div");
  const table = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Evaluators" }, el("table", { class: "numbers wide" },
    el("thead", {}, el("tr", {}, ["evaluator", "waiting", "in batches", "images/s", "last batches", "cache hits", "cached", "failed"].map((text) => el("th", { scope: "col" }, text)))), body));
  let before, rates, depths;

  const sum = (list, of) => list.reduce((total, one) => total + of(one), 0);
  const scored = (state) => sum(state.evaluators, (e) => e.events.scored);

  function row(e) {
    const most = Math.max(...e.batches, e.max_batch, 1);
    const bars = el("span", { class: "batches", role: "img", "aria-label": `sizes of the last batches: ${e.batches.slice(-12).join(", ") || "none"}` }, e.batches.slice(-32).map((n) => {
      const one = el("i");
      one.style.setProperty("--part", n / most);
      return one;
    }));
    const hits = e.events.cache_hit + e.events.cache_shared, asked = hits + e.events.cache_miss;
    const failed = e.events.sample_failed + e.events.prepare_failed + e.events.prepare_panicked + e.events.evaluator_failed + e.events.evaluator_panicked;
    return el("tr", {}, el("th", { scope: "row" }, e.name), el("td", {}, e.waiting + e.preparing + e.ready), el("td", {}, `${e.busy}/${e.places}${e.hung ? `, ${e.hung} hung` : ""}`),
      el("td", {}, number(e.samples_per_second, 1)), el("td", {}, bars), el("td", {}, asked ? `${Math.round((100 * hits) / asked)} %` : "–"), el("td", {}, size(e.cache_bytes)), el("td", {}, failed));
  }

  return {
    element: el("div", {}, el("div", { class: "tiles" }, Object.values(tiles).map((t) => t.element)), table, groups),
    begin() { before = null; rates = []; depths = []; },
    show(state) {
      const evaluators = state.evaluators;
      const now = before ? Math.max(0, (1000 * (scored(state) - scored(before))) / Math.max(1, state.at - before.at)) : 0;
      const depth = sum(evaluators, (e) => e.waiting + e.preparing + e.ready);
      before = state;
      rates = [...rates, now].slice(-span);
      depths = [...depths, depth].slice(-span);
      rate.show(rates);
      waits.show(depths);
      tiles.rate.set(number(now, now < 10 ? 1 : 0), `${scored(state)} scored, ${state.requests} requests`);
      tiles.queue.set(depth, `${sum(evaluators, (e) => e.busy)} of ${sum(evaluators, (e) => e.places)} evaluators busy`);
      const l = state.latency_ms;
      tiles.latency.set(l ? duration(l.p50) : "–", l ? `p90 ${duration(l.p90)}, p99 ${duration(l.p99)}` : "no request yet");
      const sizes = evaluators.flatMap((e) => e.batches);
      tiles.batches.set(sizes.length ? number(sum(sizes, (n) => n) / sizes.length, 1) : "–", `at most ${Math.max(0, ...evaluators.map((e) => e.max_batch))}`);
      const hits = sum(evaluators, (e) => e.events.cache_hit + e.events.cache_shared), misses = sum(evaluators, (e) => e.events.cache_miss);
      tiles.cache.set(hits + misses ? `${Math.round((100 * hits) / (hits + misses))} %` : "–", `${sum(evaluators, (e) => e.cache_entries)} results, ${size(sum(evaluators, (e) => e.cache_bytes))}`);
      const held = `bodies and answers; ${size(sum(evaluators, (e) => e.held_bytes))} in queues`;
      if (state.gpus.length) tiles.memory.set(size(sum(state.gpus, (g) => g.used)), `of ${size(sum(state.gpus, (g) => g.total))} on ${state.gpus.length === 1 ? "the GPU" : `${state.gpus.length} GPUs`}; ${size(state.held_bytes)} in ${held}`);
      else tiles.memory.set(size(state.held_bytes), held);
      const errors = Object.entries(state.errors).sort((a, b) => b[1] - a[1]);
      tiles.errors.set(sum(errors, ([, n]) => n), errors.length ? errors.slice(0, 3).map(([code, n]) => `${code} ${n}`).join(", ") : "no request failed");
      tiles.errors.element.classList.toggle("bad", errors.length > 0);
      body.replaceChildren(...evaluators.map(row));
      groups.replaceChildren(...waitingGroups(state));
    },
  };
}

/** The groups that wait for members, and for whom. */
function waitingGroups({ groups, all_groups: count }) {
  if (!count) return [];
  return [el("h2", { class: "part" }, count === 1 ? "One group waits" : `${count} groups wait`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Groups that wait" }, el("table", { class: "numbers wide" },
      el("thead", {}, el("tr", {}, ["step", "group", "evaluator", "members", "waits for"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, groups.map((g) => el("tr", {}, el("th", { scope: "row" }, g.step), el("td", { class: "words" }, g.group || "the whole step"), el("td", {}, g.evaluator), el("td", {}, `${g.have} of ${g.want}`),
        el("td", {}, g.missing?.length ? `member ${g.missing.join(", ")}${g.missing.length < g.want - g.have ? ", …" : ""}` : `${g.want - g.have} more`))))))];
}

function recentView() {
  const look = { map: all, strength: 0.9 };
  const items = new Map(); // by id, in the order in which they came
  const grid = el("ul", { class: "tiles small" });
  const told = el("p", { class: "summary" });
  const none = el("p", { class: "hint" });
  const evaluator = el("select", { "aria-label": "Evaluator" }), order = el("select", { "aria-label": "Order" });
  options(order, [["new", "newest first"], ["worst", "worst first"], ["best", "best first"]]);
  const hold = el("button", { type: "button", class: "quiet", "aria-pressed": "false" }, "Pause");
  const dialog = el("dialog", { class: "detail", "aria-label": "A sample" });
  let kinds = "", keep = 0, drawn = false, paused = false;
  const maps = el("span");
  const bar = el("div", { class: "look", role: "group", "aria-label": "Which samples, and what lies over them" }, evaluator, order, maps, slider("Opacity", look.strength, (v) => { look.strength = v; redraw(); }), hold);
  const title = el("h2", { class: "part" }, "Samples scored last");
  const element = el("section", { "aria-label": "Samples scored last" }, title, none, bar, told, grid, dialog);

  // A sample is drawn when it comes into sight, and lets go of its canvas when it leaves.
  const sight = new IntersectionObserver((entries) => {
    for (const { target: { item }, isIntersecting } of entries) {
      item.near = isIntersecting;
      if (isIntersecting) paint(item);
      else item.canvas.width = item.canvas.height = 0;
    }
  }, { rootMargin: "900px" });

  async function paint(item) {
    const { sample: { image, maps }, canvas } = item;
    const turn = item.turn = {};
    const bitmap = await createImageBitmap(new Blob([bytesOf(image.jpeg)], { type: "image/jpeg" }));
    if (item.turn === turn && item.near) {
      item.maps ??= maps.map(byteMap);
      flatten(canvas, bitmap, bitmap.width, bitmap.height, mapOf(item.maps, look.map), look.strength);
      canvas.drawn = true;
    }
    bitmap.close();
  }

  let redrawn = false;
  function redraw() {
    if (redrawn) return;
    redrawn = true;
    requestAnimationFrame(() => {
      redrawn = false;
      for (const item of items.values()) if (item.near) paint(item);
    });
  }

  function make(sample) {
    const item = { sample };
    const value = sample.error ? el("span", { class: "wrong" }, sample.error.code) : el("span", { class: "amount" }, number(sample.reward));
    const figure = sample.image ? el("canvas", { class: "thumbnail", "aria-hidden": "true" }) : el("span", { class: "thumbnail blank" }, "no image");
    const button = el("button", { type: "button", onclick: () => open(item) }, figure,
      el("span", { class: "line" }, value, el("span", { class: "hint" }, sample.evaluator)), el("span", { class: "prompt" }, sample.prompt || "an empty prompt"));
    item.element = el("li", {}, button);
    if (sample.image) {
      item.canvas = figure;
      item.element.item = item;
      sight.observe(item.element);
    }
    return item;
  }

  function open({ sample }) {
    const whole = { ...sample, maps: sample.maps.map(byteMap), dense: [], missing: sample.missing || [] };
    const shown = card(whole, { address: sample.image ? "data:image/jpeg;base64," + sample.image.jpeg : "data:,", name: `${sample.evaluator}, ${new Date(sample.at).toLocaleTimeString()}` });
    shown.show(look.map, look.strength, true);
    dialog.replaceChildren(el("form", { method: "dialog" }, el("button", { class: "quiet" }, "Close")), el("p", { class: "prompt-whole" }, sample.prompt), shown.element);
    dialog.showModal();
  }

  const rank = { new: (a, b) => b.sample.id - a.sample.id, worst: (a, b) => height(a) - height(b), best: (a, b) => height(b) - height(a) };
  const height = ({ sample }) => (sample.error ? -Infinity : sample.reward);

  function arrange() {
    drawn = false;
    const shown = [...items.values()].filter(({ sample }) => !evaluator.value || sample.evaluator === evaluator.value).sort(rank[order.value]);
    const scored = shown.filter(({ sample }) => !sample.error);
    const middle = scored.reduce((total, { sample }) => total + sample.reward, 0) / scored.length;
    told.textContent = shown.length ? `${shown.length} samples, mean reward ${number(middle)}${scored.length < shown.length ? `, ${shown.length - scored.length} failed` : ""}` : "";
    // What stays in its place is not touched, so that nothing flickers or loses the focus.
    shown.forEach(({ element: one }, i) => {
      if (grid.children[i] !== one) grid.insertBefore(one, grid.children[i] ?? null);
    });
    while (grid.children.length > shown.length) grid.lastChild.remove();
  }

  function later() {
    if (drawn || paused) return;
    drawn = true;
    requestAnimationFrame(arrange);
  }

  evaluator.addEventListener("change", arrange);
  order.addEventListener("change", arrange);
  hold.addEventListener("click", () => {
    paused = !paused;
    hold.setAttribute("aria-pressed", paused);
    hold.textContent = paused ? "Go on" : "Pause";
    later();
  });

  return {
    element,
    begin() {
      for (const { element: one } of items.values()) sight.unobserve(one);
      items.clear();
      later();
    },
    keep(n) {
      keep = n;
      bar.hidden = !n;
      none.textContent = n ? (items.size ? "" : "Nothing was scored yet.") : "This server keeps no samples to look at. Start it with --keep-recent 200 to see the last ones here, worst first.";
      none.hidden = !none.textContent;
    },
    add(sample) {
      items.set(sample.id, make(sample));
      for (const id of items.keys()) {
        if (items.size <= keep) break;
        sight.unobserve(items.get(id).element);
        items.delete(id);
      }
      later();
    },
    models({ evaluators }) {
      options(evaluator, [["", "all evaluators"], ...evaluators.map((e) => [e.name, e.name])]);
      const names = baseNames(evaluators.flatMap((e) => e.maps));
      if (kinds === names.join()) return;
      kinds = names.join();
      maps.replaceChildren(segmented("Map", "recent-map", [["", "none"], [all, all], ...names.map((n) => [n, n])], look.map, (v) => { look.map = v; redraw(); }));
    },
  };
}
