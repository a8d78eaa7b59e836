// What administrators come to less often than to a deployment, each done by hand to its end and looked at in both themes.

import { execFile } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { check, cli, close, fill, follow, go, number, press, quickPackage, reads, signedIn, text, work } from "./lib.mjs";
import { looked } from "./pages.mjs";
import { post } from "./payloads.mjs";

const run = promisify(execFile);
const path = (page) => new URL(page.url()).pathname;

/** Takes back what was just done. */
export const undo = (page) => follow(page, () => press(page, "Undo", "#toast"));

/** Opens the menu that has this in it. */
const unfold = (page, words) =>
  page.$$eval("main details.menu", (all, words) => all.find((it) => it.textContent.includes(words)).setAttribute("open", ""), words);

/** The rows of the page's table that have these words in them. */
const rows = (page, words) =>
  page.$$eval("main tbody tr", (all, words) => all.map((it) => it.innerText).filter((it) => it.includes(words)), words);

/** The first message of an agent, as a stock one sends it. */
export const inventory = (name, device, serial) => post(
  `<?xml version="1.0" encoding="UTF-8"?><REQUEST><CONTENT><HARDWARE><NAME>${name}</NAME><OSNAME>Debian GNU/Linux 13</OSNAME></HARDWARE>` +
  `<BIOS><SSN>${serial}</SSN><SMODEL>Model 7</SMODEL></BIOS></CONTENT><DEVICEID>${device}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>`,
);
export const prolog = (device) => post(`<?xml version="1.0" encoding="UTF-8"?><REQUEST><DEVICEID>${device}</DEVICEID><QUERY>PROLOG</QUERY></REQUEST>`);

// ---- packages ------------------------------------------------------------------------------------------------------

const TEMPLATE = `[[template]]
id = "greeting"
title = "Greet the house"
meaning = "Says a word where somebody may read it."
os = ["linux"]
needs = "nothing"
action = "execute"
command = "printf %s {word}"

[[template.field]]
name = "word"
label = "Word"
help = "What is said."
kind = "line"
required = true
`;

