// A fleet that looks like one, over the wire of OCS agents, with deployments at every stage: for the pictures of the
// documentation (`tests/browser/run.sh tour`), and for the sums of a page against what was sent.

import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { deflateSync, inflateSync } from "node:zlib";
import { base, check, cli, close, go, number, picture, reads, signedIn, work } from "./lib.mjs";

// ---- the fleet -----------------------------------------------------------------------------------------------------

const SITES = [
  { code: "ber", tag: "Berlin", net: "10.10", count: 84 },
  { code: "lyo", tag: "Lyon", net: "10.20", count: 61 },
  { code: "tos", tag: "Tromsø", net: "10.30", count: 23 },
];
const MODELS = [
  { maker: "Dell Inc.", model: "Latitude 7440", cpu: "13th Gen Intel(R) Core(TM) i7-1365U", memory: 16384 },
  { maker: "LENOVO", model: "ThinkPad T14 Gen 4", cpu: "AMD Ryzen 7 PRO 7840U", memory: 32768 },
  { maker: "HP", model: "EliteDesk 800 G9", cpu: "12th Gen Intel(R) Core(TM) i5-12500", memory: 16384 },
];
const WINDOWS = {
  os: "Microsoft Windows 11 Pro", version: "10.0.22631", agent: "OCS-NG_WINDOWS_AGENT_v2.10.1.0",
  software: [["7-Zip 23.01 (x64)", "23.01"], ["Mozilla Firefox ESR (x64 en-US)", "115.9.0"], ["LibreOffice 7.6.4.1", "7.6.4.1"], ["Microsoft Edge", "124.0.2478.51"], ["VLC media player", "3.0.20"], ["KeePassXC", "2.7.6"], ["Notepad++ (64-bit x64)", "8.6.4"]],
};
const DEBIAN = {
  os: "Debian GNU/Linux 12.5", version: "6.1.0-18-amd64", agent: "OCS-NG_unified_unix_agent_v2.10.0",
  software: [["bash", "5.2.15-2+b2"], ["firefox-esr", "115.9.1esr-1~deb12u1"], ["libreoffice", "4:7.4.7-1+deb12u1"], ["openssl", "3.0.11-1~deb12u2"], ["python3", "3.11.2-1+b1"], ["vim", "2:9.0.1378-2"]],
};
const PEOPLE = ["a.brandt", "c.moreau", "e.hansen", "j.keller", "l.petit", "m.olsen", "s.vogel", "t.lefevre"];

const fleet = SITES.flatMap((site) => Array.from({ length: site.count }, (_, at) => {
  const system = at % 9 === 8 ? DEBIAN : WINDOWS;
  const name = `${site.code}-${system === DEBIAN ? "lx" : "ws"}-${String(at + 1).padStart(3, "0")}`;
  return { name, device: `${name}-2025-04-0${1 + (at % 9)}-08-${10 + (at % 50)}-${10 + ((at * 7) % 50)}`, system, site, at, ...MODELS[(at * 7) % MODELS.length], user: PEOPLE[(at * 5) % PEOPLE.length] };
}));

// ---- the wire ------------------------------------------------------------------------------------------------------

const element = (name, inner) => `<${name}>${inner}</${name}>`;
const section = (name, fields) => element(name, Object.entries(fields).map(([key, value]) => element(key, String(value).replaceAll("&", "&amp;"))).join(""));

async function say(computer, query, inner) {
  const text = `<?xml version="1.0" encoding="UTF-8"?>\n${element("REQUEST", `${inner}${element("DEVICEID", computer.device)}${element("QUERY", query)}`)}`;
  const answer = await fetch(`${base}/ocsinventory`, {
    method: "POST", body: deflateSync(text), headers: { "User-Agent": computer.system.agent, "Content-Type": "application/x-compress" },
  });
  if (answer.status !== 200) throw new Error(`${query} of ${computer.name} was answered ${answer.status}`);
  const bytes = Buffer.from(await answer.arrayBuffer());
  return bytes.length > 0 ? inflateSync(bytes).toString() : "";
}

function inventory(computer) {
  const { system, site, at } = computer;
  const address = `${site.net}.${1 + (at >> 7)}.${20 + (at % 128)}`;
  return element("CONTENT", [
    section("HARDWARE", { NAME: computer.name, WORKGROUP: "EXAMPLE", OSNAME: system.os, OSVERSION: system.version, PROCESSORT: computer.cpu, PROCESSORN: 1, MEMORY: computer.memory, IPADDR: address, USERID: computer.user }),
    section("BIOS", { SMANUFACTURER: computer.maker, SMODEL: computer.model, SSN: `5CG${4000 + at}${site.code.toUpperCase()}`, TYPE: "Notebook" }),
    section("NETWORKS", { DESCRIPTION: "Ethernet", MACADDR: `02:${site.net.slice(3)}:00:00:${(at >> 8).toString(16).padStart(2, "0")}:${(at % 256).toString(16).padStart(2, "0")}`, IPADDRESS: address, IPMASK: "255.255.255.0", IPSUBNET: address.replace(/\d+$/, "0"), STATUS: "Up", TYPE: "Ethernet" }),
    section("STORAGES", { NAME: "SAMSUNG MZVL2512", TYPE: "disk", DISKSIZE: 512110 }),
    ...system.software.map(([NAME, VERSION]) => section("SOFTWARES", { NAME, VERSION })),
    section("ACCOUNTINFO", { KEYNAME: "TAG", KEYVALUE: site.tag }),
  ].join(""));
}

