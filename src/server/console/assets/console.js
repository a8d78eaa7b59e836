// The console's behaviour. Every page works without it; this makes it quicker. It depends on nothing, writes no inline style and
// puts text into the page as text only: the HTML it inserts comes from this server alone, and scripts in it do not run.
// The attributes it looks for are listed in docs/console-style.md.

/** The sprite, found beside this file. */
const ICONS = new URL("icons.svg", import.meta.url).href;
const SVG = "http://www.w3.org/2000/svg";

/** @type {<T extends Element = HTMLElement>(selector: string, root?: ParentNode) => T | null} */
const one = (selector, root = document) => root.querySelector(selector);
/** @type {<T extends Element = HTMLElement>(selector: string, root?: ParentNode) => T[]} */
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
/** The event's nearest element that fits. @type {(event: Event, selector: string) => HTMLElement | null} */
const near = (event, selector) => (event.target instanceof Element ? event.target.closest(selector) : null);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const csrf = () => one("meta[name=csrf]")?.getAttribute("content") ?? "";

/**
 * An element: `make("p", {class: "help"}, "text", child)`.
 * @param {string} name @param {Record<string, string>} [attributes] @param {...(Node | string)} children
 */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** @param {string} name */
function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `${ICONS}#${name}`);
  svg.append(use);
  return svg;
}

/** What this browser remembers; nothing when it does not want to. */
const memory = {
  get: (key) => { try { return localStorage.getItem(key); } catch { return null; } },
  set: (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } },
  drop: (key) => { try { localStorage.removeItem(key); } catch { /* private window */ } },
};

// ---- toasts --------------------------------------------------------------------------------------------------------

const TOAST_ICONS = { ok: "succeeded", bad: "failed", warn: "warning", info: "info" };

/**
 * Shows a message for a while; one of tone `bad` stays until it is closed.
 * @param {string} text @param {"ok" | "bad" | "warn" | "info"} [tone]
 */
