// An administrator's day, story by story. Each story makes what it needs, so each can be run alone.

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { agent, ask, check, cli, close, fill, follow, go, picture, press, quickPackage, reads, signIn as signInAs, signedIn, text, visitor, work } from "./lib.mjs";

const path = (page) => new URL(page.url()).pathname;

// ---- signing in ----------------------------------------------------------------------------------------------------

export async function signIn() {
  const page = await visitor();
  const own = "a sentence for the browser";
  await check("whoever is not signed in is sent to the sign-in page, and remembered where to", async () => {
    await go(page, "/packages");
    return path(page) === "/sign-in" && new URL(page.url()).searchParams.get("next") === "/packages";
  });
  await check("a wrong password is refused with a sentence, and the name is kept", async () => {
    await fill(page, "input[name=name]", "admin");
    await fill(page, "input[name=password]", "not the password");
    await follow(page, () => press(page, "Sign in"));
    await page.waitForSelector("[role=alert]");
    return (await page.$eval("input[name=name]", (it) => it.value)) === "admin";
  });
  await check("the one-time password opens nothing but the page to change it", async () => {
    await fill(page, "input[name=password]", process.env.PASSWORD);
    await follow(page, () => press(page, "Sign in"));
    if (path(page) !== "/account/password") return `it leads to ${path(page)}: ${await text(page)}`;
    await go(page, "/packages");
    return path(page) === "/account/password";
  });
  await picture(page, "first-sign-in");
  await check("two new passwords that differ are refused, and the field is marked", async () => {
    await fill(page, "#old", process.env.PASSWORD);
    await fill(page, "#new", own);
    await fill(page, "#again", "another sentence");
    await follow(page, () => press(page, "Change the password"));
    return (await page.$eval("#again", (it) => it.getAttribute("aria-invalid"))) === "true";
  });
  await check("with a password of one's own the console is open", async () => {
    await fill(page, "#old", process.env.PASSWORD);
    await fill(page, "#new", own);
    await fill(page, "#again", own);
    await follow(page, () => press(page, "Change the password"));
    await reads(page, "password was changed", "#toast");
    await page.waitForSelector("nav.side a[href='/packages']");
    return true;
  });
  await check("the session's cookie is for this host, HTTPS and no script", async () => {
    const cookie = (await page.browserContext().cookies()).find((it) => it.name === "__Host-dripfeed");
    return cookie?.secure && cookie.httpOnly && cookie.sameSite === "Lax" && cookie.path === "/" ? true : JSON.stringify(cookie ?? "none");
  });
  await check("signing out ends the session on the server, too", async () => {
    const cookie = (await page.browserContext().cookies()).find((it) => it.name === "__Host-dripfeed");
    await page.$eval("form[action='/sign-out']", (it) => it.closest("details")?.setAttribute("open", ""));
    await follow(page, () => press(page, "Sign out", "header"));
    if (path(page) !== "/sign-in") return `it leads to ${path(page)}`;
    await page.browserContext().setCookie(cookie);
    await go(page, "/packages");
    return path(page) === "/sign-in";
  });
  await check("the old one-time password opens nothing any more, the own one does", async () => {
    await signInAs(page, { name: "admin", password: process.env.PASSWORD });
    if (path(page) !== "/sign-in") return "it does";
    await signInAs(page, { name: "admin", password: own });
    return path(page) !== "/sign-in";
  });
  await close(page);
}

