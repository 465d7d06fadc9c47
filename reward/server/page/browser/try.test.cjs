const assert = require("node:assert/strict");
const { execFileSync } = require("node:child_process");
const { readFileSync } = require("node:fs");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { serve, open, close, closeBrowser, accessible, screenshot, score, image } = require("./harness.cjs");

let server;
before(async () => { server = await serve(); });
after(async () => {
  await closeBrowser();
  await server.stop();
});

/** The colour of the overlay at x, y in [0,1) of a card, as [r,g,b,a]. */
const overlayAt = (page, card, x, y) => page.evaluate(([card, x, y]) => {
  const canvas = document.querySelectorAll(".card canvas:not(.dense)")[card];
  return [...canvas.getContext("2d").getImageData(Math.floor(x * canvas.width), Math.floor(y * canvas.height), 1, 1).data];
}, [card, x, y]);

test("an image that is dropped gets scores, and an overlay where its map is high", async () => {
  const page = await open(server, { expected: [/Multiple readback operations/] }); // those of this test
  const dropped = await page.evaluateHandle((bytes) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(bytes), (c) => c.charCodeAt(0))], "dropped.png", { type: "image/png" }));
    return data;
  }, readFileSync(image("circle-bleeding")).toString("base64"));
  await page.dispatchEvent("#try-drop", "drop", { dataTransfer: dropped });
  await page.waitForSelector("#try-drop li");
  await page.fill("#try textarea", "a red circle");
  await page.click("#try .primary");
  await page.waitForSelector("#try .card");
  const scores = await page.locator(".scores dt").allTextContents();
  assert.deepEqual(scores, ["semantic alignment", "aesthetics", "plausibility", "overall"]);
  for (const value of await page.locator(".scores .value").allTextContents()) assert.match(value, /^[01]\.\d{3}$/);
  // The circle bleeds in the middle; the corner is paper.
  const [r, , , a] = await overlayAt(page, 0, 0.5, 0.45);
  assert.ok(a > 100 && r > 100, `in the middle the overlay has red ${r}, alpha ${a}`);
  assert.ok((await overlayAt(page, 0, 0.05, 0.05))[3] < 20, "the corner is not clear");
  // Keyboard: the value at the place of the cross.
  await page.focus(".layers");
  await page.keyboard.press("ArrowLeft");
  const value = Number(/artifact (\d\.\d+)/.exec(await page.locator(".readout").textContent())[1]);
  assert.ok(value > 0.5, `the map reads ${value}`);
  await page.hover(".layers", { position: { x: 8, y: 8 } });
  assert.match(await page.locator(".readout").textContent(), /artifact 0\.0\d .* at \d+, \d+$/);
  await close(page);
});

test("opacity, kind of map and evaluator are switched", async () => {
  const page = await open(server);
  await score(page, "try", [image("star-below"), image("star")], "a yellow star above a blue square", { mode: "think" });
  const strength = () => page.evaluate(() => getComputedStyle(document.querySelector("#try .layers canvas")).opacity);
  await page.locator("#try .slider input").fill("0.3");
  assert.equal(await strength(), "0.3");
  await page.locator("#try .segmented").getByText("none").click();
  assert.equal(await strength(), "0");
  await page.locator("#try .slider input").fill("0.9");
  await page.locator("#try .segmented").getByText("misalignment").click();
  assert.equal(await strength(), "0.9");
  assert.deepEqual((await page.locator(".rank").allTextContents()).sort(), ["#1", "#2"]);
  assert.ok((await page.locator(".boxes rect").count()) > 0, "no boxes are drawn");
  await page.locator(".pointer").first().focus();
  assert.equal(await page.locator(".boxes .lit").count(), 1);
  const first = await page.locator(".reward").first().textContent();
  await page.selectOption("#try [name=evaluator]", "half");
  await page.click("#try .primary");
  await page.waitForFunction((first) => document.querySelector(".reward").textContent !== first, first);
  assert.match(await page.locator("#state").textContent(), /^half/);
  await close(page);
});

test("a failing image has its error in words and costs the others nothing", async () => {
  const page = await open(server);
  const broken = { name: "broken.png", mimeType: "image/png", buffer: readFileSync(image("circle")).subarray(0, 300) };
  await page.setInputFiles("#try-drop input", image("circle"));
  await score(page, "try", broken, "a red circle");
  assert.match(await page.locator(".card.failed").textContent(), /This image was not scored: .*image_corrupt/);
  assert.equal(await page.locator(".card:not(.failed) .scores").count(), 1);
  await accessible(page);
  await close(page);
});

