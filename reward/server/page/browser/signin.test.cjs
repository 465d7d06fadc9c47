const assert = require("node:assert/strict");
const { mkdtempSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const path = require("node:path");
const { after, before, test } = require("node:test");
const { serve, open, close, closeBrowser, accessible, screenshot, score, image } = require("./harness.cjs");

const token = "4f0c1d6a9b2e8f7733d1";
let folder, server;
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), "tokens-"));
  writeFileSync(path.join(folder, "tokens"), `alice ${token}\nbob 9a6be2c04d5f18e3c7a1\n`);
  server = await serve(["--tokens", path.join(folder, "tokens")]);
});
after(async () => {
  await closeBrowser();
  await server.stop();
  rmSync(folder, { recursive: true });
});

const refusal = [/status of 401/];

test("a wrong token is refused in words, the right one is kept in memory alone", async () => {
  const page = await open(server, { expected: refusal });
  await page.waitForSelector("dialog[open]");
  await accessible(page);
  await screenshot(page, "signin");
  await page.fill("[name=token]", "not-the-token-of-anybody");
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog .problem:not([hidden])");
  assert.match(await page.locator("dialog .problem").textContent(), /The server does not know this token/);
  await page.fill("[name=token]", token);
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog", { state: "hidden" });
  await score(page, "try", image("circle"), "a red circle");
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href, document.documentElement.outerHTML]));
  assert.ok(!kept.includes(token), "the token lies around");
  await page.reload();
  await page.waitForSelector("dialog[open]");
  await close(page);
});

test("signing out forgets the token", async () => {
  const page = await open(server, { expected: refusal });
  await page.fill("[name=token]", token);
  await page.keyboard.press("Enter");
  await page.click("text=Sign out");
  await page.waitForSelector("dialog[open]");
  const status = await page.evaluate(async () => (await fetch("v1/models")).status);
  assert.equal(status, 401);
  await close(page);
});

test("a restart of the server is noticed and survived", async () => {
  const first = await serve();
  const page = await open(first, { expected: [/ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE_CHUNKED_ENCODING/] });
  await page.setInputFiles("#try-drop input", image("circle"));
  await page.fill("#try textarea", "a red circle");
  await page.waitForFunction(() => document.getElementById("state").dataset.kind === "ok");
  await first.stop();
  await page.click("#try .primary");
  await page.waitForSelector("#try .problem:not([hidden])");
  assert.match(await page.locator("#try .problem").textContent(), /cannot be reached/);
  const second = await serve([], first.port);
  await page.click("#try .primary");
  await page.waitForSelector("#try .card");
  assert.ok(await page.locator("#try .problem").isHidden());
  await close(page);
  await second.stop();
});
