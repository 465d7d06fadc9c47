const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const { after, before, test } = require("node:test");
const { serve, open, close, closeBrowser, accessible, screenshot, feed, image } = require("./harness.cjs");

const lost = [/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING/];
const hostile = `<img src=x onerror=alert(1)>"><script>alert(2)</script>`;

let server;
before(async () => {
  server = await serve(["--keep-recent", "100"]);
  await feed(server, { prompt: "a red circle", names: ["circle", "circle-bleeding", "circle-noise", "star-below"] });
  await feed(server, { prompt: hostile, names: ["star"] });
  await feed(server, { prompt: "a red circle", names: ["circle"], evaluator: "half" });
  await feed(server, { prompt: "a broken file", files: [readFileSync(image("star")).subarray(0, 200)] });
  for (let i = 0; i < 12; i++) await feed(server, { prompt: "a yellow star above a blue square", names: ["star", "star-below", "star-colours", "star-swapped", "triangle", "triangle-shape", "circle", "circle-warped"] });
});
after(async () => {
  await closeBrowser();
  await server.stop();
});

const rewards = (page) => page.locator(".tiles.small .amount").evaluateAll((all) => all.map((one) => Number(one.textContent)));

test("100 recent samples are shown, the worst first, of one evaluator", async () => {
  const page = await open(server, { hash: "#watch" });
  await page.waitForFunction(() => document.querySelectorAll(".tiles.small li").length === 100);
  assert.match(await page.locator("#watch .summary").textContent(), /^100 samples, mean reward 0\.\d{3}/);
  await page.selectOption("[aria-label=Order]", "worst");
  const worst = await rewards(page);
  assert.deepEqual(worst, [...worst].sort((a, b) => a - b));
  await page.selectOption("[aria-label=Evaluator]", "half");
  assert.deepEqual(await page.locator(".tiles.small .hint").allTextContents(), ["half"]);
  await page.selectOption("[aria-label=Evaluator]", "");
  // The oldest went for the last.
  await feed(server, { prompt: "the last one", names: ["circle"] });
  await page.selectOption("[aria-label=Order]", "new");
  await page.waitForFunction(() => document.querySelector(".tiles.small .prompt").textContent === "the last one");
  assert.equal(await page.locator(".tiles.small li").count(), 100);
  await page.locator(".tiles.small button").first().click();
  assert.equal(await page.locator(".detail .scores dt").count(), 4);
  await accessible(page);
  await close(page);
});

test("prompts with markup are text, failures have their code, overlays are drawn", async () => {
  const page = await open(server, { hash: "#watch" });
  await page.waitForFunction(() => document.querySelectorAll(".tiles.small li").length === 100);
  const prompts = await page.locator(".tiles.small .prompt").allTextContents();
  assert.ok(prompts.includes(hostile));
  assert.equal(await page.locator("img[src=x], script:not([src])").count(), 0);
  await page.selectOption("[aria-label=Order]", "worst");
  assert.equal(await page.locator(".tiles.small .wrong").first().textContent(), "image_corrupt");
  await page.waitForFunction(() => document.querySelector(".tiles.small li:nth-child(2) canvas")?.width > 1 && document.querySelector(".tiles.small li:nth-child(2) canvas").drawn);
  await close(page);
});

test("a group that waits is shown with whom it waits for", async () => {
  const page = await open(server, { hash: "#watch" });
  const gone = new AbortController();
  const pending = feed(server, { prompt: "p", names: ["circle"], signal: gone.signal, advantage: { method: "flowgrpo" }, groups: { step: "run 7", size: 3, names: ["g"], members: [1] } }).catch(() => {});
  await page.waitForSelector("text=run 7");
  assert.match(await page.locator("tr", { hasText: "run 7" }).textContent(), /1 of 3member 0, 2$/);
  await accessible(page);
  gone.abort();
  await pending;
  await page.waitForSelector("text=run 7", { state: "hidden" });
  await close(page);
});