export async function templates() {
  const page = await signedIn();
  await check("the list of packages leads to the templates, and says that there are none of one's own", async () => {
    await go(page, "/packages");
    await follow(page, () => press(page, "Templates"));
    await reads(page, "There are none yet", "main");
    return looked(page, "templates");
  });
  await check("a document with a fault is told of by its line while it is written", async () => {
    await follow(page, () => press(page, "New template"));
    await fill(page, "[name=document]", TEMPLATE.replace('kind = "line"', 'kind = "poem"'));
    await reads(page, /Line \d+/, "#preview");
    return true;
  });
  await check("the template is read, saved, and is there with its version", async () => {
    await fill(page, "[name=document]", TEMPLATE);
    await reads(page, "Greet the house", "#preview");
    const faults = await looked(page, "template-new");
    await follow(page, () => press(page, "Save"));
    if (path(page) !== "/templates/greeting") return `it leads to ${path(page)}: ${await text(page)}`;
    await reads(page, "version 1", "main");
    return faults;
  });
  await check("the build offers it, asks for its field, and shows the command with what was filled in quoted", async () => {
    await go(page, "/packages/new?from=nothing");
    await follow(page, () => press(page, "Linux"));
    await follow(page, () => page.$eval("input[name=kind][value=greeting]", (it) => it.click()));
    await fill(page, "[name=name]", "Greeting");
    await fill(page, "[name=version]", "1.0");
    await fill(page, "[name=t_word]", "it's five");
    await reads(page, /printf %s '?it/, "#preview");
    const faults = await looked(page, "build-own-template");
    await follow(page, () => press(page, "Build"));
    await reads(page, "is built");
    return faults;
  });
  await check("a new version begins with all that the one before was filled in with", async () => {
    const id = (await text(page)).match(/\d{6,}/)[0];
    await go(page, `/packages/${id}`);
    await unfold(page, "New version");
    await follow(page, () => press(page, "New version"));
    await follow(page, () => press(page, "Go on with the command"));
    const word = await page.$eval("[name=t_word]", (it) => it.value);
    await fill(page, "[name=version]", "2.0");
    await fill(page, "[name=t_word]", "it's six");
    const faults = await looked(page, "build-new-version");
    await follow(page, () => press(page, "Build"));
    await reads(page, "is built");
    return word === "it's five" ? faults : `the field begins with "${word}"`;
  });
  await check("the two versions are compared", async () => {
    const id = (await text(page)).match(/\d{6,}/)[0];
    await go(page, `/packages/${id}`);
    await unfold(page, "Compare with 1.0");
    await follow(page, () => press(page, "Compare with 1.0"));
    await reads(page, "six", "main");
    return looked(page, "packages-compare");
  });
  await check("a template that was deleted comes back", async () => {
    await go(page, "/templates/greeting");
    await follow(page, () => press(page, "Delete"));
    await undo(page);
    await go(page, "/templates");
    await reads(page, "Greet the house", "main");
    return true;
  });
  await close(page);
}

export async function takeover() {
  const page = await signedIn();
  // A stock server's directory: what ours makes, under a number that nobody has here.
  const own = await quickPackage("Before", "true");
  const foreign = String(Number(own) - 86_400);
  const directory = `${work}/ocs`;
  mkdirSync(directory, { recursive: true });
  cpSync(`${process.env.DATA}/download/${own}`, `${directory}/${foreign}`, { recursive: true });
  const info = `${directory}/${foreign}/info`;
  writeFileSync(info, readFileSync(info, "utf8").replaceAll(own, foreign));
  await run("tar", ["-czf", `${work}/download.tar.gz`, "-C", directory, foreign]);
  await check("a packed download directory is uploaded, and nothing is done before somebody has looked", async () => {
    await go(page, "/packages/import");
    const input = await page.waitForSelector(".drop[data-upload] input[type=file]");
    await follow(page, () => input.uploadFile(`${work}/download.tar.gz`));
    await fill(page, "[name=names]", `${foreign}\tTaken over\tLINUX`);
    await follow(page, () => press(page, "Look what would become"));
    await reads(page, "would be imported", "main");
    return looked(page, "packages-import-look");
  });
  await check("it is imported under its own number and name", async () => {
    await follow(page, () => press(page, "Import", "main form"));
    await reads(page, "What became of them", "main");
    const faults = await looked(page, "packages-import-done");
    await go(page, `/packages/${foreign}`);
    await reads(page, "Taken over", "h1");
    return faults;
  });
  await close(page);
}

export async function singly() {
  const page = await signedIn();
  const device = (n) => `row-${n}-2026-01-02-03-04-0${n}`;
  for (const n of [1, 2, 3]) {
    await inventory(`row-${n}`, device(n), `R-${n}`);
    await cli("computer", "tag", `row-${n}`, "Rows");
  }
  const id = await quickPackage("Row by row", "true");
  await cli("assign", id, "--where", "tag = Rows");
  await go(page, `/deployments?package=${id}`);
  const list = `${await page.$eval("main tbody th[scope=row] a", (it) => it.getAttribute("href"))}/computers`;
  const state = async (n) => (await rows(page, `row-${n}`))[0] ?? "no row";
  await check("one computer is cancelled in its row, and Undo brings it back", async () => {
    await go(page, list);
    const row = await page.$$eval("main tbody tr", (all) => all.findIndex((it) => it.innerText.includes("row-1")) + 1);
    await follow(page, () => press(page, "Cancel", `main tbody tr:nth-child(${row})`));
    const after = await state(1);
    await undo(page);
    await go(page, list);
    return /cancelled/.test(after) && /pending/.test(await state(1)) ? true : `${after} / ${await state(1)}`;
  });
  await check("the ticked ones are cancelled together, the others are left alone, and Undo brings them back", async () => {
    for (const n of [1, 2]) await page.$eval(`[aria-label="Select row-${n}"]`, (it) => it.click());
    await reads(page, /2 /, "[data-selection-count]");
    const faults = await looked(page, "deployment-ticked");
    await follow(page, () => press(page, "Cancel", "[data-selection]"));
    const cancelled = (await rows(page, "cancelled")).length;
    const other = await state(3);
    await undo(page);
    await go(page, list);
    const back = (await rows(page, "pending")).length;
    return cancelled === 2 && /pending/.test(other) && back === 3 ? faults : `${cancelled} cancelled, ${other}, ${back} back`;
  });
  await check("a computer that was told and comes, and nothing follows, is called stuck, with its why", async () => {
    await prolog(device(3));
    // Days pass: the only thing here that a browser cannot do.
    const days = 'import sqlite3, sys; db = sqlite3.connect(sys.argv[1], timeout=60); n = db.execute("UPDATE jobs SET updated_at = updated_at - 5 * 86400000 ' +
      "WHERE state = 'offered' AND package_id = ?\", (sys.argv[2],)).rowcount; db.commit(); print(n)";
    const aged = await run("/usr/bin/python3", ["-c", days, `${process.env.DATA}/dripfeed.db`, id]);
    if (aged.stdout.trim() !== "1") return `${aged.stdout.trim()} jobs were told: ${await cli("status", id)}`;
    await go(page, "/");
    await reads(page, /stuck/, "main");
    await go(page, "/stuck");
    await reads(page, "row-3", "main");
    const faults = await looked(page, "stuck");
    await follow(page, () => press(page, "Why"));
    await reads(page, "Row by row", "main");
    return faults;
  });
  await close(page);
}

// ---- computers -----------------------------------------------------------------------------------------------------

export async function duplicates() {
  const page = await signedIn();
  const [old, fresh] = ["twin-2026-01-02-03-04-05", "twin-2026-02-02-03-04-05"];
  for (const device of [old, fresh]) await inventory("twin", device, "TWIN-7");
  const pair = (page) => page.$$eval("main section.card", (all) => all.filter((it) => it.innerText.includes("twin-2026")).length);
  await check("two of one name that share a serial number are shown side by side, each by its device id", async () => {
    await go(page, "/computers");
    await follow(page, () => press(page, "Duplicates"));
    await reads(page, `${fresh} is kept`, "main");
    return looked(page, "duplicates-pair");
  });
  await check("they become one, and Undo makes them two again", async () => {
    await follow(page, () => press(page, "They are one"));
    const merged = await pair(page);
    await undo(page);
    await go(page, "/duplicates");
    const again = await pair(page);
    return merged === 0 && again === 1 ? true : `${merged} pairs after it, ${again} after the undo`;
  });
  await check("that they are two is said once, and nobody is asked again", async () => {
    await follow(page, () => press(page, "These are two"));
    await go(page, "/duplicates");
    return (await pair(page)) === 0;
  });
  await close(page);
}

export async function newcomers() {
  const page = await signedIn();
  await check("computers are written down by a pattern before they come", async () => {
    await go(page, "/computers");
    await follow(page, () => press(page, "Add computers"));
    await fill(page, "[name=name]", "depot-##");
    await fill(page, "[name=count]", "3");
    await fill(page, "[name=serial]", "DEPOT-#");
    await fill(page, "[name=tag]", "Depot");
    const faults = await looked(page, "entries-filled");
    await follow(page, () => press(page, "Add them"));
    await reads(page, "3 computers written down", "#toast");
    await go(page, "/computers?q=tag+%3D+Depot");
    return (await rows(page, "depot-0")).length === 3 ? faults : text(page);
  });
  await check("the agent that comes under what was written takes it over, tag and all", async () => {
    // Elsewhere all agents run on one machine, so nobody is taken for anybody (tests/browser/run.sh).
    await cli("setting", "set", "AUTO_DUPLICATE_LVL", "3");
    await inventory("depot-02", "depot-02-2026-01-02-03-04-05", "DEPOT-2");
    await cli("setting", "unset", "AUTO_DUPLICATE_LVL");
    await go(page, "/computers?q=tag+%3D+Depot");
    const [row, ...more] = await rows(page, "depot-02");
    return more.length === 0 && /Debian/.test(row) ? true : `${row} and ${more.length} more`;
  });
  await check("a registration key is made, and shown this once", async () => {
    await go(page, "/registration");
    await follow(page, () => press(page, "Make one"));
    const key = await page.$eval("#new-key", (it) => it.innerText);
    const faults = await looked(page, "registration-key");
    await go(page, "/registration");
    return /registration_key = ".{16,}"/.test(key) && !(await text(page)).includes(key) ? faults : key;
  });
  await check("to renew it is asked about with the reason why it is final, and gives another one", async () => {
    await page.$$eval("main button", (all) => all.find((it) => it.innerText.includes("Renew it")).click());
    await reads(page, "cannot be taken back", "dialog[open]");
    await follow(page, () => page.$eval("dialog[open] button.primary, dialog[open] button.danger", (it) => it.click()));
    return (await page.$eval("#new-key", (it) => it.innerText)).startsWith("registration_key");
  });
  await check("names are expected, and one that is removed comes back by Undo", async () => {
    await fill(page, "[name=names]:not([type=hidden])", "branch-1, branch-2");
    await follow(page, () => press(page, "Expect them"));
    await follow(page, () => page.$eval('[aria-label="Expect branch-1 no more"]', (it) => it.click()));
    const gone = (await rows(page, "branch-1")).length;
    await undo(page);
    const back = (await rows(page, "branch-1")).length;
    await follow(page, () => press(page, "Take it away"));
    await reads(page, "Make one", "main");
    return gone === 0 && back === 1 ? true : `${gone} after the removal, ${back} after the undo`;
  });
  await close(page);
}

export async function fields() {
  const page = await signedIn();
  await cli("computer", "add", "shelf-#", "--count", "2", "--tag", "Shelves");
  const values = async () => {
    const all = JSON.parse(await cli("computer", "list", "--where", "tag = Shelves", "--json"));
    const shown = await Promise.all(all.map((it) => cli("computer", "show", it.name, "--json").then(JSON.parse)));
    return shown.map((it) => it.fields?.Shelf ?? it.fields?.find?.((one) => one.name === "Shelf")?.value ?? "").sort().join(" ");
  };
  await check("a field is made of a list of choices", async () => {
    await go(page, "/fields");
    await fill(page, "[name=name]", "Shelf");
    await fill(page, "[name=kind]", "list");
    await fill(page, "[name=choices]", "A1\nA2\nB7");
    await follow(page, () => press(page, "Make the field"));
    await reads(page, "A1, A2, B7", "main");
    return looked(page, "fields-with-one");
  });
  await check("a table is checked line by line before anything is written", async () => {
    await follow(page, () => press(page, "Import values"));
    await fill(page, "[name=csv]", "name;Shelf\nshelf-1;A1\nshelf-2;A2\nnobody;A1\n");
    await follow(page, () => press(page, "Check the table"));
    await reads(page, /2 values of 2 computers would change; 1 line cannot be taken/, "main");
    const faults = await looked(page, "fields-import-plan");
    return (await values()).trim() === "" ? faults : `written already: ${await values()}`;
  });
  await check("what is right of it is written", async () => {
    await fill(page, "[name=leave_out]", true);
    await follow(page, () => press(page, "Write 2 values"));
    return (await values()) === "A1 A2" || values();
  });
  await check("one value for all that are ticked, and Undo gives each its own back", async () => {
    await go(page, "/computers?q=tag+%3D+Shelves");
    await page.$eval("[data-selection-page]", (it) => it.click());
    await follow(page, () => press(page, "Field", "[data-selection]"));
    await page.$eval("select[name=field]", (it) => { it.value = [...it.options].find((one) => one.text === "Shelf").value; });
    await follow(page, () => press(page, "Go on"));
    await fill(page, "[name=value]", "B7");
    const faults = await looked(page, "computers-write-field");
    await follow(page, () => press(page, "Write Shelf"));
    await reads(page, /undo/, "#toast");
    const after = await values();
    await undo(page);
    const back = await values();
    return after === "B7 B7" && back === "A1 A2" ? faults : `${after} after it, ${back} after the undo`;
  });
  await close(page);
}

// ---- programs ------------------------------------------------------------------------------------------------------

export async function scope() {
  const page = await signedIn();
  await cli("computer", "add", "inside-1", "--tag", "Inside");
  await cli("computer", "add", "outside-1", "--tag", "Outside");
  let token;
  await check("a token is made for some computers and one right, and says so", async () => {
    await go(page, "/account/tokens/new");
    await fill(page, "[name=name]", "inside alone");
    await fill(page, "[name=computers]", "tag = Inside");
    for (const box of await page.$$("[name=right]")) await box.evaluate((it) => { it.checked = it.value === "computers.see"; });
    const faults = await looked(page, "token-scope");
    await follow(page, () => press(page, "Make the token"));
    token = (await page.$eval("#token", (it) => it.textContent)).trim();
    await reads(page, "Only for computers of", "main");
    return faults;
  });
  await check("a program with it sees those computers, no others, and may nothing else", async () => {
    const answers = await page.evaluate((token) => Promise.all(["/computers", "/computers/outside-1", "/packages"].map((it) =>
      fetch(`/api/v1${it}`, { credentials: "omit", headers: { Authorization: `Bearer ${token}` } })
        .then(async (answer) => ({ status: answer.status, body: await answer.json() })))), token);
    const names = answers[0].body.items.map((it) => it.name).join(" ");
    const statuses = answers.map((it) => it.status).join(" ");
    return names === "inside-1" && statuses === "200 404 403" ? true : `${names}; ${statuses}`;
  });
  await check("the account names its scope", async () => {
    await go(page, "/account");
    await reads(page, /tag = '?Inside/, "main");
    return true;
  });
  await close(page);
}