/** Asks what is to be done; fetches the info file of each, and its first fragments, as an agent on its way has. */
async function offered(computer, id, fragments) {
  const reply = await say(computer, "PROLOG", "");
  if (!reply.includes(`ID="${id}"`)) throw new Error(`${computer.name} is not offered ${id}: ${reply}`);
  if (fragments === undefined) return;
  await (await fetch(`${base}/download/${id}/info`, { headers: { "User-Agent": computer.system.agent } })).arrayBuffer();
  for (let n = 1; n <= fragments; n += 1) await (await fetch(`${base}/download/${id}/${id}-${n}`, { headers: { "User-Agent": computer.system.agent } })).arrayBuffer();
}

const result = (computer, id, code) => say(computer, "DOWNLOAD", element("ID", id) + element("ERR", code));

/** For all of them, sixteen at a time. */
async function each(all, work) {
  const queue = [...all];
  await Promise.all(Array.from({ length: 16 }, async () => { while (queue.length > 0) await work(queue.shift()); }));
}

// ---- the packages and who gets them --------------------------------------------------------------------------------

async function built(name, version, os, megabytes, file, command) {
  const directory = `${work}/tour/${name}-${version}`.replaceAll(" ", "-");
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/${file}`, randomBytes(megabytes << 20));
  const id = number(await cli("package", "build", directory, "--name", name, "--version", version, "--os", os, "--action", "execute", "--command", command));
  await cli("activate", id);
  return id;
}

/** Deploys, lets everybody ask, and tells a result for as many as `codes` says, in the order of the fleet. */
async function deployment(id, computers, where, codes) {
  await cli("assign", id, "--where", where);
  const said = codes.flatMap(([code, count]) => Array(count).fill(code));
  await each(computers.slice(0, said.length).map((computer, at) => [computer, said[at]]), async ([computer, code]) => {
    await offered(computer, id);
    if (code) await result(computer, id, code);
  });
}

export async function tour() {
  const windows = fleet.filter((it) => it.system === WINDOWS);
  const berlin = windows.filter((it) => it.site.code === "ber");
  const linux = fleet.filter((it) => it.system === DEBIAN);
  await each(fleet, (it) => say(it, "INVENTORY", inventory(it)));
  await cli("group", "create", "Berlin, Windows", "--where", "tag = 'Berlin' and os contains 'Windows'");
  await cli("group", "create", "Old Firefox", "--where", "has software 'Mozilla Firefox ESR (x64 en-US)' < '128'");
  await cli("group", "create", "Pilots");
  await cli("group", "add", "Pilots", ...berlin.slice(0, 5).map((it) => it.name));

  const zip = await built("7-Zip", "24.09", "windows", 2, "7z2409-x64.msi", "msiexec /i 7z2409-x64.msi /qn");
  const firefox = await built("Firefox ESR", "128.5.0", "windows", 12, "firefox.exe", "firefox.exe /S");
  const keepass = await built("KeePassXC", "2.7.9", "windows", 5, "keepassxc.msi", "msiexec /i keepassxc.msi /qn");
  const openssl = await built("openssl", "3.0.15", "linux", 3, "openssl.deb", "apt-get install -y ./openssl.deb");
  await built("LibreOffice", "24.8.3", "windows", 16, "libreoffice.msi", "msiexec /i libreoffice.msi /qn");

  await deployment(zip, berlin, "tag = 'Berlin' and os contains 'Windows'", [["SUCCESS", berlin.length]]);
  await deployment(firefox, windows, "os contains 'Windows'", [["SUCCESS", 88], ["EXIT_CODE_1618", 4], ["ERR_OUT_OF_SPACE", 2], ["SUCCESS_REBOOT_REQUIRED", 3], [null, 21]]);
  await deployment(keepass, windows, "os contains 'Windows'", [["SUCCESS", 12], [null, 30]]);
  await deployment(openssl, linux, "os contains 'Debian'", [["SUCCESS", linux.length - 3], ["ERR_EXIT_CODE_100", 1]]);

  const page = await signedIn();
  await shot(page, "/", "tour-home", "Firefox ESR");
  await shot(page, "/packages", "tour-packages", "LibreOffice");
  await shot(page, "/computers", "tour-computers", "ber-ws-001");
  const address = await firstLink(page, "/deployments", "Firefox ESR");
  await check("the page of a deployment tells the sums of what the fleet sent", async () => {
    await go(page, address);
    const read = (await page.$eval("main", (it) => it.innerText)).replace(/\s+/g, " ");
    const wanted = ["EXIT_CODE_1618", "ERR_OUT_OF_SPACE", String(windows.length)];
    const absent = wanted.filter((it) => !read.includes(it));
    return absent.length === 0 ? true : `${absent.join(", ")} is not in: ${read.slice(0, 900)}`;
  });
  await picture(page, "tour-deployment");
  await shot(page, await firstLink(page, "/computers", "ber-ws-001"), "tour-computer", "ThinkPad|Latitude|EliteDesk");
  await close(page);
}

async function firstLink(page, list, words) {
  await go(page, list);
  return page.$$eval("main a", (all, words) => all.find((it) => it.innerText.includes(words))?.getAttribute("href"), words);
}

async function shot(page, address, name, words) {
  await check(`${address} shows the fleet`, async () => {
    await go(page, address);
    await reads(page, new RegExp(words), "main");
    return true;
  });
  await picture(page, name);
}
