// Measures the view Watch with 200 overlays while it is scrolled: the time between frames,
// and the processor time that Chromium's threads spend on a frame, which other programs
// on the machine change little. ./run scroll.cjs starts it.
const { serve, open, closeBrowser, feed } = require("./harness.cjs");

// Chromium's threads by what they do here, and the events of the page's own thread. The
// events of a row are not within each other.
const threads = { page: "CrRendererMain", compositor: "Compositor", raster: "ThreadPoolForegroundWorker", display: "VizCompositorThread" };
const work = {
  script: ["FunctionCall", "FireAnimationFrame", "IntersectionObserverController::computeIntersections"],
  layout: ["UpdateLayoutTree", "Layout"],
  paint: ["PrePaint", "Paint", "Layerize", "Commit"],
};

/** Processor time of a trace in ms: of each thread, and of each kind of work. */
function processorTime(events) {
  const names = new Map();
  for (const e of events) if (e.name === "thread_name") names.set(`${e.pid} ${e.tid}`, e.args.name);
  const total = (thread, kinds) => events.reduce((sum, e) => sum + (kinds.includes(e.name) && names.get(`${e.pid} ${e.tid}`) === thread ? e.tdur || 0 : 0), 0) / 1000;
  return {
    ...Object.fromEntries(Object.entries(threads).map(([what, thread]) => [what, total(thread, [thread.startsWith("ThreadPool") ? "ThreadPool_RunTask" : "ThreadControllerImpl::RunTask"])])),
    ...Object.fromEntries(Object.entries(work).map(([what, kinds]) => [what, total(threads.page, kinds)])),
  };
}

(async () => {
  const server = await serve(["--keep-recent", "200"]);
  const names = ["circle", "circle-bleeding", "circle-noise", "circle-warped", "star", "star-below", "star-colours", "star-swapped", "triangle", "triangle-colour"];
  for (let i = 0; i < 20; i++) await feed(server, { prompt: ["a red circle", "a yellow star above a blue square"][i % 2], names });
  const page = await open(server, { hash: "#watch" });
  await page.waitForFunction(() => document.querySelectorAll(".tiles.small li").length === 200);
  await page.waitForTimeout(1000);

  const debug = await page.context().browser().newBrowserCDPSession();
  const events = [];
  debug.on("Tracing.dataCollected", ({ value }) => events.push(...value));
  await debug.send("Tracing.start", { transferMode: "ReportEvents", traceConfig: { includedCategories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline"] } });
  const frames = await page.evaluate(() => new Promise((resolve) => {
    const times = [];
    let last = performance.now();
    const end = document.documentElement.scrollHeight - innerHeight;
    requestAnimationFrame(function step(now) {
      times.push(now - last);
      last = now;
      scrollBy(0, 24);
      if (scrollY < end - 1 && times.length < 1000) requestAnimationFrame(step);
      else resolve(times.slice(1).sort((a, b) => a - b));
    });
  }));
  const ended = new Promise((resolve) => debug.on("Tracing.tracingComplete", resolve));
  await debug.send("Tracing.end");
  await ended;

  const drawn = await page.evaluate(() => [...document.querySelectorAll(".tiles.small canvas")].filter((canvas) => canvas.drawn).length);
  const at = (share) => frames[Math.floor(share * (frames.length - 1))].toFixed(1);
  console.log(`${frames.length} frames, ${drawn} overlays drawn; ms a frame: p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}, most ${at(1)}; ${frames.filter((ms) => ms > 34).length} over 34 ms`);
  const spent = Object.fromEntries(Object.entries(processorTime(events)).map(([what, ms]) => [what, (ms / frames.length).toFixed(2)]));
  console.log(`ms of processor time a frame: page ${spent.page} (script ${spent.script}, layout ${spent.layout}, paint ${spent.paint}), compositor ${spent.compositor}, raster ${spent.raster}, display ${spent.display}`);
  await closeBrowser();
  await server.stop();
})();