export function toast(text, tone = "ok") {
  let place = one("#toast");
  if (!place) {
    place = make("div", { id: "toast", class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  const close = make("button", { type: "button", class: "button ghost tiny only", "aria-label": "Close", "data-toast-close": "" }, icon("close"));
  const box = make("div", { class: `toast is-${tone}` }, icon(TOAST_ICONS[tone] ?? "info"), make("span", {}, text), close);
  place.append(box);
  while (place.children.length > 4) place.firstElementChild?.remove();
  fade(box, tone);
}

/** One that can be undone stays long enough to think, and while the keyboard is in it. */
function fade(box, tone) {
  if (tone === "bad") return;
  let left = setTimeout(() => box.remove(), one("form", box) ? 20000 : 6000);
  box.addEventListener("focusin", () => clearTimeout(left));
  box.addEventListener("pointerenter", () => clearTimeout(left));
  box.addEventListener("pointerleave", () => { left = setTimeout(() => box.remove(), 3000); });
}

/** The sentence of a problem+json body, if that is what it is. @param {string} text @returns {string | undefined} */
function detailOf(text) {
  try {
    const problem = JSON.parse(text);
    return problem.detail || problem.title || undefined;
  } catch {
    return undefined;
  }
}

/** @param {Response} response */
function toastOf(response) {
  const text = response.headers.get("X-Toast");
  if (!text) return;
  let plain = text;
  try { plain = decodeURIComponent(text); } catch { /* it was not encoded */ }
  toast(plain, response.headers.get("X-Toast-Tone") ?? (response.ok ? "ok" : "bad"));
}

// ---- swapping parts ------------------------------------------------------------------------------------------------

/** The newest request of each target: an answer that was overtaken is thrown away. @type {Map<string, AbortController>} */
const pending = new Map();

/**
 * Puts `fresh` in the place of `old` and keeps what the reader was doing: the focus, the caret, ticked rows, open folds.
 * @param {Element} old @param {Element} fresh
 */
function replace(old, fresh) {
  const active = document.activeElement;
  const inside = active && active !== document.body && old.contains(active) ? active : null;
  const mark = inside && {
    id: inside.id, name: inside.getAttribute("name"), value: inside.value, key: inside.getAttribute("aria-label") ?? inside.textContent,
    tag: inside.tagName, start: inside.selectionStart, end: inside.selectionEnd,
  };
  const open = new Set(all("details[open][id]", old).map((fold) => fold.id));
  document.adoptNode(fresh);
  old.replaceWith(fresh);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (mark) {
    const twin = (mark.id && document.getElementById(mark.id))
      || (mark.name && all(`[name="${CSS.escape(mark.name)}"]`, fresh).find((field) => field.tagName === mark.tag))
      || all(mark.tag, fresh).find((it) => (it.getAttribute("aria-label") ?? it.textContent) === mark.key)
      || fresh;
    if (twin === fresh && !fresh.hasAttribute("tabindex")) fresh.setAttribute("tabindex", "-1");
    twin.focus({ preventScroll: true });
    if (mark.start !== null && mark.start !== undefined && "value" in twin) {
      if (typeof mark.value === "string" && twin.type === "search") twin.value = mark.value;
      try { twin.setSelectionRange(mark.start, mark.end); } catch { /* a field without a caret */ }
    }
  }
  enhance(fresh);
}

/** @param {string} html @param {string} id @returns {Element | null} */
function part(html, id) {
  return new DOMParser().parseFromString(html, "text/html").getElementById(id);
}

/**
 * Fetches and swaps one element.
 * @param {string} id @param {string} url
 * @param {{method?: string, body?: BodyInit, push?: boolean, quiet?: boolean, scroll?: boolean}} [how]
 */
async function swap(id, url, how = {}) {
  const target = document.getElementById(id);
  const method = (how.method ?? "GET").toUpperCase();
  pending.get(id)?.abort();
  const control = new AbortController();
  pending.set(id, control);
  target?.setAttribute("aria-busy", "true");
  target?.classList.add("swapping");
  const line = how.quiet ? null : make("div", { class: "loading" });
  const soon = line && setTimeout(() => document.body.append(line), 150);
  try {
    const headers = { "X-Fragment": id, Accept: "text/html" };
    if (method !== "GET") headers["X-CSRF"] = csrf();
    const response = await fetch(url, { method, body: how.body, headers, signal: control.signal, credentials: "same-origin" });
    const html = await response.text();
    if (control.signal.aborted) return;
    toastOf(response);
    const fresh = target && part(html, id);
    const elsewhere = response.redirected && new URL(response.url).pathname !== new URL(url, location.href).pathname;
    if (response.status === 401 || elsewhere || (!fresh && response.ok && method === "GET" && !how.quiet)) {
      location.assign(elsewhere ? response.url : method === "GET" && response.status !== 401 ? url : location.href);
      return;
    }
    if (!fresh) {
      if (!response.headers.has("X-Toast") && !how.quiet && !response.ok) toast(detailOf(html) ?? `The server answered ${response.status}. Nothing was changed on this page.`, "bad");
      return;
    }
    replace(target, fresh);
    if (how.push) history.pushState({ swap: id }, "", url);
    if (how.scroll) {
      const top = fresh.getBoundingClientRect().top;
      if (top < 0) fresh.scrollIntoView({ block: "start" });
    }
  } catch (error) {
    if (error.name !== "AbortError" && !how.quiet) toast("The server cannot be reached. Try again in a moment.", "bad");
  } finally {
    if (soon) clearTimeout(soon);
    line?.remove();
    if (pending.get(id) === control) {
      pending.delete(id);
      const now = document.getElementById(id);
      now?.removeAttribute("aria-busy");
      now?.classList.remove("swapping");
    }
  }
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} [button] */
function fieldsOf(form, button) {
  const data = new FormData(form);
  if (button instanceof HTMLButtonElement && button.name) data.append(button.name, button.value);
  return data;
}

/** @param {FormData} data empty fields are left out: the address stays short */
function query(data) {
  const search = new URLSearchParams();
  for (const [name, value] of data) if (typeof value === "string" && value !== "") search.append(name, value);
  return search;
}

/** @param {FormData} data files make it multipart, everything else is a plain form */
function bodyOf(data) {
  for (const [, value] of data) if (typeof value !== "string") return data;
  return new URLSearchParams([...data]);
}

/** @param {HTMLFormElement} form @param {HTMLElement | null} [button] */
function swapForm(form, button) {
  const id = form.dataset.swap;
  const method = (button?.getAttribute("formmethod") ?? form.getAttribute("method") ?? "get").toUpperCase();
  const action = button?.getAttribute("formaction") ?? form.getAttribute("action") ?? location.pathname;
  const data = fieldsOf(form, button);
  if (method !== "GET") return swap(id, action, { method, body: bodyOf(data) });
  const url = new URL(action, location.href);
  url.search = query(data).toString();
  return swap(id, url.href, { push: !("swapQuiet" in form.dataset) });
}

// A page that was changed by swaps is loaded anew when the reader goes back: what is shown is then surely of that address.
addEventListener("popstate", () => location.reload());

// ---- live parts ----------------------------------------------------------------------------------------------------

/** @type {Map<Element, {close: () => void}>} */
const streams = new Map();

/** @param {HTMLElement} root */
function live(root) {
  if (streams.has(root) || typeof EventSource === "undefined") return;
  let source = null;
  let retry = null;
  let failures = 0;
  const say = (state) => {
    for (const sign of all("[data-live-state]")) {
      sign.dataset.state = state;
      sign.textContent = state;
    }
  };
  const close = () => {
    clearTimeout(retry);
    source?.close();
    source = null;
  };
  const put = (id, html) => {
    const old = document.getElementById(id);
    if (!old) return;
    const busy = old.contains(document.activeElement) && document.activeElement?.matches("input, select, textarea");
    if (busy || one("details.menu[open]", old)) {
      clearTimeout(waiting.get(id));
      waiting.set(id, setTimeout(() => put(id, html), 1000));
      return;
    }
    const fresh = part(html, id);
    if (!fresh || fresh.isEqualNode(old)) return;
    const ticked = new Set(all("input[type=checkbox]:checked", old).map((box) => `${box.name}=${box.value}`));
    replace(old, fresh);
    for (const box of all("input[type=checkbox]", fresh)) if (ticked.has(`${box.name}=${box.value}`)) box.checked = true;
    for (const form of all("form[data-select-all]")) count(form);
    fresh.classList.add("fresh");
  };
  const waiting = new Map();
  const open = () => {
    close();
    if (!root.isConnected) { streams.delete(root); return; }
    source = new EventSource(root.dataset.live);
    const names = new Set(root.dataset.liveEvents?.split(/\s+/).filter(Boolean) ?? all("[id]", root).map((it) => it.id));
    if (root.id) names.add(root.id);
    for (const name of names) source.addEventListener(name, (event) => { clearTimeout(waiting.get(name)); put(name, event.data); });
    source.addEventListener("toast", (event) => toast(event.data, "info"));
    source.addEventListener("reload", () => location.reload());
    source.addEventListener("close", () => { close(); streams.delete(root); say("ended"); });
    source.onopen = () => { failures = 0; say("live"); };
    source.onerror = () => {
      say("reconnecting");
      if (source?.readyState === EventSource.CLOSED) {
        failures += 1;
        retry = setTimeout(open, Math.min(60_000, 2000 * 2 ** Math.min(failures, 5)) * (0.75 + Math.random() / 2));
      }
    };
  };
  // A tab that nobody looks at gives its connection back after a while.
  let asleep = null;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(asleep);
    if (!streams.has(root)) return;
    if (document.hidden) asleep = setTimeout(close, 30_000);
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted && streams.has(root)) open(); });
  streams.set(root, { close });
  open();
}

