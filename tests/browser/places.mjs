// Mirrors and sites, networks, questions to registries: done by hand in their pages, and looked at narrow.

import { check, cli, close, fill, follow, go, picture, press, reads, signedIn } from "./lib.mjs";

/** Presses the button that has the focus after so many steps with the tabulator from a field. */
async function byKeyboard(page, field, words) {
  await page.focus(field);
  for (let turn = 0; turn < 30; turn += 1) {
    const here = await page.evaluate(() => document.activeElement?.innerText || document.activeElement?.getAttribute("aria-label") || "");
    if (here.includes(words)) return page.keyboard.press("Enter");
    await page.keyboard.press("Tab");
  }
  throw new Error(`the keyboard does not come to "${words}"`);
}

export async function places() {
  const page = await signedIn();
  await check("the list without mirrors says how one is set up, with the command", async () => {
    await go(page, "/mirrors");
    await picture(page, "mirrors-empty");
    const command = await page.$eval("#setup", (it) => it.textContent);
    return /dripfeed-mirror sync --from https:.* --key [0-9a-f]{64}/.test(command) || command;
  });
  await check("a mirror is registered by the keyboard; its token is shown once, within the command", async () => {
    await fill(page, "[name=name]", "paris");
    await fill(page, "[name=location]", "paris.example.net:8080/download");
    await follow(page, () => byKeyboard(page, "[name=location]", "Register the mirror"));
    const token = (await page.$eval("#token", (it) => it.textContent)).trim();
    const command = await page.$eval("#setup", (it) => it.textContent);
    await picture(page, "mirror-token");
    await go(page, "/mirrors/paris");
    const again = await page.evaluate(() => document.body.textContent);
    return token.length === 32 && command.includes(token) && !again.includes(token);
  });
  await check("another token is given after a question", async () => {
    await page.$eval("main details.menu", (it) => it.setAttribute("open", ""));
    await follow(page, () => press(page, "New token"));
    return (await page.$eval("#token", (it) => it.textContent)).trim().length === 32;
  });
  await check("a site is made, and its mirrors change places by the keyboard", async () => {
    await cli("mirror", "add", "lyon", "lyon.example.net/download");
    await go(page, "/sites");
    await fill(page, "[name=name]", "head-office");
    await fill(page, "[name=ranges]", "10.1.0.0/16");
    for (const box of await page.$$("[name=mirror]")) await box.evaluate((it) => it.click());
    await follow(page, () => press(page, "Make the site"));
    await cli("site", "add", "lab", "10.1.7.0/24", "--mirrors", "lyon");
    await go(page, "/sites/head-office");
    await reads(page, "10.1.7.0/24 of lab is narrower than 10.1.0.0/16", "main");
    await follow(page, () => byKeyboard(page, "main ol.list a", "lyon: farther"));
    await picture(page, "site-arranged");
    const order = await page.$$eval("main ol.list a", (all) => all.map((it) => it.innerText));
    return order.join(" ") === "paris lyon" || order.join(" ");
  });
  await check("a range that is none comes back with its text and a sentence", async () => {
    await fill(page, "input[name=range]:not([type=hidden])", "10.1.0.1/16");
    await follow(page, () => press(page, "Add$"));
    await reads(page, "not the first of its network", "[role=alert]");
    return page.$eval("input[name=range]:not([type=hidden])", (it) => it.value === "10.1.0.1/16");
  });
  await check("looking round is switched on and off, the latter after a question", async () => {
    await go(page, "/networks");
    await follow(page, () => press(page, "Switch it on"));
    await reads(page, "2 computers of each network look round", "main");
    await follow(page, () => press(page, "Switch it off"));
    await reads(page, "Nobody looks round", "main");
    return true;
  });
  await check("a question to registries is asked, changed, and taken back after a question", async () => {
    await go(page, "/registry");
    await fill(page, "[name=name]", "Proxy of users");
    await fill(page, "[name=key]", "Software\\Example");
    await follow(page, () => press(page, "Ask it"));
    await fill(page, "[name=value]", "ProxyServer");
    await follow(page, () => press(page, "Save"));
    await reads(page, "ProxyServer", ".meta");
    await follow(page, () => press(page, "Delete"));
    return new URL(page.url()).pathname === "/registry";
  });
  // For the look at every page.
  await cli("registry", "add", "Proxy", "--key", "SOFTWARE\\Example", "--value", "ProxyServer");
  await close(page);
}
