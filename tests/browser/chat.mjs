// Drives the chat page in Chromium against a running gateway, and exits 1 with a sentence for every expectation that fails.
//
//   node chat.mjs --gateway http://127.0.0.1:PORT --key KEY [--expect TEXT] [--page gateway|file] [--screenshots DIR] [--only TEXT]
//
// Questions go to the real gateway. Only the replies that a healthy gateway does not give on demand (a spent quota, a crashed agent, no network) are played by
// intercepting the page's own request. --page says where the page is loaded from: the gateway's `/`, the file in the source tree, or both when left out.
// --expect is text that the answer to "My phone was stolen, what now?" must contain, in any case. --only runs the checks whose name contains TEXT.
// $CHROMIUM names the browser (default /usr/bin/chromium).
import assert from "node:assert/strict";
import { readFileSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "playwright-core";

const { values: options } = parseArgs({
  options: { gateway: { type: "string" }, key: { type: "string" }, expect: { type: "string", default: "" }, page: { type: "string" }, screenshots: { type: "string" }, only: { type: "string", default: "" } },
});
assert.ok(options.gateway && options.key, "--gateway and --key are required");
assert.ok([undefined, "gateway", "file"].includes(options.page), `--page is ${options.page}, not gateway or file`);

const gateway = new URL(options.gateway).origin;
const endpoint = `${gateway}/prod/invoke`;
const streaming = `${gateway}/prod/stream`;
// Where the page may ask: /stream first, /invoke where an API has no /stream.
const asking = (url) => [endpoint, streaming].includes(url.href);
const addresses = { gateway: `${gateway}/`, file: pathToFileURL(path.resolve(import.meta.dirname, "../../crates/gateway/src/chat.html")).href };
const places = options.page ? [options.page] : ["gateway", "file"];
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const STOLEN = "My phone was stolen, what now?";
// Longer than the gateway's 29 seconds: past them a question has its answer or its error.
const ANSWER_WAIT_MS = 35_000;
// Generous, for a machine that is busy with other tests: only a failure takes this long.
const STEP_WAIT_MS = 60_000;
const DESKTOP = { width: 1180, height: 760 };

// One visit: a fresh profile with the page open in it. `close` fails if the page complained on the console or talked to anyone but its endpoint.
async function visit(browser, place, { fragment = "", fill = {}, answering, context: contextOptions = {}, before, frozen = false } = {}) {
  const context = await browser.newContext({ viewport: DESKTOP, reducedMotion: "reduce", ...contextOptions });
  context.setDefaultTimeout(STEP_WAIT_MS);
  const page = await context.newPage();
  const complaints = [];
  const posts = [];
  page.on("pageerror", (error) => complaints.push(`uncaught ${error.message}`));
  page.on("console", (message) => {
    // The browser itself reports every reply above 399 and every refused connection; the page tells the reader instead.
    if (["error", "warning"].includes(message.type()) && !/^Failed to load resource/.test(message.text())) complaints.push(message.text());
  });
  page.on("request", (request) => {
    if (request.method() === "POST" && asking(new URL(request.url()))) posts.push(request);
    else if (!/^data:/.test(request.url()) && request.url().split(/[?#]/)[0] !== addresses[place]) complaints.push(`unexpected request ${request.method()} ${request.url()}`);
  });
  // Time stands still from the first script on, and moves by `page.clock.runFor` alone.
  // Until the pause it runs, and it cannot be paused in its past: a day is further than the slowest machine gets.
  if (frozen) { await page.clock.install({ time: 0 }); await page.clock.pauseAt(24 * 3600 * 1000); }
  if (before) await page.addInitScript(before);
  if (answering) await page.route(asking, answering);
  await page.goto(addresses[place] + fragment);
  const field = (name) => page.getByRole("textbox", { name, exact: true });
  // Filled from disk too, where nothing can be known beforehand.
  if (place === "file" || fill.endpoint) await field("Endpoint").fill(fill.endpoint ?? endpoint);
  if (fill.key !== undefined) await field("API key").fill(fill.key);
  return {
    page, posts, field,
    question: page.getByRole("textbox", { name: "Your question" }),
    log: page.getByRole("log", { name: "Questions and answers" }),
    problem: page.getByRole("alert"),
    button: (name) => page.getByRole("button", { name }),
    close: async () => { await context.close(); assert.deepEqual(complaints, [], "the page complained"); },
  };
}

// Asks and returns what the page then says: the words of the answer, or of the problem.
async function ask(at, prompt) {
  const before = await at.log.locator(".desk:not([aria-hidden])").count();
  await at.question.fill(prompt);
  await at.question.press("Enter");
  return said(at, before);
}

async function said(at, before) {
  const answer = at.log.locator(".desk:not([aria-hidden])").nth(before);
  await answer.or(at.problem.filter({ hasText: /\S/ })).waitFor({ timeout: ANSWER_WAIT_MS });
  return (await answer.count()) ? answer.locator(".words").innerText() : at.problem.innerText();
}

function assertAnswersStolen(words) {
  assert.ok(words.trim().length > 20, `the answer is too short to be one: ${JSON.stringify(words)}`);
  assert.ok(words.toLowerCase().includes(options.expect.toLowerCase()), `the answer does not mention ${JSON.stringify(options.expect)}: ${words}`);
}

async function assertAccessible(at, state) {
  await at.page.evaluate(axeSource);
  const { violations } = await at.page.evaluate(() => globalThis.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
  const found = violations.map((violation) => `${violation.id}: ${violation.help} (${violation.nodes.map((node) => node.target.join(" ")).join(", ")})`);
  assert.deepEqual(found, [], `accessibility, ${state}`);
}

async function assertFits(at, state) {
  const overflow = await at.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.equal(overflow, 0, `${state}: the page is ${overflow} px wider than its window`);
}

async function shoot(at, name) {
  if (!options.screenshots) return;
  mkdirSync(options.screenshots, { recursive: true });
  await at.page.screenshot({ path: path.join(options.screenshots, `${name}.png`) });
}

const json = (status, body, headers = {}) => (route) => route.fulfill({
  status, contentType: "application/json", body: typeof body === "string" ? body : JSON.stringify(body),
  headers: { "access-control-allow-origin": "*", "access-control-expose-headers": "retry-after", ...headers },
});
const answered = (result) => json(200, { result, actor_id: "a", thread_id: "t" });
const focusedId = (at) => at.page.evaluate(() => document.activeElement.id);

// A reply that the page receives, and what it must then say in words. The buttons are those that are offered, in their order.
const REPLIES = [
  [json(403, { message: "Forbidden" }), "The API key was not accepted.", "Try again, Change the key, Edit the question"],
  [json(403, { message: "Missing Authentication Token" }), "There is nothing to ask at this address.", "Try again, Check the endpoint, Edit the question"],
  [json(429, { message: "Too Many Requests" }), "Too many questions at once.", "Try again, Edit the question"],
  [json(429, { message: "Limit Exceeded" }), "This key’s allowance is used up.", "Try again, Change the key, Edit the question"],
  [json(429, { message: "Limit Exceeded" }, { "retry-after": "3600" }), "It comes back on ", "Try again, Change the key, Edit the question"],
  [json(429, { error: "AgentCore error: 429", details: "too many sessions" }), "The agent is busy.", "Try again, Edit the question"],
  [json(413, { message: "Request Too Long" }), "The question is too long to send.", "Edit the question"],
  [json(400, { error: "Missing required field: prompt" }), "The service says: Missing required field: prompt.", "Edit the question"],
  [json(504, { message: "Endpoint request timed out" }), "The answer took too long.", "Try again, Edit the question"],
  [json(424, { error: "AgentCore error: 424", details: "exited with signal 9" }), "The agent could not answer.", "Try again, Edit the question"],
  [json(403, { error: "AgentCore error: 403", details: "AccessDeniedException" }), "The service may not use its agent.", "Try again, Edit the question"],
  [json(500, { error: "Internal server error", details: "x" }), "Something went wrong at the service.", "Try again, Edit the question"],
  [json(502, "<html>Bad Gateway</html>"), "Something went wrong at the service.", "Try again, Edit the question"],
  [json(404, "not found"), "There is nothing to ask at this address.", "Try again, Check the endpoint, Edit the question"],
  [json(200, "<html>hello</html>"), "The reply could not be read.", "Try again, Check the endpoint, Edit the question"],
  [json(200, { result: "" }), "The reply could not be read.", "Try again, Check the endpoint, Edit the question"],
  [(route) => route.abort("connectionrefused"), `No connection to ${new URL(gateway).host}.`, "Try again, Check the endpoint, Edit the question"],
];

async function checkReply(at, [answering, words, buttons]) {
  await at.page.unroute(asking);
  await at.page.route(asking, answering);
  await at.button("New conversation").click();
  const told = await ask(at, "What will you say?");
  assert.ok(told.includes(words), `expected ${JSON.stringify(words)}, read ${JSON.stringify(told)}`);
  // How long Try again stays shut has a check of its own.
  const offered = (await at.page.locator("#notice .acts button:visible").allInnerTexts()).join(", ").replace(/ in \d+ s/, "");
  assert.equal(offered, buttons, `the buttons under ${JSON.stringify(words)}`);
  assert.match(await at.log.innerText(), /What will you say\?\s*Not answered/, "the question is kept and marked");
}

// Where the page comes from matters to these.
const EVERYWHERE = {
  async "a question is answered; a link with the key leaves no trace of it"(browser, place) {
    const at = await visit(browser, place, { fragment: `#key=${encodeURIComponent(options.key)}` });
    assert.equal(at.page.url(), addresses[place], "the key is gone from the address bar");
    assert.equal(await at.field("API key").inputValue(), options.key);
    await shoot(at, `${place}-empty`);
    assertAnswersStolen(await ask(at, STOLEN));
    const sent = at.posts[0];
    assert.deepEqual({ ...sent.postDataJSON(), key: (await sent.allHeaders())["x-api-key"] },
      { prompt: STOLEN, actor_id: await at.field("Actor").inputValue(), thread_id: await at.field("Thread").inputValue(), key: options.key });
    await assertAccessible(at, "with an answer");
    await shoot(at, `${place}-answer`);
    const kept = await at.page.evaluate(() => ({ local: { ...localStorage }, session: { ...sessionStorage } }));
    assert.ok(!JSON.stringify(kept.local).includes(options.key), "the key must not be in localStorage");
    assert.equal(kept.session["frontdesk.key"], options.key);
    const thread = await at.field("Thread").inputValue();
    await at.page.reload();
    assert.equal(await at.field("Thread").inputValue(), thread, "the thread outlives a reload");
    await at.button("New conversation").click();
    assert.notEqual(await at.field("Thread").inputValue(), thread, "a new conversation is another thread");
    await at.close();
  },

  async "a wrong key is told in words, and mended"(browser, place) {
    const at = await visit(browser, place, { fill: { key: "not-a-key-that-anyone-was-given" } });
    assert.match(await ask(at, STOLEN), /The API key was not accepted\./);
    await assertAccessible(at, "with an error");
    await shoot(at, `${place}-wrong-key`);
    await at.button("Change the key").click();
    assert.equal(await focusedId(at), "key");
    await at.field("API key").fill(options.key);
    await at.button("Try again").click();
    assertAnswersStolen(await said(at, 0));
    assert.equal(await at.log.locator(".you").count(), 1, "trying again does not repeat the question");
    assert.ok(await at.page.getByRole("region", { name: "Problem" }).isHidden(), "the problem is gone");
    await at.close();
  },

  async "the keyboard alone is enough"(browser, place) {
    const at = await visit(browser, place);
    const { keyboard } = at.page;
    if (place === "gateway") await keyboard.press("Tab");
    else await at.page.locator(".skip").focus();
    assert.equal(await at.page.evaluate(() => document.activeElement.textContent), "Skip to the question", "the first stop");
    await keyboard.press("Enter");
    assert.equal(await focusedId(at), "prompt", "the skip link leads to the question");
    for (let presses = 0; (await focusedId(at)) !== "key"; presses += 1) {
      assert.ok(presses < 20, "the key is within reach of Shift+Tab");
      await keyboard.press("Shift+Tab");
    }
    await keyboard.type(options.key);
    await keyboard.press("Tab");
    await keyboard.press("Space");
    assert.equal(await at.page.locator("#key").getAttribute("type"), "text", "the key can be shown");
    await keyboard.press("Space");
    assert.equal(await at.page.locator("#key").getAttribute("type"), "password", "and hidden again");
    await keyboard.press("Shift+Tab");
    await keyboard.press("Enter");
    assert.equal(await focusedId(at), "prompt", "Enter in a setting goes to the question");
    await keyboard.type("My phone was stolen,");
    await keyboard.press("Shift+Enter");
    await keyboard.type("what now?");
    assert.equal(await at.question.inputValue(), "My phone was stolen,\nwhat now?");
    assert.equal(at.posts.length, 0, "Shift+Enter sends nothing");
    await keyboard.press("Enter");
    assertAnswersStolen(await said(at, 0));
    assert.equal(await focusedId(at), "prompt", "focus stays in the question");
    assert.equal(await at.question.inputValue(), "");
    await at.close();
  },

  async "an empty question and a missing key send nothing"(browser, place) {
    const at = await visit(browser, place, { fill: { key: options.key } });
    for (const nothing of ["", "  ", "\n \n"]) {
      await at.question.fill(nothing);
      await at.question.press("Enter");
      await at.button("Send").click();
    }
    assert.equal(at.posts.length, 0);
    assert.equal(await at.log.locator("article").count(), 0);
    await at.field("API key").fill("");
    await at.button("Do you offer eSIM?").click();
    await at.page.getByText("Enter your API key first.").waitFor();
    assert.equal(await focusedId(at), "key", "focus goes to what is missing");
    assert.equal(await at.question.inputValue(), "Do you offer eSIM?", "the question is kept");
    await at.field("Endpoint").fill("javascript:alert(1)");
    await at.question.press("Enter");
    await at.page.getByText("The address must begin with http:// or https://.").waitFor();
    assert.equal(at.posts.length, 0);
    await at.close();
  },

  async "a browser that forbids storage"(browser, place) {
    const at = await visit(browser, place, {
      fill: { key: options.key },
      before: () => { for (const kind of ["localStorage", "sessionStorage"]) Object.defineProperty(window, kind, { get() { throw new DOMException("denied", "SecurityError"); } }); },
    });
    assertAnswersStolen(await ask(at, STOLEN));
    await at.page.getByText("does not let the page remember").waitFor();
    await at.close();
  },
};

// And not to these, which run at the first place only.
const ONCE = {
  async "landmarks, names and contrast, light and dark"(browser, place) {
    for (const colorScheme of ["light", "dark"]) {
      const at = await visit(browser, place, { fill: { key: "any" }, context: { colorScheme }, answering: answered("First:\n- one\n- **two**\n\nDial `*123#`.") });
      for (const role of ["banner", "complementary", "main", "log", "status"]) await at.page.getByRole(role).first().waitFor({ state: "attached" });
      await assertAccessible(at, `${colorScheme}, empty`);
      await ask(at, "How do I activate roaming?");
      assert.deepEqual(await at.log.getByRole("listitem").allInnerTexts(), ["one", "two"], "a list is a list");
      await at.page.unroute(asking);
      await at.page.route(asking, json(429, { message: "Too Many Requests" }, { "retry-after": "9" }));
      await ask(at, "And now?");
      await assertAccessible(at, `${colorScheme}, rate limited`);
      await shoot(at, `${place}-${colorScheme}`);
      await at.close();
    }
  },

  async "narrow and magnified"(browser, place) {
    for (const viewport of [{ width: 320, height: 640 }, { width: 360, height: 740 }, { width: 320, height: 256 }]) {
      const name = `${viewport.width}x${viewport.height}`;
      const at = await visit(browser, place, { context: { viewport }, fill: { key: options.key } });
      await assertFits(at, name);
      await shoot(at, `${place}-${name}-settings`);
      assertAnswersStolen(await ask(at, STOLEN));
      await at.button("Connection").waitFor();
      assert.equal(await at.button("Connection").getAttribute("aria-expanded"), "false", "asking closes the settings");
      await assertFits(at, name);
      await assertAccessible(at, name);
      await shoot(at, `${place}-${name}-answer`);
      await at.close();
    }
  },

  async "a rate limit counts down, then the same question goes out again"(browser, place) {
    const at = await visit(browser, place, { frozen: true, fill: { key: "any" }, context: { colorScheme: "dark" }, answering: json(429, { message: "Too Many Requests" }, { "retry-after": "7" }) });
    const again = at.page.locator("#again");
    const until = async (seconds) => {
      assert.equal(await again.innerText(), `Try again in ${seconds} s`);
      assert.ok(await again.isDisabled(), "Try again is shut meanwhile");
      await at.page.clock.runFor((seconds - 1) * 1000);
      assert.equal(await again.innerText(), "Try again in 1 s");
      await at.page.clock.runFor(1000);
      assert.equal(await again.innerText(), "Try again");
      assert.ok(await again.isEnabled(), "Try again opens by itself");
    };
    assert.match(await ask(at, "Am I too fast?"), /Too many questions at once\./);
    await shoot(at, `${place}-limited`);
    await until(7);
    // Nothing said about when: the waits grow with each refusal in a row.
    await at.page.unroute(asking);
    await at.page.route(asking, json(429, { message: "Too Many Requests" }));
    for (const seconds of [4, 8, 16, 30, 30]) {
      await again.click();
      await at.page.locator("#again:disabled").waitFor();
      await until(seconds);
    }
    await at.page.unroute(asking);
    await at.page.route(asking, answered("Not any more."));
    await again.click();
    assert.equal(await said(at, 0), "Not any more.");
    assert.deepEqual([...new Set(at.posts.map((post) => post.postDataJSON().prompt))], ["Am I too fast?"]);
    await at.close();
  },

  async "waiting is shown, and can be stopped"(browser, place) {
    const at = await visit(browser, place, { frozen: true, fill: { key: "any" }, answering: () => { /* never answers */ } });
    await at.question.fill("Are you there?");
    await at.question.press("Enter");
    const waiting = at.page.locator("#waiting-words");
    assert.equal(await waiting.innerText(), "Looking for an answer…");
    await at.page.clock.runFor(4000);
    assert.equal(await waiting.innerText(), "Looking for an answer… 4 s");
    await at.page.clock.runFor(10_000);
    assert.equal(await waiting.innerText(), "Still looking… 14 s. You can wait, or press Stop.");
    assert.ok(await at.button("Send").isHidden());
    await shoot(at, `${place}-waiting`);
    await at.question.fill("Another one");
    await at.question.press("Enter");
    assert.equal(at.posts.length, 1, "one question at a time");
    assert.equal(await at.question.inputValue(), "Another one", "the next question is kept");
    await at.button("Stop").click();
    assert.match(await at.problem.innerText(), /Stopped\./);
    assert.equal(await focusedId(at), "prompt");
    await at.button("Try again").click();
    await at.button("Stop").waitFor();
    await at.page.keyboard.press("Escape");
    await at.button("Try again").waitFor();
    await at.button("Try again").click();
    await at.button("Stop").waitFor();
    await at.page.clock.runFor(120_000);
    assert.match(await at.problem.innerText(), /No answer came\./);
    await at.button("Edit the question").click();
    assert.equal(await at.question.inputValue(), "Are you there?\nAnother one");
    assert.equal(await at.log.locator("article").count(), 0);
    await at.close();
  },

  async "a new conversation drops the answer of the old one"(browser, place) {
    const arrived = Promise.withResolvers?.() ?? deferred();
    const at = await visit(browser, place, { fill: { key: "any" }, answering: (route) => arrived.resolve(route) });
    await at.question.fill("Old");
    await at.question.press("Enter");
    const route = await arrived.promise;
    await at.button("New conversation").click();
    await answered("too late")(route).catch(() => { /* the page has already let go of the request */ });
    await at.page.unroute(asking);
    await at.page.route(asking, answered("new"));
    assert.equal(await ask(at, "New"), "new");
    assert.deepEqual(await at.log.locator(".words").allInnerTexts(), ["New", "new"]);
    assert.notEqual(at.posts[0].postDataJSON().thread_id, at.posts[1].postDataJSON().thread_id);
    await at.close();
  },

  async "an API without /stream is asked at /invoke"(browser, place) {
    const at = await visit(browser, place, { fill: { key: "any" }, answering: answered("The old way.") });
    await at.page.route(streaming, json(403, { message: "Missing Authentication Token" }));
    assert.equal(await ask(at, "Hello, is there anybody?"), "The old way.");
    assert.equal(await ask(at, "And again?"), "The old way.");
    assert.deepEqual(at.posts.map((post) => post.url()), [streaming, endpoint, endpoint], "/stream is tried once");
    await at.close();
  },

  async "a streamed answer, whole and cut off"(browser, place) {
    const events = (...items) => (route) => route.fulfill({
      status: 200, contentType: "text/event-stream; charset=utf-8", headers: { "access-control-allow-origin": "*" },
      body: items.map((item) => `data: ${JSON.stringify(item)}\n\n`).join(""),
    });
    const pieces = [{ tool_call: { id: "1", name: "search_faq", arguments: {} } }, { delta: "Dial " }, { delta: "**611**." }];
    const at = await visit(browser, place, { fill: { key: "any" }, answering: events(...pieces, { result: "Dial **611**.", actor_id: "a", thread_id: "t" }) });
    assert.equal(await ask(at, "Who helps?"), "Dial 611.");
    assert.equal(await at.log.locator(".desk").count(), 1, "the draft made room for the answer");
    for (const [last, told] of [[{ error: "the language model is silent", error_type: "RuntimeError" }, /The answer broke off\.[^]*The agent says: the language model is silent\./], [{ delta: "or" }, /The answer broke off\.[^]*The connection ended/]]) {
      await at.page.unroute(asking);
      await at.page.route(asking, events(...pieces, last));
      assert.match(await ask(at, "Who else?"), told);
      assert.equal(await at.log.locator(".desk").count(), 1, "half an answer does not stay");
    }
    await at.close();
  },

  async "an answer is text, whatever it contains"(browser, place) {
    const hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\n- <b>bold</b>";
    const at = await visit(browser, place, { fill: { key: "any" }, answering: answered(hostile) });
    const words = await ask(at, "<i>me</i>");
    assert.ok(words.includes("<img src=x onerror=") && words.includes("<b>bold</b>"), words);
    assert.equal(await at.log.locator("img, script, b, i").count(), 0);
    assert.notEqual(await at.page.title(), "owned");
    await at.close();
  },

  async "a long answer is read from its start"(browser, place) {
    const at = await visit(browser, place, { fill: { key: "any" }, answering: answered("A paragraph.\n\n".repeat(60)) });
    await ask(at, "Everything?");
    const box = await at.page.locator("#transcript").boundingBox();
    const question = await at.log.locator(".you").boundingBox();
    assert.ok(question.y >= box.y && question.y < box.y + 60, `the question is at ${question.y}, the conversation begins at ${box.y}`);
    await at.close();
  },

  async "a long question is counted"(browser, place) {
    const at = await visit(browser, place, { fill: { key: "any" } });
    const count = at.page.locator("#prompt-count");
    await at.question.fill("a".repeat(29_999));
    assert.ok(await count.isHidden());
    // Outside the basic plane: two UTF-16 units each, one character.
    await at.question.fill("📱".repeat(32_000));
    assert.equal(await count.innerText(), "32,000 of 32,000 characters");
    await at.question.fill("a".repeat(32_001));
    assert.match(await count.innerText(), /^32,001 of 32,000 characters: it may be refused/);
    await at.close();
  },

  async "every reply is told in words"(browser, place) {
    const at = await visit(browser, place, { fill: { key: "any" } });
    for (const reply of REPLIES) await checkReply(at, reply);
    await at.close();
  },
};

// For Node 20, which has no Promise.withResolvers yet.
function deferred() {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let ran = 0;
let failures = 0;
for (const place of places) {
  for (const [name, check] of Object.entries(place === places[0] ? { ...EVERYWHERE, ...ONCE } : EVERYWHERE)) {
    if (!name.includes(options.only)) continue;
    ran += 1;
    try {
      await check(browser, place);
      console.log(`ok      ${place}: ${name}`);
    } catch (error) {
      failures += 1;
      console.error(`FAILED  ${place}: ${name}\n        ${String(error.message ?? error).split("\nBrowser logs:")[0].replaceAll("\n", "\n        ")}`);
    }
  }
}
await browser.close();
// A filter that matches nothing must not look like success.
if (ran === 0) console.error(`no check's name contains ${JSON.stringify(options.only)}`);
else console.log(failures ? `${failures} of ${ran} failed` : `all ${ran} passed`);
process.exitCode = failures || ran === 0 ? 1 : 0;
