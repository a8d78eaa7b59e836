// Runs the scenarios named, or all of them, and writes how many checks passed and failed into the file $COUNTS.

import { writeFileSync } from "node:fs";
import * as again from "./again.mjs";
import { check, cli, end, newProblems, none, start, tally, tester } from "./lib.mjs";
import { gates } from "./gates.mjs";
import * as pages from "./pages.mjs";
import * as payloads from "./payloads.mjs";
import { places } from "./places.mjs";
import * as rarer from "./rarer.mjs";
import * as stories from "./stories.mjs";
import { tour } from "./tour.mjs";
import { waking } from "./waking.mjs";

const all = {
  "sign-in": stories.signIn,
  errors: stories.errors,
  upload: stories.upload,
  deploy: stories.deploy,
  failure: stories.failure,
  groups: stories.groups,
  restricted: stories.restricted,
  places,
  templates: rarer.templates,
  takeover: rarer.takeover,
  singly: rarer.singly,
  gates,
  duplicates: rarer.duplicates,
  newcomers: rarer.newcomers,
  fields: rarer.fields,
  scope: rarer.scope,
  series: again.series,
  approval: again.approval,
  waking,
  theme: stories.theme,
  pages: pages.everyPage,
  payloads: payloads.everywhere,
  token: stories.token,
  tour,
};

const asked = process.argv.slice(2);
for (const name of asked) if (!all[name]) throw new Error(`there is no scenario "${name}": ${Object.keys(all).join(", ")}`);
const names = asked.length > 0 ? asked : Object.keys(all);
let code = 0;
try {
  await start();
  await cli("user", "add", tester.name, "--password-stdin", { input: `${tester.password}\n` });
  for (const name of names) {
    const began = Date.now();
    console.error(`browser: ${name}`);
    // A scenario ends at what the rest of it builds upon; the others go on.
    try {
      await all[name]();
    } catch (error) {
      await check(`scenario ${name} gets to its end`, () => { throw error; });
    }
    await check(`${name}: no script error, no refusal of the security policy, no dialog, no answer of 500`, () => none(newProblems()));
    console.error(`browser: ${name} took ${((Date.now() - began) / 1000).toFixed(1)} s`);
  }
} catch (error) {
  console.error(error);
  code = 1;
} finally {
  await end();
  writeFileSync(process.env.COUNTS, `${tally.passed} ${tally.failed}\n`);
}
process.exit(code);
