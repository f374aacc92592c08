/** Small pieces of the page: elements, icons, notices, questions, themes. */

const SVG = "http://www.w3.org/2000/svg";
const TOAST_MILLISECONDS = 6000;

/**
 * An element. Attributes that begin with "on" are listeners, true and false add and leave out, others are text.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {...(Node|string|null|false|undefined)} children
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The same for elements of a picture. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  set(element, attributes);
  element.append(...children.flat().filter(Boolean));
  return element;
}

export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === false || value === null || value === undefined) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

export const icon = (name) => s("svg", { class: "icon", "aria-hidden": "true" }, s("use", { href: `#icon-${name}` }));

/** A button with an icon, words, or both. */
export function button(words, onclick, { kind = "", image = null, bare = false, ...more } = {}) {
  return h(
    "button",
    { type: "button", class: `button ${kind}${bare ? " bare" : ""}`, onclick, "aria-label": bare ? words : null, title: bare ? words : null, ...more },
    image && icon(image),
    bare ? null : h("span", {}, words),
  );
}

/** Say something to those who hear the page. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** A notice that goes by itself. @param {{bad?: boolean, action?: [string, () => void]}} [more] */
export function toast(text, { bad = false, action = null } = {}) {
  const box = document.getElementById("toasts");
  const close = () => made.remove();
  const made = h("div", { class: `toast${bad ? " bad" : ""}` }, h("p", {}, text));
  if (action) made.append(button(action[0], () => (close(), action[1]()), { kind: "small" }));
  made.append(h("button", { type: "button", class: "close", "aria-label": "Close this notice", onclick: close }, "×"));
  box.append(made);
  while (box.children.length > 3) box.firstChild.remove();
  setTimeout(close, bad || action ? 2 * TOAST_MILLISECONDS : TOAST_MILLISECONDS);
}

/** An error in words; that the server is gone is said elsewhere. */
export function complain(error) {
  if (error?.name === "AbortError" || error?.status === 0) return;
  toast(error?.message ?? String(error), { bad: true });
  if (!(error?.status > 0)) console.warn(error);
}

/** Do something that may fail, and say so where it does. */
export const trying =
  (what) =>
  async (...given) => {
    try {
      return await what(...given);
    } catch (error) {
      complain(error);
      return undefined;
    }
  };

/** Whether the user agrees. @returns {Promise<boolean>} */
export function ask(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "dialog", "aria-labelledby": "ask-title" });
    const end = (agreed) => (dialog.close(agreed ? "yes" : "no"), undefined);
    dialog.append(
      h("h2", { id: "ask-title" }, title),
      h("p", {}, text),
      h("div", { class: "row end" }, button("Cancel", () => end(false), { autofocus: true }), button(yes, () => end(true), { kind: "danger" })),
    );
    dialog.addEventListener("close", () => (dialog.remove(), resolve(dialog.returnValue === "yes")));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Replace what an element holds, but only if it would differ, so that nothing flickers. */
export function text(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Replace the items of a list, but only if they would differ; the one that has the focus keeps it. @param {HTMLElement[]} items with `data-id` */
export function relist(list, items) {
  if (list.innerHTML === items.map((item) => item.outerHTML).join("")) return;
  const focused = list.contains(document.activeElement) && document.activeElement.closest("[data-id]").dataset.id;
  list.replaceChildren(...items);
  items.find((item) => item.dataset.id === focused)?.querySelector("button").focus();
}

export const moving = () => !matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Tells when the colours change. */
export const colours = new EventTarget();
const known = new Map();

/** A colour of the style sheet as it is now. */
export function colour(name) {
  if (!known.has(name)) {
    const probe = document.createElement("i");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    known.set(name, getComputedStyle(probe).color);
    probe.remove();
  }
  return known.get(name);
}

/** Now it is the other of light and dark. */
export function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
  recolour();
  say(`${dark ? "Light" : "Dark"} colours.`);
}

function recolour() {
  known.clear();
  document.querySelector('meta[name="theme-color"]').content = colour("paper");
  colours.dispatchEvent(new Event("change"));
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