export async function errors() {
  const page = await signedIn();
  await check("an address that is nothing has a page that leads on", async () => {
    const response = await go(page, "/packages/4000000");
    await picture(page, "not-found");
    await page.waitForSelector("main a.button");
    return response.status() === 404;
  });
  await check("a form without the session's secret changes nothing", async () => {
    const status = await page.evaluate(() => fetch("/account/password", { method: "POST", body: new URLSearchParams({ old: "a", new: "b", again: "b" }) }).then((it) => it.status));
    return status === 403 ? true : `it answers ${status}`;
  });
  await check("no page may be shown within another one, or kept by others", async () => {
    const headers = (await go(page, "/packages")).headers();
    const faults = [
      !/frame-ancestors 'none'/.test(headers["content-security-policy"]) && "frames are allowed",
      /unsafe/.test(headers["content-security-policy"]) && "the policy allows something unsafe",
      headers["cache-control"] !== "no-store" && "it may be kept",
      headers["x-content-type-options"] !== "nosniff" && "its type may be guessed",
    ].filter(Boolean);
    return faults.length === 0 ? true : faults.join(", ");
  });
  await check("every place of the menu can be reached by the keyboard alone", async () => {
    await go(page, "/packages");
    const wanted = await page.$$eval("nav.side li a", (all) => all.map((it) => it.getAttribute("href")));
    const reached = new Set();
    for (let turn = 0; turn < 60; turn += 1) {
      await page.keyboard.press("Tab");
      reached.add(await page.evaluate(() => document.activeElement?.getAttribute("href")));
    }
    const lost = wanted.filter((href) => !reached.has(href));
    return lost.length === 0 ? true : `not ${lost.join(" ")}`;
  });
  await close(page);
}

// ---- from a file to SUCCESS ----------------------------------------------------------------------------------------

/** What the wizard leaves behind for the stories after it. */
let uploaded;

