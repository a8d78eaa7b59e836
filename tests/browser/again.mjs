// What is deployed to many, which somebody else approves, and what is deployed again and again: with two people at two browsers.

import { check, cli, close, fill, follow, go, press, quickPackage, reads, signedIn, text } from "./lib.mjs";
import { looked } from "./pages.mjs";
import { post } from "./payloads.mjs";

const path = (page) => new URL(page.url()).pathname;
const anna = { name: "anna", password: "what many get others read" };

/** Takes back what was just done. */
const undo = (page) => follow(page, () => press(page, "Undo", "#toast"));

/** Opens the menu that has this in it. */
const unfold = (page, words) =>
  page.$$eval("main details.menu", (all, words) => all.find((it) => it.textContent.includes(words)).setAttribute("open", ""), words);

const computer = (name) => post(
  `<?xml version="1.0" encoding="UTF-8"?><REQUEST><CONTENT><HARDWARE><NAME>${name}</NAME><OSNAME>Debian GNU/Linux 13</OSNAME></HARDWARE></CONTENT>` +
  `<DEVICEID>${name}-2026-01-02-03-04-05</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>`,
);

/** Chooses a package and a query in the form of a deployment, and waits until it says who gets it. */
async function choose(page, id, query) {
  await fill(page, "select[name=package]", id);
  await fill(page, "input[name=who][value=where]", true);
  await fill(page, "[name=where]", query);
  await reads(page, "would get it", "#who");
}

export async function approval() {
  await cli("user", "add", anna.name, "--role", "deployer", "--password-stdin", { input: `${anna.password}\n` });
  for (const name of ["alder", "aspen"]) await computer(name);
  const id = await quickPackage("Quarterly update", "true");
  await cli("setting", "set", "APPROVAL_FROM", "2");
  const [one, other] = [await signedIn({ as: anna }), await signedIn()];
  let deployment;
  await check("the form says before anything is made how many it reaches, and that somebody else has to approve it", async () => {
    await go(one, "/deployments/new");
    await choose(one, id, "name starts with a");
    await reads(one, /This reaches \d+ computers: one other person has to approve it/, "#who");
    return looked(one, "approval-form");
  });
  await check("it is made and waits, and whoever made it cannot approve it", async () => {
    await follow(one, () => press(one, "Deploy to"));
    deployment = path(one);
    await reads(one, "waits for approval", "h1");
    await reads(one, "somebody else decides", "#approval");
    if ((await text(one, "#approval")).match(/^Approve$/m)) return "there is a button";
    return looked(one, "approval-own");
  });
  await check("the other one's first page leads to it", async () => {
    await go(other, "/");
    await reads(other, "Quarterly update 1.0 waits for approval", "#needs");
    await follow(other, () => press(other, "Quarterly update 1.0 waits", "#needs"));
    return path(other) === deployment ? looked(other, "approval-asked") : path(other);
  });
  await check("a rejection needs a reason, and can be undone", async () => {
    await press(other, "Reject", "#approval");
    if (path(other) !== deployment) return "it was sent without a reason";
    await fill(other, "#a-reason", "not before Monday");
    await follow(other, () => press(other, "Reject", "#approval"));
    await reads(other, "cancelled", "h1");
    await reads(other, "not before Monday", "#approval");
    await undo(other);
    await reads(other, "waits for approval", "h1");
    return true;
  });
  await check("it is approved, and whoever asked sees that without loading the page again", async () => {
    await fill(other, "#a-reason", "it is Monday");
    await follow(other, () => press(other, "Approve", "#approval"));
    await reads(other, "rolling out", "h1");
    await reads(one, "it is Monday", "#approval");
    return looked(other, "approval-given");
  });
  await cli("setting", "unset", "APPROVAL_FROM");
  await close(one);
  await close(other);
}

export async function series() {
  for (const name of ["birch", "beech"]) await computer(name);
  const id = await quickPackage("Clean-up", "true");
  const other = await quickPackage("Better clean-up", "true");
  const page = await signedIn();
  let base;
  await check("the list says what a series is for, and leads to the form", async () => {
    await go(page, "/series");
    await reads(page, "Nothing comes again", "main");
    const faults = await looked(page, "series-none");
    await follow(page, () => press(page, "Make a series"));
    return faults;
  });
  await check("the form says when it comes, in the zone that it names, and who would get it now", async () => {
    await fill(page, "#again", "week");
    await fill(page, "input[name=on][value=monday]", true);
    await fill(page, "input[name=on][value=thursday]", true);
    await fill(page, "[name=zone]", "Europe/Berlin");
    await choose(page, id, "name starts with b");
    await reads(page, /Every monday, thursday at 22:00 \(Europe\/Berlin\)/i, "#who");
    await reads(page, /Mon \d{4}-\d\d-\d\d 22:00/, "#who");
    // Half under the header a field would be called too small to be touched.
    await page.evaluate(() => scrollTo(0, 0));
    return looked(page, "series-form");
  });
  await check("it is made, and its page tells the next times", async () => {
    await follow(page, () => press(page, "Start the series"));
    base = path(page);
    if (!/^\/series\/\d+$/.test(base)) return `it leads to ${base}: ${await text(page)}`;
    await reads(page, "active", "h1");
    await reads(page, "No run yet", "#runs");
    const times = (await text(page, "section[aria-labelledby=h-next]")).match(/22:00/g) ?? [];
    return times.length === 5 ? looked(page, "series-made") : `${times.length} times`;
  });
  await check("it is paused and resumed, each with its undo", async () => {
    await follow(page, () => press(page, "Pause"));
    await reads(page, "paused", "h1");
    await undo(page);
    await reads(page, "active", "h1");
    await follow(page, () => press(page, "Pause"));
    await follow(page, () => press(page, "Resume"));
    await reads(page, "active", "h1");
    return true;
  });
  await check("a run that is begun by hand is a deployment of its own", async () => {
    await unfold(page, "Run it now");
    await follow(page, () => press(page, "Run it now"));
    await reads(page, "2 jobs planned", "#toast");
    await reads(page, "Run 1", "#runs");
    return looked(page, "series-run");
  });
  await check("what it deploys, for whom and when is changed in one form, and the audit log has both", async () => {
    await unfold(page, "Change it");
    await follow(page, () => press(page, "Change it"));
    await reads(page, "Change series", "h1");
    await fill(page, "select[name=package]", other);
    await fill(page, "[name=where]", "name starts with be");
    await fill(page, "#again", "days");
    await reads(page, /Every day at 22:00/i, "#who");
    await follow(page, () => press(page, "Save the series"));
    if (path(page) !== base) return `it leads to ${path(page)}: ${await text(page)}`;
    await reads(page, "Better clean-up 1.0", "h1");
    await go(page, "/audit");
    await reads(page, "series change", "main");
    return true;
  });
  await check("to withdraw its package names the series that will pause", async () => {
    await go(page, `/packages/${other}/withdraw`);
    await reads(page, "1 deployment that comes again will pause", "main");
    await reads(page, /Series \d+: Better clean-up 1.0/, "main");
    return looked(page, "series-withdraw");
  });
  await check("it is ended, which asks first, and can be taken up again", async () => {
    await go(page, base);
    await unfold(page, "End it");
    await follow(page, () => press(page, "End it"));
    await reads(page, "ended", "h1");
    await reads(page, "Run 1", "#runs");
    await go(page, "/series");
    await reads(page, "Better clean-up", "#list");
    return looked(page, "series-list");
  });
  await close(page);
}
