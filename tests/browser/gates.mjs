// When and where a deployment may run: asked for in the form, looked at, changed on its page, taken back.

import { check, cli, close, fill, follow, go, press, quickPackage, reads, signedIn, text } from "./lib.mjs";
import { looked } from "./pages.mjs";
import { inventory, prolog, undo } from "./rarer.mjs";

export async function gates() {
  const page = await signedIn();
  const device = "night-2026-01-02-03-04-05";
  await inventory("night", device, "N-1");
  const id = await quickPackage("At night", "true");
  // Two hours that are not these: what a clock says must not decide what a test says.
  const away = (new Date().getUTCHours() + 6) % 20;
  const two = (hour) => String(hour).padStart(2, "0");
  const closed = `daily ${two(away)}:00-${two(away + 2)}:00`;
  await check("the form says when a window opens before anything is made, and what is no window", async () => {
    await go(page, `/deployments/new?package=${id}&computer=night`);
    await page.$$eval("main details.fold", (all) => all.find((it) => it.textContent.includes("When and where")).setAttribute("open", ""));
    await fill(page, "[name=windows]", "at night");
    await follow(page, () => press(page, "Look who gets it"));
    await reads(page, "is no window", "#who");
    await fill(page, "[name=windows]", closed);
    await fill(page, "[name=window_zone]", "UTC");
    await follow(page, () => press(page, "Look who gets it"));
    await reads(page, `Closed now, opens`, "#who");
    await reads(page, `${two(away)}:00 UTC`, "#who");
    return looked(page, "deployment-new-gates");
  });
  await check("outside the window the computer is not told, and the page says for what it waits", async () => {
    await follow(page, () => press(page, "Deploy to", "#who"));
    await prolog(device);
    await go(page, page.url());
    await reads(page, "Waits for its window: next opens", "#gates");
    const faults = await looked(page, "deployment-gates");
    await follow(page, () => press(page, "Why?"));
    await reads(page, "Waits for its window", "main");
    return faults;
  });
  await check("the window is taken away on the way, the computer is told, and Undo puts it back", async () => {
    const list = `/deployments?package=${id}`;
    await go(page, list);
    await follow(page, () => page.$eval("main tbody th[scope=row] a", (it) => it.click()));
    await follow(page, () => press(page, "Change", "#gates"));
    await fill(page, "[name=windows]", "");
    await fill(page, "[name=ranges]", "!192.0.2.7, 0.0.0.0/0, ::/0");
    const faults = await looked(page, "deployment-gates-change");
    await follow(page, () => press(page, "Save"));
    await reads(page, "!192.0.2.7, 0.0.0.0/0, ::/0", "#gates");
    await prolog(device);
    const told = /offered/.test(await cli("status", id));
    await undo(page);
    const back = (await text(page, "#gates")).includes(closed);
    return told && back ? faults : `told ${told}, back ${back}: ${await text(page, "#gates")}`;
  });
  await close(page);
}
