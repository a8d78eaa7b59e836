// Waking computers, by hand. None of these has a network card, so nothing is sent.

import { check, cli, close, fill, follow, go, press, quickPackage, reads, signedIn } from "./lib.mjs";
import { looked } from "./pages.mjs";

export async function waking() {
  const page = await signedIn();
  await cli("computer", "add", "sleeper-#", "--count", "2", "--tag", "Sleepers");
  await check("a search is woken after a page that says how many can be, and who cannot is named", async () => {
    await go(page, "/computers?q=tag+%3D+Sleepers");
    await page.$eval("[data-selection-page]", (it) => it.click());
    await follow(page, () => press(page, "Wake", "[data-selection]"));
    await reads(page, "no MAC address of a card", "main");
    const faults = await looked(page, "computers-wake");
    await follow(page, () => press(page, "Wake them"));
    await reads(page, /2 computers cannot be woken.*sleeper-1, sleeper-2/, "#toast");
    return faults;
  });
  await check("the page of each says so, and refuses to try it again", async () => {
    await follow(page, () => press(page, "sleeper-1"));
    await reads(page, /Woken[^]*not woken: no network card/, "main");
    const faults = await looked(page, "computer-woken");
    await follow(page, () => press(page, "Wake"));
    await reads(page, "cannot be woken", "[role=alert]");
    return faults;
  });
  await check("a deployment that wakes says whom on its page", async () => {
    const id = await quickPackage("wakeup", "true");
    await go(page, `/deployments/new?package=${id}&where=tag+%3D+Sleepers`);
    await fill(page, "[name=wake]", true);
    await follow(page, () => press(page, "Look who gets it"));
    const faults = await looked(page, "deployment-wake");
    await follow(page, () => press(page, "Deploy to", "#who"));
    await reads(page, /Wakes computers[^]*(From 20|Nobody|wait for|no MAC)/, "main");
    return faults;
  });
  await close(page);
}
