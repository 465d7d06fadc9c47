// Measures frames while the view Watch with 200 overlays is scrolled, and prints them:
// ./run starts the tests alone; scroll.cjs needs DENSEREWARD and NODE_PATH as they do.
const { serve, open, closeBrowser, feed } = require("./harness.cjs");

(async () => {
  const server = await serve(["--keep-recent", "200"]);
  const names = ["circle", "circle-bleeding", "circle-noise", "circle-warped", "star", "star-below", "star-colours", "star-swapped", "triangle", "triangle-colour"];
  for (let i = 0; i < 20; i++) await feed(server, { prompt: ["a red circle", "a yellow star above a blue square"][i % 2], names });
  const page = await open(server, { hash: "#watch" });
  await page.waitForFunction(() => document.querySelectorAll(".tiles.small li").length === 200);
  await page.waitForTimeout(1000);
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
  const drawn = await page.evaluate(() => [...document.querySelectorAll(".tiles.small canvas")].filter((canvas) => canvas.drawn).length);
  const at = (share) => frames[Math.floor(share * (frames.length - 1))].toFixed(1);
  console.log(`${frames.length} frames, ${drawn} overlays drawn; ms a frame: p50 ${at(0.5)}, p95 ${at(0.95)}, p99 ${at(0.99)}, most ${at(1)}; ${frames.filter((ms) => ms > 34).length} over 34 ms`);
  await closeBrowser();
  await server.stop();
})();
