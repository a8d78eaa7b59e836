// What the scenarios share: the browser, the programs under test, and the count.

import { execFile, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import puppeteer from "puppeteer-core";

const run = promisify(execFile);
const env = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: tests/browser/run.sh starts this`);
  return value;
};

export const base = env("BASE");
export const work = env("WORK");
export const shots = env("SHOTS");
/** Milliseconds that a page may take before the test gives up; machines that build at the same time are slow. */
export const PATIENCE = 30_000;
/** An administrator who need not change a password first. */
export const tester = { name: "tester", password: "browser tests read a lot" };

// ---- the count -----------------------------------------------------------------------------------------------------

export const tally = { passed: 0, failed: 0 };

function told(sentence, why) {
  if (why === undefined) {
    tally.passed += 1;
    console.log(`ok     ${sentence}`);
  } else {
    tally.failed += 1;
    console.log(`FAILED ${sentence}\n       ${String(why).replaceAll("\n", "\n       ")}`);
  }
}

/** One line and the count. `work` fails by throwing, or by giving `false` or a text. */
export async function check(sentence, work) {
  try {
    const found = await work();
    told(sentence, found === false ? "it does not hold" : typeof found === "string" ? found : undefined);
    return found !== false && typeof found !== "string";
  } catch (error) {
    told(sentence, `${error.message ?? error}${open ? `\nat ${open.url()}: ${await heading(open)}` : ""}`);
    if (open && !open.isClosed()) {
      const name = sentence.replace(/[^a-z0-9]+/gi, "-").slice(0, 60);
      await open.screenshot({ path: `${shots}/failed-${name}.png` }).catch(() => {});
    }
    return false;
  }
}

const heading = (page) =>
  page.evaluate(() => [...document.querySelectorAll("h1, .alert")].map((it) => it.innerText).join(" / ").slice(0, 300))
    .catch(() => "no page");

/** The list is empty; else its first entries are told. */
export const none = (list) => (list.length === 0 ? true : `${list.length} found:\n${list.slice(0, 12).join("\n")}`);

// ---- the programs under test ---------------------------------------------------------------------------------------

/** A verb of the server's program, in its directory: standard output. */
export async function cli(...words) {
  const input = typeof words.at(-1) === "object" ? words.pop().input : "";
  const child = run(env("DRIPFEED"), ["--data-dir", env("DATA"), ...words], { maxBuffer: 64 << 20 });
  // A verb that refuses its arguments reads nothing.
  child.child.stdin.on("error", () => {});
  child.child.stdin.end(input);
  return (await child).stdout;
}

/** The number in what a verb said. */
export const number = (text) => text.match(/\d{6,}/)?.[0] ?? "";

/** A check-in of a real agent with a directory of its own, to its end. */
export function agent(name, ...words) {
  const data = `${work}/agents/${name}`;
  mkdirSync(data, { recursive: true });
  const all = ["once", "--server", `${base}/ocsinventory`, "--ca", env("CA"), "--data-dir", data, ...words];
  // A clean environment: it would obey http_proxy.
  const child = spawn(env("AGENT"), all, { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: work }, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stdout.on("data", (bytes) => (log += bytes));
  child.stderr.on("data", (bytes) => (log += bytes));
  const limit = setTimeout(() => child.kill("SIGKILL"), 60_000);
  return new Promise((done) => child.on("close", (code) => { clearTimeout(limit); done({ code, log }); }));
}

/** A package without files, built and activated by verbs: what is not under test in a scenario. */
export async function quickPackage(name, command) {
  const id = number(await cli("package", "build", "--name", name, "--version", "1.0", "--os", "linux", "--action", "execute", "-c", command));
  await cli("activate", id);
  return id;
}

// ---- the browser ---------------------------------------------------------------------------------------------------

let browser;
let open;
/** What no page may do: script errors, refusals of the content security policy, dialogs, answers of 500 and more. */
const problems = [];
/** Those since they were asked for last. */
export const newProblems = () => problems.splice(0);

export async function start() {
  browser = await puppeteer.launch({
    executablePath: env("CHROMIUM"),
    acceptInsecureCerts: true,
    // As root there is no sandbox; /dev/shm of containers is too small; nothing is asked of other hosts.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"],
    protocolTimeout: 120_000,
  });
}

export const end = () => browser?.close();

/** A new browser profile with a page that is watched. */
export async function visitor({ theme } = {}) {
  const context = await browser.createBrowserContext();
  const page = await watch(await context.newPage());
  if (theme) await page.setCookie({ name: "theme", value: theme, url: base, secure: true });
  return page;
}

async function watch(page) {
  page.setDefaultTimeout(PATIENCE);
  await page.setViewport({ width: 1440, height: 900 });
  // A theme is what the system prefers, unless the cookie says one.
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }, { name: "prefers-reduced-motion", value: "reduce" }]);
  await page.evaluateOnNewDocument(() => {
    globalThis.hit = (what) => console.debug(`PAYLOAD RAN: ${what}`);
    document.addEventListener("securitypolicyviolation", (event) =>
      console.debug(`POLICY: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  const note = (text) => problems.push(`${text} (${page.url().slice(0, 200)})`);
  page.on("console", (message) => {
    const text = message.text();
    if (/^(PAYLOAD RAN|POLICY)/.test(text) || /Content Security Policy/.test(text)) note(text);
  });
  page.on("pageerror", (error) => note(`script error: ${error.message}`));
  page.on("dialog", (dialog) => {
    if (dialog.type() !== "beforeunload") note(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(base) && !/^(data|blob|about|chrome-error):/.test(url)) note(`asks another server: ${url}`);
  });
  page.on("response", (response) => { if (response.status() >= 500) note(`answer ${response.status()} of ${response.url()}`); });
  open = page;
  return page;
}

