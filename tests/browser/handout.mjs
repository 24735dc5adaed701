// Looks at a hand-out's page in Chromium, wide and narrow, light and dark, and exits 1 with a sentence for every expectation that fails.
//
//   node handout.mjs --page FILE [--screenshots DIR]
//
// $CHROMIUM names the browser (default /usr/bin/chromium).
import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({ options: { page: { type: "string" }, screenshots: { type: "string" } } });
assert.ok(options.page, "--page is required");
const address = pathToFileURL(path.resolve(options.page)).href;
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
if (options.screenshots) mkdirSync(options.screenshots, { recursive: true });

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox"] });
const failures = [];
for (const [width, colorScheme] of [[1200, "light"], [360, "light"], [1200, "dark"], [360, "dark"]]) {
  const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
  const page = await context.newPage();
  const name = `${width} px, ${colorScheme}`;
  page.on("request", (request) => { if (request.url().split("#")[0] !== address) failures.push(`${name}: the page fetches ${request.url()}`); });
  page.on("pageerror", (error) => failures.push(`${name}: ${error.message}`));
  await page.goto(address);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (wide > 0) failures.push(`${name}: the page scrolls sideways by ${wide} px`);
  const headings = await page.locator("h2").count();
  if (headings < 6) failures.push(`${name}: only ${headings} headings`);
  for (const link of await page.locator("nav a").all()) {
    const target = await link.getAttribute("href");
    if (await page.locator(target).count() !== 1) failures.push(`${name}: ${target} leads nowhere`);
  }
  await page.evaluate(axeSource);
  const { violations } = await page.evaluate(() => axe.run());
  for (const { id, nodes } of violations) failures.push(`${name}: ${id}: ${nodes.map((node) => node.html).join(" ")}`);
  if (options.screenshots) await page.screenshot({ path: path.join(options.screenshots, `handout-${width}-${colorScheme}.png`), fullPage: width === 1200 });
  await context.close();
}
await browser.close();
for (const failure of failures) console.error(failure);
if (failures.length > 0) process.exit(1);
console.log("the page is well at every width");