// ---- questions before what cannot be taken back --------------------------------------------------------------------

/** What has been agreed to, once. @type {WeakSet<Element>} */
const agreed = new WeakSet();

/**
 * Asks, in a dialog.
 * @param {HTMLElement} about carries the words in its data attributes
 * @returns {Promise<boolean>}
 */
function ask(about) {
  const { confirm, confirmTitle, confirmYes, confirmType } = about.dataset;
  const yes = make("button", { class: `button primary${about.matches(".danger, [data-danger]") || confirmType ? " danger" : ""}`, value: "yes" }, confirmYes ?? (about.textContent.trim() || "Yes"));
  const title = make("h2", { id: "ask-title" }, confirmTitle ?? "Are you sure?");
  const body = make("div", { class: "dialog-body" }, make("p", {}, confirm ?? ""));
  if (confirmType) {
    const field = make("input", { id: "ask-word", autocomplete: "off", spellcheck: "false", required: "" });
    body.append(make("div", { class: "field" }, make("label", { for: "ask-word" }, "Type ", make("code", {}, confirmType), " to go on"), field));
    yes.disabled = true;
    field.addEventListener("input", () => { yes.disabled = field.value.trim() !== confirmType; });
    // Enter means the answer that was typed, not the first button of the form.
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.isComposing) return;
      event.preventDefault();
      if (!yes.disabled) yes.click();
    });
  }
  const form = make("form", { method: "dialog" },
    make("div", { class: "dialog-head" }, title), body,
    make("div", { class: "dialog-foot" }, make("button", { class: "button", value: "no", formnovalidate: "" }, "Cancel"), yes));
  const dialog = make("dialog", { class: "dialog", "aria-labelledby": "ask-title" }, form);
  document.body.append(dialog);
  dialog.returnValue = "no";
  dialog.showModal();
  (one("input", dialog) ?? one("[value=no]", dialog)).focus();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      (about.checkVisibility?.() === false ? one("summary", about.closest("details") ?? about) : about)?.focus?.();
      done(dialog.returnValue === "yes");
    }, { once: true });
  });
}

// ---- ticked rows ---------------------------------------------------------------------------------------------------

const rows = (form) => [...form.elements].filter((box) => box.type === "checkbox" && box.closest("td.tick, th.tick, li") && !box.matches("[data-selection-page]"));
let lastTicked = null;

/** Says how many rows are ticked. @param {HTMLFormElement} form */
function count(form) {
  const boxes = rows(form);
  const ticked = boxes.filter((box) => box.checked).length;
  const total = Number(form.dataset.total ?? boxes.length);
  const mode = form.elements.namedItem("all");
  const page = [...form.elements].find((box) => box.matches("[data-selection-page]"));
  const everything = mode?.value === "1" && ticked === boxes.length && ticked > 0;
  if (mode && !everything) mode.value = "";
  if (page) {
    page.checked = ticked > 0 && ticked === boxes.length;
    page.indeterminate = ticked > 0 && ticked < boxes.length;
  }
  const bar = one("[data-selection]", form) ?? (form.id && one(`[data-selection="${CSS.escape(form.id)}"]`));
  if (!bar) return;
  bar.hidden = ticked === 0;
  const label = one("[data-selection-count]", bar);
  const text = everything ? `All ${total.toLocaleString("en")} selected` : `${ticked.toLocaleString("en")} selected`;
  if (label && label.textContent !== text) label.textContent = text;
  const more = one("[data-selection-everything]", bar);
  if (more) more.hidden = everything || ticked < boxes.length || total <= boxes.length;
}

// ---- uploads -------------------------------------------------------------------------------------------------------

