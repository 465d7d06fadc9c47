const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { after, test } = require("node:test");
const { pathToFileURL } = require("node:url");
const { open, close, closeBrowser, accessible, screenshot, image } = require("./harness.cjs");

const folder = mkdtempSync(path.join(tmpdir(), "report-"));
after(async () => {
  await closeBrowser();
  rmSync(folder, { recursive: true });
});

test("a report of evaluate draws its examples as the page does, and asks for nothing", async () => {
  const run = (...args) => execFileSync(args[0], args.slice(1), { cwd: folder, stdio: "pipe" });
  mkdirSync(path.join(folder, "in"));
  for (const name of ["circle", "circle-bleeding"]) {
    copyFileSync(image(name), path.join(folder, "in", name + ".png"));
    writeFileSync(path.join(folder, "in", name + ".txt"), `a red circle <img src=x onerror=alert(1)>`);
  }
  run("tar", "--sort=name", "-C", "in", "-cf", "in.tar", ".");
  run(process.env.DENSEREWARD, "relabel", "in.tar", "--out", "out", "--offline", "--maps", "heatmaps");
  run(process.env.DENSEREWARD, "evaluate", "out/in.tar", "--html", "report.html");
  const address = pathToFileURL(path.join(folder, "report.html")).href;
  const asked = [];
  const page = await open({ address: "about:blank" }, { expected: [/Multiple readback operations/] }); // those of this test
  page.on("request", (request) => asked.push(request.url()));
  page.removeAllListeners("console");
  page.on("console", (m) => m.type() === "error" && page.faults.push(m.text()));
  page.faults.length = 0;
  await page.goto(address);
  await page.waitForFunction(() => document.querySelectorAll(".layers canvas").length === 4);
  // The worst, which bleeds in the middle, is the third: two are best, two are worst.
  const alpha = await page.evaluate(() => [...document.querySelectorAll(".layers canvas")].map((canvas) => canvas.getContext("2d").getImageData(Math.floor(canvas.width / 2), Math.floor(0.45 * canvas.height), 1, 1).data[3]));
  assert.ok(alpha[2] > 100 && alpha[0] < 20, `alpha in the middle: ${alpha}`);
  await page.selectOption("#map", "");
  assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector(".layers canvas")).opacity), "0");
  assert.equal(await page.locator("img[src=x]").count(), 0);
  await accessible(page);
  await screenshot(page, "report", { fullPage: true });
  page.faults.push(...asked.filter((url) => url !== address && !url.startsWith("data:")));
  await close(page);
});
