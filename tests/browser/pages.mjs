// Every page of the console, found by following its own menu, tabs and lists: pictures, axe-core, and what holds for all.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { base, check, close, go, newProblems, none, picture, signedIn, visitor } from "./lib.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** So many pages are looked at; a console that has more of them is told of. */
const MOST = 100;
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** An address without what is another for every computer, package or user. */
function shape(address, isRow) {
  const url = new URL(address, base);
  const parts = url.pathname.split("/").map((part) => (/\d|%|[A-Z]/.test(part) ? "{}" : part));
  if (isRow) parts[parts.length - 1] = "{}";
  return parts.join("/") + [...url.searchParams.keys()].sort().map((key) => `?${key}`).join("");
}

/** The addresses of all pages that one administrator can come to, one for each kind. */
async function find(page) {
  await go(page, "/");
  const found = new Map();
  const queue = [];
  const add = (address, isRow) => {
    const key = shape(address, isRow);
    if (found.size < MOST && !found.has(key)) { found.set(key, address); queue.push(address); }
  };
  for (const address of ["/", ...(await page.$$eval("nav.side li a", (all) => all.map((it) => it.getAttribute("href")))), "/account", "/account/password"]) add(address, false);
  while (queue.length > 0) {
    const address = queue.shift();
    const response = await go(page, address).catch(() => null);
    // What is downloaded is no page.
    if (!/html/.test(response?.headers()["content-type"] ?? "")) { found.delete(shape(address, false)); continue; }
    const links = await page.evaluate(() => {
      const own = (it) => it.getAttribute("href")?.startsWith("/") && !it.hasAttribute("download") && !/export|download|\.(csv|json|pem|zip|gz)\b|[?&](after|before|sort|columns)=/.test(it.getAttribute("href"));
      const hrefs = (selector) => [...document.querySelectorAll(selector)].filter(own).map((it) => it.getAttribute("href"));
      return {
        plain: hrefs("main .tabs a, main .page-head .actions a, main .tile, main .card-head a"),
        // Of a list the first and the last: a package that went well and one that did not.
        rows: [...document.querySelectorAll("main tbody, main ul.list")].flatMap((list) => {
          const all = [...list.querySelectorAll("th[scope=row] a, .list-text a")].filter(own).map((it) => it.getAttribute("href"));
          return all.slice(0, 1);
        }),
      };
    });
    for (const link of links.plain) add(link, false);
    for (const link of links.rows) add(link, true);
  }
  return [...found.values()];
}

/** What every page must be, whatever it shows. */
const faultsOf = () => {
  const faults = [];
  const headings = document.querySelectorAll("h1").length;
  if (headings !== 1) faults.push(`${headings} h1`);
  const ids = [...document.querySelectorAll("[id]")].map((it) => it.id);
  const twice = ids.filter((id, at) => ids.indexOf(id) !== at);
  if (twice.length > 0) faults.push(`ids that come twice: ${[...new Set(twice)].join(" ")}`);
  if (!/ · dripfeed$/.test(document.title)) faults.push(`its title is "${document.title}"`);
  for (const icon of document.querySelectorAll("use")) if (icon.getBBox && icon.getBBox().width === 0 && icon.closest("svg").getBoundingClientRect().width > 0) faults.push(`no icon ${icon.getAttribute("href")}`);
  return faults;
};
const wider = () => {
  const room = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= room) return "";
  // What lies within something that scrolls by itself widens nothing.
  const scrolls = (it) => it && it !== document.body && (getComputedStyle(it).overflowX !== "visible" || scrolls(it.parentElement));
  const widest = [...document.querySelectorAll("body *")].filter((it) => !scrolls(it.parentElement))
    .map((it) => [it.getBoundingClientRect().right, it]).sort((a, b) => b[0] - a[0])[0];
  return `${document.documentElement.scrollWidth} px wide in ${room}: ${widest[1].outerHTML.slice(0, 120)}`;
};

const nameOf = (address) => shape(address, false).replace(/[{}]+/g, "one").replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "home";

export async function everyPage() {
  const first = await signedIn();
  const addresses = await find(first);
  await check("the menu leads to pages", () => (addresses.length >= 4 ? true : `only ${addresses.join(" ")}`));
  await check(`no more than ${MOST} pages, so all were looked at`, () => addresses.length < MOST);
  await close(first);

  const used = new Set();
  const names = new Map(addresses.map((address) => {
    let name = nameOf(address);
    while (used.has(name)) name += "-again";
    used.add(name);
    return [address, name];
  }));
  for (const theme of ["light", "dark"]) {
    const page = await signedIn({ theme });
    const stranger = await visitor({ theme });
    for (const [address, name, tab] of [...[...names].map((it) => [...it, page]), ["/sign-in", "sign-in", stranger]]) {
      await check(`${address} in ${theme}`, () => one(tab, address, `${name}-${theme}`));
    }
    await close(page);
    await close(stranger);
  }
}

/** One page in one theme. */
async function one(page, address, name) {
  await page.setViewport({ width: 1440, height: 900 });
  const response = await go(page, address);
  if (response.status() !== 200) return `it answers ${response.status()}`;
  return none(await faultsAt(page, name));
}

/** A page as it stands after something was done there, in both themes. */
export async function looked(page, name) {
  const faults = [];
  const themed = (theme) =>
    page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: theme }, { name: "prefers-reduced-motion", value: "reduce" }]);
  for (const theme of ["dark", "light"]) {
    await themed(theme);
    await settled(page);
    faults.push(...(await faultsAt(page, `${name}-${theme}`)));
    await page.setViewport({ width: 1440, height: 900 });
  }
  return none(faults);
}

/** Waits until colours have glided to where they go. */
const settled = (page) => page.evaluate(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  await frame();
  await Promise.allSettled(document.getAnimations().filter((it) => it instanceof CSSTransition).map((it) => it.finished));
});

/** At two widths a picture, at 390 px no sideways scrolling; axe-core. */
async function faultsAt(page, name) {
  const faults = [];
  faults.push(...(await page.evaluate(faultsOf)));
  await picture(page, `${name}-1440`);
  faults.push(...(await serious(page)));
  for (const width of [390, 320]) {
    await page.setViewport({ width, height: 844 });
    // The style follows the width at once; what the script measures follows a moment later.
    await page.evaluate(() => new Promise((done) => setTimeout(done, 200)));
    const fault = await page.evaluate(wider);
    if (fault) faults.push(`at ${width} px it is ${fault}`);
    if (width === 390) await picture(page, `${name}-390`);
  }
  faults.push(...newProblems());
  return faults;
}

async function serious(page) {
  // The policy of the page refuses script elements, so it is handed over by the debugger.
  await page.evaluate(axe);
  const found = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags, resultTypes: ["violations"] }), RULES);
  return found.violations
    .filter((it) => it.impact === "serious" || it.impact === "critical")
    .flatMap((it) => it.nodes.slice(0, 4).map((node) => `axe: ${it.id} (${it.impact}): ${it.help}: ${node.html.slice(0, 160)} ${node.any[0]?.message ?? ""}`));
}