export async function upload() {
  const page = await signedIn();
  const out = `${work}/installed`;
  const file = `${work}/hello.sh`;
  writeFileSync(file, `#!/bin/sh\necho hello >>${out}\n`, { mode: 0o755 });

  await check("a file that is chosen at the drop zone is uploaded, and leads to its description", async () => {
    await go(page, "/packages/new");
    await picture(page, "build-1-upload");
    const input = await page.waitForSelector(".drop[data-upload] input[type=file]");
    await follow(page, () => input.uploadFile(file));
    await page.waitForSelector("form [name=name]");
    return /upload=/.test(page.url());
  });
  await check("the description says what is inside, and what agents will do", async () => {
    await reads(page, "hello.sh");
    await page.select("select[name=kind]", "script").catch(() => {});
    await fill(page, "[name=name]", "Hello");
    await fill(page, "[name=version]", "1.0");
    await fill(page, "[name=priority]", "1");
    await reads(page, /sh .*hello\.sh|hello\.sh/);
    await picture(page, "build-2-describe");
    return true;
  });
  await check("it is built, step by step", async () => {
    await follow(page, () => press(page, "Build"));
    await reads(page, "is built");
    await picture(page, "build-3-built");
    return true;
  });
  await check("it is activated after the real check", async () => {
    await follow(page, () => press(page, "Activate"));
    if (/activate/.test(path(page))) await follow(page, () => press(page, /^\s*(check and )?activate/, "main form"));
    await reads(page, /agents can fetch package \d+/);
    await picture(page, "build-4-activated");
    uploaded = (await text(page)).match(/\d{6,}/)?.[0];
    return Boolean(uploaded);
  });
  await check("its page shows the info file as agents get it", async () => {
    await go(page, `/packages/${uploaded}`);
    for (const link of await page.$$eval("main nav.tabs a", (all) => all.map((it) => it.getAttribute("href")))) {
      if (/hello/i.test(await text(page)) && /<DOWNLOAD|ACT="/.test(await text(page))) return true;
      await go(page, link);
    }
    return /ACT="/.test(await text(page));
  });
  await close(page);
}

/** Assigns a package to what a search finds. The page says who gets it before anything starts. */
async function assign(page, id, query, name) {
  await go(page, `/deployments/new?package=${id}`);
  await fill(page, "input[type=radio][name=who][value=where]", true);
  await fill(page, "[name=where]", query);
  await reads(page, "1 computer would get it", "#who");
  if (name) await picture(page, name);
  await follow(page, () => press(page, "Deploy", "main form"));
  return /^\/deployments\/\d+/.test(path(page)) ? true : `it leads to ${path(page)}: ${await text(page)}`;
}

export async function deploy() {
  const first = await agent("alice", "--tag", "Paris");
  await check("a real agent checks in for the first time", () => first.code === 0 || first.log);
  const page = await signedIn();
  await check("the computer is in the list, with its tag", async () => {
    await go(page, "/computers");
    await reads(page, "Paris", "main");
    return true;
  });
  const id = uploaded ?? (await quickPackage("Hello", "true"));
  await check("the package is assigned to what a search finds; before, the page says who gets it", async () => {
    const done = await assign(page, id, "tag = Paris", "deploy-1-dry-run");
    await picture(page, "deploy-2-waiting");
    return done;
  });
  await check("the agent's success is seen live, without loading the page anew", async () => {
    await reads(page, "pending", "main");
    await page.evaluate(() => { globalThis.theSamePage = true; });
    const run = await agent("alice");
    await reads(page, /100 ?% done/, "main").catch((error) => { throw new Error(`${error.message}\nthe agent said: ${run.log}`); });
    await picture(page, "deploy-3-succeeded");
    return page.evaluate(() => globalThis.theSamePage === true).then((same) => same || "the page was loaded anew");
  });
  await check("what the package does was done, once", () =>
    uploaded === undefined || (existsSync(`${work}/installed`) && readFileSync(`${work}/installed`, "utf8") === "hello\n"));
  await check("the computer's page tells the package's story", async () => {
    await go(page, "/computers");
    await follow(page, () => page.$eval("main tbody th[scope=row] a", (it) => it.click()));
    for (const link of ["", ...(await page.$$eval("main nav.tabs a", (all) => all.map((it) => it.getAttribute("href"))))]) {
      if (link) await go(page, link);
      if (/SUCCESS|succeeded/.test(await text(page)) && /Hello/.test(await text(page))) { await picture(page, "computer-packages"); return true; }
    }
    return "no tab of it names package and result";
  });
  await close(page);
}

export async function failure() {
  await agent("bob", "--tag", "Lyon");
  const mark = `${work}/mended`;
  const id = await quickPackage("Broken", `test -e ${mark}`);
  const page = await signedIn();
  await check("a package that cannot work is assigned", () => assign(page, id, "tag = Lyon"));
  const place = page.url();
  await check("its failure comes with a sentence that explains the code", async () => {
    await agent("bob");
    await go(page, place);
    await reads(page, "ERR_EXIT_CODE_1", "main");
    await reads(page, /the command|said no|exit/, "main");
    await picture(page, "deploy-4-failed");
    return true;
  });
  await check("home tells of it", async () => {
    await go(page, "/");
    await reads(page, "Broken", "main");
    await picture(page, "home-with-a-failure");
    return true;
  });
  await check("it is tried again when the cause is mended, and succeeds", async () => {
    writeFileSync(mark, "");
    await go(page, place);
    await follow(page, () => press(page, "Retry"));
    const run = await agent("bob");
    await go(page, place);
    await reads(page, /100 ?% done/, "main").catch((error) => { throw new Error(`${error.message}\nthe agent said: ${run.log}`); });
    return true;
  });
  await close(page);
}

// ---- groups, rights, theme -----------------------------------------------------------------------------------------

export async function groups() {
  await agent("carol", "--tag", "Nice");
  const page = await signedIn();
  await check("a dynamic group says who would be in it while it is described", async () => {
    await go(page, "/groups/new");
    await fill(page, "[name=name]", "In Nice");
    await fill(page, "[name=query]", "tag = Nice");
    await reads(page, "1 computer would be in it", "#who");
    await picture(page, "group-new");
    return true;
  });
  await check("it is made, and its member is there with the reason", async () => {
    await follow(page, () => press(page, "Make the group"));
    await go(page, `/groups/${encodeURIComponent("In Nice")}`);
    await reads(page, /1 (computer|member)/, "main");
    await picture(page, "group-members");
    return true;
  });
  await check("the group's query has joined whoever comes later", async () => {
    await agent("dora", "--tag", "Nice");
    await go(page, `/groups/${encodeURIComponent("In Nice")}`);
    await reads(page, /2 (computers|members)/, "main");
    return true;
  });
  await close(page);
}

export async function restricted() {
  const admin = await signedIn();
  let password;
  await check("a user with a role and a scope is added, and the password is shown once", async () => {
    await go(admin, "/users/new");
    await fill(admin, "[name=name]", "intern");
    await fill(admin, "[name=role]", "viewer");
    await fill(admin, "[name=computers]", "tag = Lyon");
    await follow(admin, () => press(admin, /^\s*add/));
    password = (await admin.$eval("#password", (it) => it.textContent)).trim();
    await picture(admin, "user-added");
    return password.length >= 12;
  });
  await agent("alice", "--tag", "Paris");
  await agent("bob", "--tag", "Lyon");
  const page = await visitor();
  await signInAs(page, { name: "intern", password });
  await fill(page, "#old", password);
  await fill(page, "#new", "an intern's own words");
  await fill(page, "#again", "an intern's own words");
  await follow(page, () => press(page, "Change the password"));
  await check("they see only the computers of their scope", async () => {
    await go(page, "/computers");
    await reads(page, "Lyon", "main");
    return !/Paris/.test(await text(page));
  });
  await check("what they may not is not offered, and refused where they go nevertheless", async () => {
    if (await page.$("a[href='/packages/new'], nav.side a[href='/users']")) return "it is offered";
    const faults = [];
    for (const address of ["/packages/new", "/users", "/deployments/new", "/audit"]) {
      const status = (await go(page, address)).status();
      if (status !== 403) faults.push(`${address} answers ${status}`);
    }
    await picture(page, "refused");
    await reads(page, "may not");
    for (const [address, form] of [["/users", { name: "friend", role: "administrator" }], ["/settings/PROLOG_FREQ", { value: "1" }], ["/groups", { name: "x", query: "name = x" }]]) {
      const { status } = await ask(page, "POST", address, form);
      if (status !== 403) faults.push(`POST ${address} answers ${status}`);
    }
    return faults.length === 0 ? true : faults.join("\n");
  });
  await check("the API refuses them as the pages do", async () => {
    const statuses = await page.evaluate(() => Promise.all(["/api/v1/users", "/api/v1/audit"].map((it) => fetch(it).then((answer) => answer.status))));
    return statuses.every((it) => it === 403) ? true : statuses.join(" ");
  });
  await check("a user who is locked out is out at once", async () => {
    await go(admin, "/users/one/intern");
    await follow(admin, () => press(admin, /lock out|disable/));
    await go(page, "/packages");
    return path(page) === "/sign-in";
  });
  await close(page);
  await close(admin);
}

export async function theme() {
  const page = await signedIn();
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const bright = (colour) => colour.match(/[\d.]+/g).slice(0, 3).map(Number).reduce((sum, it) => sum + it, 0) / 3;
  await go(page, "/packages");
  const light = bright(await ground());
  await check("the button makes it dark, and it stays so on the next page", async () => {
    await page.click("[data-theme-toggle]");
    // Colours glide.
    await new Promise((done) => setTimeout(done, 600));
    const dark = bright(await ground());
    await go(page, "/account/password");
    const stays = bright(await ground());
    return light > 200 && dark < 80 && stays < 80 ? true : `${light} ${dark} ${stays}`;
  });
  await check("a system that is dark is followed where nobody chose", async () => {
    await page.browserContext().deleteCookie(...(await page.browserContext().cookies()).filter((it) => it.name === "theme"));
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
    await go(page, "/packages");
    return bright(await ground()) < 80;
  });
  await close(page);
}

// ---- a token -------------------------------------------------------------------------------------------------------

export async function token() {
  const page = await signedIn();
  await check("a token is made and shown once", async () => {
    await go(page, "/account/tokens/new");
    await fill(page, "[name=name]", "a stranger's program");
    for (const box of await page.$$("input[name=right]")) await box.evaluate((it) => { it.checked = true; });
    await follow(page, () => press(page, "Make the token"));
    const secret = (await page.$eval("#token", (it) => it.textContent)).trim();
    writeFileSync(`${work}/token`, secret, { mode: 0o600 });
    await go(page, "/account");
    return secret.startsWith("drip_") && !(await text(page)).includes(secret);
  });
  await check("the API knows it, and knows no other", async () => {
    const [own, other] = await page.evaluate((tokens) => Promise.all(tokens.map((token) =>
      fetch("/api/v1/packages", { credentials: "omit", headers: { Authorization: `Bearer ${token}` } }).then((it) => it.status))),
      [readFileSync(`${work}/token`, "utf8"), "drip_0000"]);
    return own === 200 && other === 401 ? true : `${own} ${other}`;
  });
  await close(page);
}
