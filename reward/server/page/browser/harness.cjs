// A server of the real program, and a browser that notes what goes wrong.
const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { readFileSync, mkdirSync } = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");

const demo = path.join(__dirname, "../../../../cmd/densereward/demo");
const evaluators = ["--evaluator", "pocket=imagedoctor", "--evaluator", "half=mix:pocket=0.5"];

/** Starts a server; port 0 is a free one. Gives {address, port, stop}. */
async function serve(flags = [], port = 0) {
  const child = spawn(process.env.DENSEREWARD, ["serve", "--listen", `127.0.0.1:${port}`, "--offline", "--log-format", "json", ...evaluators, ...flags], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  let log = "";
  const address = await new Promise((resolve, reject) => {
    let found;
    child.stderr.on("data", (data) => {
      log += data;
      found ??= /"msg":"listening","address":"([^"]+)"/.exec(log)?.[1];
      if (found && /"msg":"ready"/.test(log)) resolve(found);
    });
    ended.then((code) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
  return {
    address: `http://${address}/`, port: address.split(":").pop(),
    async stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

let browser;
async function open(server, { hash = "", expected = [], script, ...context } = {}) {
  browser ??= await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
  const page = await (await browser.newContext({ viewport: { width: 1360, height: 900 }, acceptDownloads: true, ...context })).newPage();
  page.faults = [];
  page.bytes = 0;
  page.on("console", (m) => {
    if (["error", "warning"].includes(m.type()) && !expected.some((e) => e.test(m.text()))) page.faults.push(m.text());
  });
  page.on("pageerror", (err) => page.faults.push(String(err)));
  page.on("dialog", (dialog) => {
    page.faults.push("a dialog: " + dialog.message());
    dialog.dismiss();
  });
  page.on("request", (request) => {
    const address = request.url();
    if (!/^(data|blob):/.test(address) && new URL(address).origin !== new URL(server.address).origin) page.faults.push("it asked " + address);
  });
  if (script) await page.addInitScript(script);
  await page.goto(server.address + hash);
  return page;
}

/** Ends a page that should have had no fault. */
async function close(page) {
  const { faults } = page;
  await page.context().close();
  assert.deepEqual(faults, []);
}

async function closeBrowser() {
  await browser?.close();
}

/** Fails for findings of axe that are serious, in what is shown. */
async function accessible(page) {
  // The policy of the page lets no script in; the browser's debugger is not bound by it.
  await page.evaluate(readFileSync(axe, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run());
  const serious = violations.filter((v) => ["serious", "critical"].includes(v.impact));
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.nodes.map((n) => n.target + " " + n.failureSummary).join("; ")}`), []);
}

async function screenshot(page, name, options = {}) {
  if (!process.env.SCREENSHOTS) return;
  mkdirSync(process.env.SCREENSHOTS, { recursive: true });
  await page.mouse.move(0, 0);
  await page.screenshot({ path: path.join(process.env.SCREENSHOTS, name + ".png"), ...options });
}

/** Gives a view images and a prompt, and waits for its cards. */
async function score(page, view, files, prompt, settings = {}) {
  await page.setInputFiles(`#${view}-drop input`, files);
  await page.fill(`#${view} textarea`, prompt);
  for (const [name, value] of Object.entries(settings)) await page.selectOption(`#${view} [name=${name}]`, value);
  await page.click(`#${view} .primary`);
  await page.waitForSelector(`#${view} .card`, { timeout: 60000 });
}

/** Has a server score images without a browser. */
async function feed(server, { prompt, names = [], files = names.map((name) => readFileSync(image(name))), signal, ...more }) {
  const body = { prompts: files.map(() => prompt), images: files.map((file) => file.toString("base64")), return: [], ...more };
  const answer = await fetch(server.address + "v1/score", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  assert.equal(answer.status, 200, await answer.text());
}

const image = (name) => path.join(demo, name + ".png");

module.exports = { serve, open, close, closeBrowser, accessible, screenshot, score, feed, image };