test("the lines of a shell and of Python get what was shown", async () => {
  const page = await open(server);
  await score(page, "try", image("circle-bleeding"), "a red circle's \"edge\"");
  const shown = await page.locator(".reward").evaluate((e) => Number(e.firstChild.textContent));
  const [shell, python] = await page.locator("pre").evaluateAll((all) => ["curl", "import"].map((first) => all.find((e) => e.textContent.startsWith(first)).textContent));
  const folder = path.dirname(image("circle-bleeding"));
  const answer = JSON.parse(execFileSync("bash", ["-c", shell], { cwd: folder, stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1e8 }));
  assert.ok(Math.abs(answer.rewards[0] - shown) < 1e-3, `curl says ${answer.rewards}`);
  const env = { ...process.env, PYTHONPATH: path.join(__dirname, "../../../../client/python/src"), PYTHONDONTWRITEBYTECODE: "1" };
  const said = execFileSync(process.env.PYTHON || "/usr/bin/python3", ["-c", python], { cwd: folder, env, encoding: "utf8" });
  assert.ok(Math.abs(Number(/^\[([\d.]+)\]/.exec(said)?.[1]) - shown) < 1e-3, `Python says ${said}`);
  await close(page);
});

test("downloads are what was shown", async () => {
  const page = await open(server);
  await score(page, "try", image("circle-bleeding"), "a red circle");
  const fetched = async (text) => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: text, exact: true }).click()]);
    return [download.suggestedFilename(), readFileSync(await download.path())];
  };
  const [name, npy] = await fetched("artifact.npy");
  assert.equal(name, "circle-bleeding.artifact.npy");
  assert.equal(npy.subarray(1, 6).toString(), "NUMPY");
  const header = npy.readUInt16LE(8);
  assert.equal((10 + header) % 64, 0);
  assert.match(npy.subarray(10, 10 + header).toString(), /'<f4'.*'shape': \(\d+, \d+\)/);
  const [, height, width] = /\((\d+), (\d+)\)/.exec(npy.subarray(10, 10 + header));
  assert.equal(npy.length, 10 + header + 4 * height * width);
  const [, png] = await fetched("PNG");
  assert.equal(png.subarray(1, 4).toString(), "PNG");
  assert.equal(png.readUInt32BE(16), readFileSync(image("circle-bleeding")).readUInt32BE(16));
  const [, json] = await fetched("JSON");
  const read = JSON.parse(json);
  assert.equal(read.prompt, "a red circle");
  assert.ok(Math.abs(read.reward - Number(await page.locator(".reward").evaluate((e) => e.firstChild.textContent))) < 1e-3);
  await close(page);
});

test("prompts and file names with markup are text", async () => {
  const corpus = [
    `<img src=x onerror=alert(1)>`, `"><script>alert(1)</script>`, `<svg/onload=alert(1)>`, `javascript:alert(1)`, `{{constructor.constructor('alert(1)')()}}`,
    `'; alert(1); '`, `</textarea><script>alert(1)</script>`, `<a href="javascript:alert(1)">a</a>`, `&lt;img src=x onerror=alert(1)&gt;`, `\u202egnp.exe`, `<iframe srcdoc="<script>alert(1)</script>">`,
  ];
  const page = await open(server);
  const file = readFileSync(image("circle"));
  await score(page, "try", corpus.map((text) => ({ name: text.replaceAll("/", "∕") + ".png", mimeType: "image/png", buffer: file })), corpus.join("\n"));
  assert.deepEqual(await page.locator(".card h3").allTextContents(), corpus.map((text) => text.replaceAll("/", "∕") + ".png"));
  await page.click(".lines summary");
  assert.match(await page.locator("pre").first().textContent(), /onerror=alert\(1\)/);
  assert.equal(await page.locator("img[src=x], iframe, script:not([src]), a[href^=javascript], svg[onload]").count(), 0);
  await close(page);
});

test("the first paint takes less than 100 kB", async () => {
  const page = await open(server);
  await page.waitForLoadState("networkidle");
  const bytes = await page.evaluate(() => performance.getEntries().filter((e) => e.transferSize).reduce((sum, e) => sum + e.transferSize, 0));
  assert.ok(bytes > 5000 && bytes < 100000, `${bytes} bytes`);
  await close(page);
});

for (const [look, context] of [
  ["light", {}], ["dark", { colorScheme: "dark" }], ["phone", { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
]) {
  test(`Try and Compare are accessible and fit, ${look}`, async () => {
    const page = await open(server, context);
    await accessible(page);
    await screenshot(page, `try-empty-${look}`);
    await score(page, "try", ["circle", "circle-bleeding", "circle-noise", "star-below"].map(image), "a red circle", { mode: "think" });
    await accessible(page);
    await screenshot(page, `try-${look}`, { fullPage: look !== "light" });
    await page.click("nav >> text=Compare");
    await score(page, "compare", ["circle", "circle-bleeding", "star-below"].map(image), "a red circle");
    assert.match(await page.locator("#compare .summary").textContent(), /Rank correlation of the rewards over 3 images: /);
    await accessible(page);
    await screenshot(page, `compare-${look}`, { fullPage: look !== "light" });
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the page is wider than its window");
    await close(page);
  });
}