const running = new Set();
const size = (bytes) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let value = bytes;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${value.toFixed(at === 0 || value >= 100 ? 0 : 1)} ${units[at]}`;
};
const span = (seconds) => (seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

/** What the server said no to, for good: trying again would not help. */
class Refused extends Error {}

/** @param {XMLHttpRequest} request */
function reason(request) {
  return detailOf(request.responseText) ?? `The server answered ${request.status}.`;
}

/** One file on its way to the server, in pieces; goes on where it stopped, after a break or a reload of the page. */
class Upload {
  /** @param {HTMLElement} zone @param {File} file */
  constructor(zone, file) {
    this.zone = zone;
    this.file = file;
    this.url = zone.dataset.upload || "/api/v1/uploads";
    this.key = `upload ${file.name} ${file.size} ${file.lastModified} ${file.files?.length ?? ""}`;
    this.offset = 0;
    this.paused = false;
    this.over = false;
    this.request = null;
    this.speed = 0;
    this.draw();
  }

  draw() {
    this.note = make("span", { class: "muted small" }, "Starting");
    this.meter = make("progress", { max: String(Math.max(1, this.file.size)), value: "0", "aria-label": `Upload of ${this.file.name}` });
    this.hold = make("button", { type: "button", class: "button tiny" }, "Pause");
    this.stop = make("button", { type: "button", class: "button tiny ghost" }, "Cancel");
    this.box = make("div", { class: "upload" },
      make("div", { class: "upload-head" }, icon("file"), make("span", { class: "upload-name" }, this.file.name), make("span", { class: "muted small" }, size(this.file.size)), this.hold, this.stop),
      this.meter, this.note);
    one(".upload", this.zone)?.remove();
    this.zone.append(this.box);
    this.hold.addEventListener("click", () => (this.paused ? this.run() : this.pause()));
    this.stop.addEventListener("click", () => this.cancel());
  }

  say(text) { if (this.note.textContent !== text) this.note.textContent = text; }

  at(bytes) {
    this.meter.value = bytes;
    const left = this.speed > 0 ? `, ${span((this.file.size - bytes) / this.speed)} left` : "";
    this.say(`${size(bytes)} of ${size(this.file.size)}${this.speed > 0 ? `, ${size(this.speed)}/s` : ""}${left}`);
  }

  /** @param {string} method @param {string} url @param {Record<string, string>} headers @param {XMLHttpRequestBodyInit | null} body */
  send(method, url, headers, body) {
    return new Promise((done, fail) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open(method, url);
      request.setRequestHeader("X-CSRF", csrf());
      request.setRequestHeader("Accept", "application/json");
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.timeout = 120_000;
      const from = this.offset;
      const began = performance.now();
      request.upload.onprogress = (event) => {
        if (method !== "PATCH") return;
        const now = event.loaded / Math.max(0.05, (performance.now() - began) / 1000);
        this.speed = this.speed ? this.speed * 0.8 + now * 0.2 : now;
        this.at(from + event.loaded);
      };
      request.onload = () => done(request);
      request.onerror = request.ontimeout = () => fail(new Error("The connection was lost."));
      request.onabort = () => fail(new DOMException("stopped", "AbortError"));
      request.send(body);
    });
  }

  check(request) {
    if (request.status < 300) return;
    if ([408, 425, 429, 500, 502, 503, 504].includes(request.status)) throw new Error(reason(request));
    throw new Refused(request.status === 401 ? "You are signed out. Sign in again in another tab, then go on here." : reason(request));
  }

  async begin() {
    const known = memory.get(this.key);
    if (known && !this.id) {
      const request = await this.send("HEAD", `${this.url}/${encodeURIComponent(known)}`, {}, null);
      if (request.status < 300) {
        this.id = known;
        this.offset = Number(request.getResponseHeader("Upload-Offset") ?? 0);
        this.chunk = Number(request.getResponseHeader("Upload-Chunk") ?? 0) || 8 << 20;
        return;
      }
      memory.drop(this.key);
    }
    const request = await this.send("POST", this.url, { "Content-Type": "application/json" }, JSON.stringify({ name: this.file.name, size: this.file.size, files: this.file.files }));
    this.check(request);
    const told = JSON.parse(request.responseText);
    this.id = String(told.id);
    this.offset = Number(told.offset ?? 0);
    this.chunk = Number(told.chunk_bytes) || 8 << 20;
    memory.set(this.key, this.id);
  }

  async ask() {
    const request = await this.send("HEAD", `${this.url}/${encodeURIComponent(this.id)}`, {}, null);
    if (request.status === 404 || request.status === 410) {
      memory.drop(this.key);
      this.id = undefined;
      return;
    }
    this.check(request);
    this.offset = Number(request.getResponseHeader("Upload-Offset") ?? this.offset);
  }

  async run() {
    this.paused = false;
    this.hold.textContent = "Pause";
    this.box.classList.remove("is-bad");
    running.add(this);
    let failures = 0;
    let unsure = Boolean(this.id);
    while (!this.over && !this.paused) {
      try {
        if (unsure && this.id) await this.ask();
        if (!this.id) await this.begin();
        unsure = false;
        if (this.offset >= this.file.size) { this.done(); return; }
        const end = Math.min(this.file.size, this.offset + this.chunk);
        const request = await this.send("PATCH", `${this.url}/${encodeURIComponent(this.id)}`,
          { "Upload-Offset": String(this.offset), "Content-Type": "application/octet-stream" }, this.file.slice(this.offset, end));
        if (request.status === 409 || request.status === 404 || request.status === 410) { unsure = true; failures += 1; if (failures > 5) this.check(request); continue; }
        this.check(request);
        const told = request.getResponseHeader("Upload-Offset");
        this.offset = told === null ? end : Number(told);
        this.at(this.offset);
        failures = 0;
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error instanceof Refused) { this.fail(error.message); return; }
        failures += 1;
        unsure = true;
        const seconds = Math.min(60, 2 ** failures);
        this.speed = 0;
        this.say(`${error.message} Trying again in ${seconds} s.`);
        await Promise.race([sleep(seconds * 1000), new Promise((go) => addEventListener("online", go, { once: true }))]);
      }
    }
  }

  pause() {
    this.paused = true;
    this.speed = 0;
    this.request?.abort();
    running.delete(this);
    this.hold.textContent = "Go on";
    this.say(`Paused at ${size(this.offset)} of ${size(this.file.size)}`);
  }

  async cancel() {
    this.over = true;
    this.request?.abort();
    running.delete(this);
    memory.drop(this.key);
    this.box.remove();
    const field = this.field();
    if (field) field.value = "";
    if (this.id) await this.send("DELETE", `${this.url}/${encodeURIComponent(this.id)}`, {}, null).catch(() => {});
  }

  fail(text) {
    this.paused = true;
    running.delete(this);
    this.box.classList.add("is-bad");
    this.hold.textContent = "Try again";
    this.say(text);
    toast(text, "bad");
  }

  field() {
    const name = this.zone.dataset.uploadField;
    return name ? one(`input[name="${CSS.escape(name)}"]`, this.zone.closest("form") ?? this.zone) : null;
  }

  done() {
    this.over = true;
    running.delete(this);
    memory.drop(this.key);
    this.meter.value = this.meter.max;
    this.box.classList.add("is-ok");
    this.hold.remove();
    this.stop.textContent = "Remove";
    this.say(`Complete: ${size(this.file.size)}`);
    const field = this.field();
    if (field) {
      field.value = this.id;
      field.dispatchEvent(new Event("change", { bubbles: true }));
    }
    this.zone.dispatchEvent(new CustomEvent("uploaded", { bubbles: true, detail: { id: this.id } }));
    const next = this.zone.dataset.uploadNext;
    if (next) location.assign(next.replace("{id}", encodeURIComponent(this.id)));
  }
}

/** Several files as one upload: their bytes one behind the other, by reference, with their paths. The server makes the archive. */
function together(found) {
  const top = found[0].path.split("/")[0];
  const folder = found.every(({ path }) => path.startsWith(`${top}/`));
  // What lies in a folder is meant, not the folder: as the command line packs a directory.
  const files = found.map(({ path, file }) => ({ path: folder ? path.slice(top.length + 1) : path, size: file.size }));
  const blob = new Blob(found.map(({ file }) => file));
  return {
    name: folder ? top : `${files.length} files`,
    size: blob.size,
    lastModified: Math.max(...found.map(({ file }) => file.lastModified)),
    slice: (from, to) => blob.slice(from, to),
    files,
  };
}

/** Every file below what was dropped, with its path. @param {FileSystemEntry} entry */
async function below(entry, path, found) {
  if (entry.isFile) {
    found.push({ path: path + entry.name, file: await new Promise((done, fail) => entry.file(done, fail)) });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A browser gives a hundred at a time.
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (some.length === 0) return;
    for (const one of some) await below(one, `${path}${entry.name}/`, found);
  }
}

/** @param {HTMLElement} zone */
function uploads(zone) {
  const inputs = [...all("input[type=file]", zone)];
  let current = null;
  const start = (file) => {
    current?.cancel();
    current = new Upload(zone, file);
    current.run();
    for (const input of inputs) input.value = "";
  };
  const take = (found) => {
    if (found.length === 0) return;
    const alone = found.length === 1 && !found[0].path.includes("/");
    start(alone ? found[0].file : together(found));
  };
  const many = inputs.some((input) => input.multiple);
  const listed = (files) => [...files].slice(0, many ? Infinity : 1).map((file) => ({ path: file.webkitRelativePath || file.name, file }));
  for (const input of inputs) {
    input.removeAttribute("name");
    input.required = false;
    input.addEventListener("change", () => take(listed(input.files)));
    const label = input.closest("[data-upload-folder]");
    if (label) label.hidden = !("webkitdirectory" in input);
  }
  for (const name of ["dragenter", "dragover"]) zone.addEventListener(name, (event) => { event.preventDefault(); zone.dataset.over = ""; });
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, (event) => { if (name === "drop" || !zone.contains(event.relatedTarget)) delete zone.dataset.over; });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    const entries = many ? [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean) : [];
    if (!entries.some((entry) => entry.isDirectory)) { take(listed(event.dataTransfer?.files ?? [])); return; }
    const found = [];
    try {
      for (const entry of entries) await below(entry, "", found);
    } catch {
      toast("This browser could not read all of it. Choose the folder with the button, or pack it yourself.", "bad");
      return;
    }
    take(found);
  });
}
addEventListener("beforeunload", (event) => { if (running.size > 0) event.preventDefault(); });
// A file that misses the zone must not take the page away.
for (const name of ["dragover", "drop"]) addEventListener(name, (event) => { if (one("[data-upload]")) event.preventDefault(); });

// ---- files that are text --------------------------------------------------------------------------------------------

/** A file's text takes the place of what stands in a field. @param {HTMLElement} box */
function textFile(box) {
  const [input, field] = [one("input[type=file]", box), document.getElementById(box.dataset.textFile)];
  if (!input || !field) return;
  box.hidden = false;
  input.addEventListener("change", async () => {
    const file = input.files[0];
    if (!file) return;
    if (file.size > 64 << 10) { toast("This file is larger than 64 KiB, so it is no template.", "bad"); return; }
    field.value = await file.text();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

// ---- times ---------------------------------------------------------------------------------------------------------

const STEPS = [[60, "second"], [3600, "minute"], [86400, "hour"], [86400 * 30, "day"], [86400 * 365, "month"], [Infinity, "year"]];
const LENGTH = { second: 1, minute: 60, hour: 3600, day: 86400, month: 86400 * 30, year: 86400 * 365 };
const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

/** @param {HTMLTimeElement} element */
function relative(element) {
  const then = Date.parse(element.dateTime);
  if (Number.isNaN(then)) return;
  if (!element.title) element.title = new Date(then).toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
  const seconds = (then - Date.now()) / 1000;
  const [, unit] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  const text = Math.abs(seconds) < 10 ? "just now" : words.format(Math.round(seconds / LENGTH[unit]), unit).replace(/(second|minute|hour)s?\b/, (word) => ({ s: "s", m: "min", h: "h" })[word[0]]);
  if (element.textContent !== text) element.textContent = text;
}
setInterval(() => { if (!document.hidden) for (const element of all("time[data-relative]")) relative(element); }, 15_000);

// ---- previews, delays ----------------------------------------------------------------------------------------------

/** @type {WeakMap<Element, number>} */
const timers = new WeakMap();
const later = (element, ms, work) => {
  clearTimeout(timers.get(element));
  timers.set(element, setTimeout(work, ms));
};

/** @param {HTMLElement} root @param {number} ms */
function preview(root, ms) {
  const form = root.closest("form") ?? one("form", root);
  const id = root.dataset.previewTarget;
  if (!form || !id) return;
  later(root, ms, () => swap(id, root.dataset.preview, { method: "POST", body: bodyOf(fieldsOf(form)), quiet: true }));
}

document.addEventListener("input", (event) => {
  const text = near(event, "input, textarea");
  const form = near(event, "form[data-swap]");
  if (form && text?.matches("input[type=search], input[type=text], input:not([type])") && (form.method === "get" || "delay" in form.dataset)) {
    later(form, Number(form.dataset.delay ?? 300), () => swapForm(form));
  }
  const root = near(event, "[data-preview]");
  if (root) preview(root, 350);
});

document.addEventListener("change", (event) => {
  const box = near(event, "input[type=checkbox]");
  const ticks = box?.form?.matches("[data-select-all]") ? box.form : null;
  if (ticks) {
    if (box.matches("[data-selection-page]")) for (const row of rows(ticks)) row.checked = box.checked;
    count(ticks);
  }
  const field = near(event, "[data-submit]");
  const filter = near(event, "form[data-swap].filters select, form[data-swap].filters input[type=checkbox], form[data-swap].filters input[type=radio]");
  if (field) field.form?.requestSubmit(document.getElementById(field.dataset.submit) ?? undefined);
  else if (filter) swapForm(filter.form);
  const root = near(event, "[data-preview]");
  if (root) preview(root, 50);
});

// ---- clicks and submissions ----------------------------------------------------------------------------------------

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = make("textarea", { class: "sr", "aria-hidden": "true" }, text);
    document.body.append(field);
    field.select();
    const fine = document.execCommand?.("copy");
    field.remove();
    button.focus();
    if (!fine) { toast("This browser does not allow copying. Select the text and copy it yourself.", "warn"); return; }
  }
  toast("Copied.");
}

function side(open) {
  const nav = one("#side");
  if (!nav) return;
  nav.toggleAttribute("data-open", open);
  one("[data-menu]")?.setAttribute("aria-expanded", String(open));
  if (open) one("a[aria-current], a:not([data-menu-close])", nav)?.focus();
  else if (location.hash === "#side") history.replaceState(null, "", location.pathname + location.search);
}

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  for (const menu of all("details.menu[open]")) if (!menu.contains(event.target) || near(event, ".menu-panel :is(a, button)")) menu.removeAttribute("open");
  const drawer = one("#side[data-open]");
  if (drawer && !drawer.contains(event.target) && !near(event, "[data-menu]")) { event.preventDefault(); side(false); return; }

  const asks = near(event, "a[data-confirm], button[data-confirm], input[data-confirm]");
  if (asks && !agreed.delete(asks)) {
    event.preventDefault();
    ask(asks).then((yes) => { if (yes) { agreed.add(asks); asks.click(); } });
    return;
  }

  const hit = (name) => near(event, `[data-${name}]`);
  let it;
  if ((it = hit("toast-close"))) it.closest(".toast")?.remove();
  else if (hit("menu-close")) { event.preventDefault(); side(false); one("[data-menu]")?.focus(); }
  else if (hit("menu")) { event.preventDefault(); side(!one("#side[data-open]")); }
  else if (hit("theme-toggle")) { event.preventDefault(); theme(); }
  else if ((it = hit("copy"))) copy(one(it.dataset.copy)?.textContent ?? "", it);
  else if ((it = hit("copy-text"))) copy(it.dataset.copyText, it);
  else if ((it = hit("open"))) one(it.dataset.open)?.showModal?.();
  else if ((it = hit("close"))) it.closest("dialog")?.close();
  else if ((it = hit("row-add"))) addRow(it);
  else if ((it = hit("row-remove"))) removeRow(it);
  else if ((it = hit("selection-everything"))) everything(it);
  else if ((it = near(event, "a[data-swap]")) && event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    swap(it.dataset.swap, it.href, { push: !("swapQuiet" in it.dataset), scroll: true });
  } else if (event.target.matches("dialog.dialog")) {
    const box = event.target.getBoundingClientRect();
    if (event.clientX < box.left || event.clientX > box.right || event.clientY < box.top || event.clientY > box.bottom) event.target.close();
  }

  // A span of rows: tick one, then another with Shift.
  const tick = near(event, "form[data-select-all] input[type=checkbox]:not([data-selection-page])");
  if (tick) {
    const boxes = rows(tick.form);
    const [from, to] = [boxes.indexOf(lastTicked), boxes.indexOf(tick)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const box of boxes.slice(from, to + 1)) box.checked = tick.checked;
    lastTicked = tick;
    count(tick.form);
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || event.defaultPrevented || form.method === "dialog") return;
  if (form.dataset.confirm !== undefined && !agreed.delete(form)) {
    event.preventDefault();
    ask(form).then((yes) => { if (yes) { agreed.add(form); form.requestSubmit(event.submitter); } });
    return;
  }
  if ([...running].some((upload) => form.contains(upload.zone))) {
    event.preventDefault();
    toast("The upload is not complete yet. Wait for it, or cancel it.", "warn");
    return;
  }
  if (form.dataset.swap !== undefined) {
    event.preventDefault();
    clearTimeout(timers.get(form));
    swapForm(form, event.submitter);
    return;
  }
  // A second click while the server works must not send the form twice.
  const button = event.submitter;
  if (form.method === "post" && button && !button.hasAttribute("formtarget") && form.target !== "_blank") {
    setTimeout(() => { button.setAttribute("aria-busy", "true"); button.disabled = true; });
    setTimeout(() => { button.removeAttribute("aria-busy"); button.disabled = false; }, 8000);
  }
});
addEventListener("pageshow", (event) => { if (event.persisted) for (const button of all("button[aria-busy]")) { button.removeAttribute("aria-busy"); button.disabled = false; } });

function theme() {
  const html = document.documentElement;
  const dark = html.dataset.theme ? html.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  html.dataset.theme = dark ? "light" : "dark";
  document.cookie = `theme=${html.dataset.theme}; Path=/; Max-Age=31536000; SameSite=Lax${location.protocol === "https:" ? "; Secure" : ""}`;
}

function addRow(button) {
  const box = button.closest("[data-rows]");
  const template = box && document.getElementById(box.dataset.rows);
  if (!(template instanceof HTMLTemplateElement)) return;
  const row = template.content.cloneNode(true);
  const last = all("[data-row]", box).at(-1);
  if (last) last.after(row); else box.prepend(row);
  const fresh = all("[data-row]", box).at(-1);
  one("select, input, textarea", fresh)?.focus();
  changed(box);
}

function removeRow(button) {
  const box = button.closest("[data-rows]");
  const row = button.closest("[data-row]");
  const left = all("[data-row]", box);
  if (left.length === 1) for (const field of all("input, textarea", row)) field.value = "";
  else {
    row.remove();
    one("[data-row-add]", box)?.focus();
  }
  changed(box);
}

const changed = (box) => box.dispatchEvent(new Event("change", { bubbles: true }));

function everything(button) {
  const form = button.closest("form") ?? document.getElementById(button.closest("[data-selection]")?.dataset.selection ?? "");
  const mode = form?.elements.namedItem("all");
  if (!mode) return;
  for (const box of rows(form)) box.checked = true;
  mode.value = "1";
  count(form);
}

// A file that is text goes into the field that takes it; without the script it is pasted there.
document.addEventListener("change", async (event) => {
  const picked = event.target;
  if (!(picked instanceof HTMLInputElement) || !picked.dataset.readInto || !picked.files?.[0]) return;
  const field = document.getElementById(picked.dataset.readInto);
  if (field instanceof HTMLTextAreaElement) field.value = await picked.files[0].text();
});

// A menu stays within the window, and within a table that scrolls it lies above it.
document.addEventListener("toggle", (event) => {
  const menu = event.target;
  if (!(menu instanceof HTMLElement) || !menu.matches("details.menu[open]")) return;
  const panel = one(".menu-panel", menu);
  if (!panel) return;
  const knob = one("summary", menu).getBoundingClientRect();
  if (menu.closest(".table-wrap.over, .table-wrap.scroll")) {
    panel.classList.add("fixed");
    const below = knob.bottom + 6 + panel.offsetHeight < innerHeight;
    panel.style.top = `${below ? knob.bottom + 6 : Math.max(8, knob.top - 6 - panel.offsetHeight)}px`;
    panel.style.right = `${document.documentElement.clientWidth - knob.right}px`;
    panel.style.left = "auto";
    addEventListener("scroll", () => menu.removeAttribute("open"), { once: true, capture: true });
    return;
  }
  const box = panel.getBoundingClientRect();
  panel.classList.toggle("up", box.bottom > innerHeight && knob.top - box.height > 60);
  if (box.left < 4) panel.classList.add("left");
  else if (box.right > document.documentElement.clientWidth) panel.classList.remove("left");
}, true);

// ---- keys ----------------------------------------------------------------------------------------------------------

let typed = "";
let forget = null;

/** What a key's target is called, without the number beside it. */
function nameOf(element) {
  if (element.dataset.keyLabel || element.getAttribute("aria-label")) return element.dataset.keyLabel ?? element.getAttribute("aria-label");
  const clone = element.cloneNode(true);
  for (const extra of all(".count, svg, kbd", clone)) extra.remove();
  return clone.textContent.trim();
}

function keys() {
  const list = make("dl", { class: "facts" });
  const line = (key, text) => list.append(make("div", {}, make("dt", {}, ...key.split(" ").flatMap((it) => [make("kbd", {}, it), " "])), make("dd", {}, text)));
  line("/", "Go to the search");
  for (const it of all("[data-key]")) line(it.dataset.key, nameOf(it));
  line("Esc", "Close what is open");
  line("?", "This list");
  const close = make("button", { type: "button", class: "button ghost only", "data-close": "", "aria-label": "Close" }, icon("close"));
  const dialog = make("dialog", { class: "dialog", "aria-labelledby": "keys-title" },
    make("div", { class: "dialog-head" }, make("h2", { id: "keys-title" }, "Keys"), close), make("div", { class: "dialog-body" }, list));
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    const menu = all("details.menu[open]").at(-1);
    if (menu) { menu.removeAttribute("open"); one("summary", menu)?.focus(); return; }
    if (one("#side[data-open]")) { side(false); one("[data-menu]")?.focus(); return; }
    if (document.activeElement?.matches("[data-search]")) document.activeElement.blur();
    return;
  }
  const menu = near(event, "details.menu[open]");
  if (menu && (event.key === "ArrowDown" || event.key === "ArrowUp") && !near(event, "input, select, textarea")) {
    const items = all(".menu-panel :is(a, button, input)", menu);
    const at = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
    items.at(at < 0 ? -1 : at % items.length)?.focus();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || one("dialog[open]")) return;
  if (near(event, "input:not([type=checkbox], [type=radio]), select, textarea, [contenteditable]")) return;
  if (event.key === "/") {
    const field = one("[data-search]");
    if (field) { event.preventDefault(); field.focus(); field.select(); }
    return;
  }
  if (event.key === "?") { event.preventDefault(); keys(); return; }
  if (event.key.length !== 1) return;
  clearTimeout(forget);
  typed = typed ? `${typed} ${event.key}` : event.key;
  const targets = all("[data-key]");
  const hit = targets.find((it) => it.dataset.key === typed);
  if (hit) { typed = ""; event.preventDefault(); hit.click(); return; }
  if (!targets.some((it) => it.dataset.key.startsWith(`${typed} `))) typed = "";
  forget = setTimeout(() => { typed = ""; }, 1200);
});

// ---- start ---------------------------------------------------------------------------------------------------------

/** Sees to the elements that need something done when they appear. @param {ParentNode} root */
function enhance(root) {
  const each = (selector, work) => {
    if (root instanceof Element && root.matches(selector)) work(root);
    for (const element of all(selector, root)) work(element);
  };
  each("time[data-relative]", relative);
  each("[data-live]", live);
  each("[data-upload]", uploads);
  each("[data-text-file]", textFile);
  each("form[data-select-all]", count);
  each("[data-focus]", (element) => element.focus());
  each(".table-wrap", fit);
}

/** A table wider than its place scrolls within it; only one that fits can keep its head in sight. @param {HTMLElement} wrap */
function fit(wrap) {
  if (wrap.matches(".scroll")) return;
  wrap.classList.remove("over");
  wrap.classList.toggle("over", (wrap.firstElementChild?.getBoundingClientRect().width ?? 0) > wrap.clientWidth + 1);
}
addEventListener("resize", () => later(document.body, 150, () => { for (const wrap of all(".table-wrap")) fit(wrap); }));

for (const box of all("#toast > .toast")) fade(box, box.classList.contains("is-bad") ? "bad" : "ok");
enhance(document);
document.documentElement.dataset.script = "on";