/** Goes to an address of the console and waits for the script. */
export async function go(page, address) {
  open = page;
  const response = await page.goto(new URL(address, base).href, { waitUntil: "load" });
  await scripted(page);
  return response;
}

const scripted = (page) => page.waitForFunction(() => !document.querySelector("script[src]") || document.documentElement.dataset.script === "on");

/** Does something that leads to another page, and waits for that. */
export async function follow(page, work) {
  open = page;
  await page.evaluate(() => { globalThis.thePageBefore = true; });
  await work();
  await page.waitForFunction(() => !globalThis.thePageBefore && document.readyState === "complete");
  await scripted(page);
}

export const text = (page, selector = "main") => page.$eval(selector, (it) => it.innerText);
/** Waits until a text is to be read on the page. */
export async function reads(page, words, selector = "body") {
  const found = words instanceof RegExp ? [words.source, "i"] : [words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i"];
  await page.waitForFunction(
    (selector, source, flags) => [...document.querySelectorAll(selector)].some((it) => new RegExp(source, flags).test(it.innerText)),
    {}, selector, ...found,
  ).catch(async () => { throw new Error(`"${words}" does not appear; there is: ${(await text(page, "body")).slice(0, 600)}`); });
}

/** Fills a form's field, whatever kind it is. */
export async function fill(page, selector, value) {
  const field = await page.waitForSelector(selector);
  const kind = await field.evaluate((it) => (it.localName === "select" ? "select" : it.type));
  if (kind === "select") await page.select(selector, value);
  else if (kind === "checkbox" || kind === "radio") { if ((await field.evaluate((it) => it.checked)) !== value) await field.evaluate((it) => it.click()); }
  else {
    // Typing is what people do; long texts are pasted.
    await field.evaluate((it) => { it.closest("details:not([open])")?.setAttribute("open", ""); it.value = ""; });
    await field.type(value.length < 80 ? value : value.slice(0, 1));
    if (value.length >= 80) await field.evaluate((it, value) => { it.value = value; it.dispatchEvent(new Event("input", { bubbles: true })); }, value);
  }
}

/** Presses the button or link within `where` that reads like this; answers the question that it may ask. */
export async function press(page, words, where = "main") {
  const handle = await page.waitForFunction(
    (where, source) => [...document.querySelectorAll(`${where} :is(button, a.button, a, summary, [role=button])`)]
      .find((it) => new RegExp(source, "i").test(it.innerText || it.getAttribute("aria-label") || "") && it.offsetParent !== null),
    {}, where, words instanceof RegExp ? words.source : `^\\s*${words}`,
  ).catch(async () => { throw new Error(`there is no button "${words}"; there are: ${await page.$$eval(`${where} :is(button, a.button)`, (all) => all.map((it) => it.innerText).join(" | "))}`); });
  const asks = await handle.evaluate((it) => it.dataset.confirm !== undefined || it.closest("form")?.dataset.confirm !== undefined);
  await handle.evaluate((it) => it.click());
  if (asks) {
    const yes = await page.waitForSelector("dialog[open] button.primary, dialog[open] button.danger");
    await yes.evaluate((it) => it.click());
  }
}

export async function signIn(page, { name, password }) {
  await go(page, "/sign-in");
  await fill(page, "input[name=name]", name);
  await fill(page, "input[name=password]", password);
  await follow(page, () => press(page, "Sign in"));
}

/** A profile in which the tester is signed in. */
export async function signedIn(options = {}) {
  const page = await visitor(options);
  await signIn(page, options.as ?? tester);
  if (new URL(page.url()).pathname === "/sign-in") throw new Error(`signing in failed: ${await text(page)}`);
  return page;
}

/** A picture of a page as it is. */
export const picture = (page, name) => page.screenshot({ path: `${shots}/${name}.png` });

export const close = (page) => page.browserContext().close();

/** Asks an address from within the page, with its session, as its script would. */
export function ask(page, method, address, form) {
  return page.evaluate(async (method, address, form) => {
    const csrf = document.querySelector("meta[name=csrf]")?.content ?? "";
    const response = await fetch(address, {
      method, redirect: "manual", headers: { "X-CSRF": csrf },
      ...(form ? { body: new URLSearchParams(form) } : {}),
    });
    return { status: response.status, type: response.type, text: await response.text() };
  }, method, address, form);
}