test("there is one stream and no polling, and it ends with the view", async () => {
  const page = await open(server, { hash: "#watch" });
  const asked = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.waitForFunction(() => document.getElementById("state").textContent === "live");
  asked.length = 0;
  await feed(server, { prompt: "seen at once", names: ["circle"] });
  await page.waitForFunction(() => [...document.querySelectorAll(".tiles.small .prompt")].some((one) => one.textContent === "seen at once"));
  assert.deepEqual(asked, []);
  const ended = page.waitForEvent("requestfailed", (request) => request.url().endsWith("/v1/watch"));
  await page.click("nav >> text=Try");
  await ended;
  await close(page);
});

test("what was asked before the stream and is answered behind it does not hide that it is live", async () => {
  const script = `{
    const asked = window.fetch;
    let held;
    window.fetch = (path, ...rest) => {
      const answer = asked(path, ...rest);
      if (held || !String(path).endsWith("v1/models")) return answer;
      held = new Promise((resolve) => setTimeout(resolve, 1500)).then(() => { document.documentElement.dataset.late = ""; return answer; });
      return held;
    };
  }`;
  const page = await open(server, { hash: "#watch", script });
  await page.waitForFunction(() => document.getElementById("state").textContent === "live");
  await page.waitForSelector("html[data-late]");
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 200)));
  assert.equal(await page.locator("#state").textContent(), "live");
  await close(page);
});

test("memory of GPUs is shown where there are some", async () => {
  const page = await open(server);
  const state = { type: "state", at: 1, requests: 0, latency_ms: null, errors: {}, held_bytes: 2048, gpus: [{ used: 3 * 2 ** 30, total: 80 * 2 ** 30 }, { used: 2 ** 30, total: 80 * 2 ** 30 }], evaluators: [], groups: [], all_groups: 0, keep_recent: 0 };
  await page.route("**/v1/watch", (route) => route.fulfill({ contentType: "application/x-ndjson", body: JSON.stringify(state) + "\n" }));
  await page.click("nav >> text=Watch");
  const tile = page.locator("#watch .tile", { hasText: "Memory" });
  await tile.getByText("of 160 GiB on 2 GPUs; 2.0 KiB in bodies and answers").waitFor();
  assert.equal(await tile.locator(".big").textContent(), "4.0\u00a0GiB");
  await close(page);
});

test("a restart of the server while it is watched is survived", async () => {
  const first = await serve(["--keep-recent", "10"]);
  const page = await open(first, { hash: "#watch", expected: lost });
  await feed(first, { prompt: "before", names: ["circle"] });
  await page.waitForSelector("text=before");
  assert.equal(await first.stop(), 0); // the stream does not hold the server up
  await page.waitForFunction(() => document.getElementById("state").dataset.kind === "bad");
  const second = await serve(["--keep-recent", "10"], first.port);
  await feed(second, { prompt: "after", names: ["star"] });
  await page.waitForSelector("text=after", { timeout: 20000 });
  assert.equal(await page.locator(".tiles.small li").count(), 1);
  assert.equal(await page.locator("#state").textContent(), "live");
  await close(page);
  await second.stop();
});

for (const [look, context] of [
  ["light", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
]) {
  test(`Watch is accessible and fits, ${look}`, async () => {
    const page = await open(server, { hash: "#watch", ...context });
    await page.waitForFunction(() => document.querySelectorAll(".tiles.small li").length === 100);
    await page.selectOption("[aria-label=Order]", "worst");
    await accessible(page);
    await screenshot(page, `watch-${look}`);
    await page.evaluate(() => document.querySelector("#watch-recent .part").scrollIntoView());
    await page.waitForFunction(() => document.querySelector(".tiles.small li:nth-child(8) canvas").drawn);
    await screenshot(page, `watch-samples-${look}`);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than its window");
    await close(page);
  });
}
