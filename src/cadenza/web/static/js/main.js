/** The page: which view is shown, keys that work everywhere, and whether the server answers. */

import { server } from "./api.js";
import { Music } from "./music.js";
import { Play, SHORTCUTS } from "./play.js";
import { Results } from "./results.js";
import { Train } from "./train.js";
import { button, changeTheme, complain, h, say } from "./ui.js";

const NAMES = { play: "Play", music: "Music", train: "Train", results: "Results" };
const section = (name) => document.getElementById(`view-${name}`);
const views = {
  play: new Play(section("play")),
  music: new Music(section("music")),
  train: new Train(section("train")),
  results: new Results(section("results")),
};
let current = null;

async function show() {
  const name = location.hash.slice(2).split("?")[0].split("/")[0];
  const view = name in views ? name : "play";
  for (const each of Object.keys(views)) section(each).hidden = each !== view;
  for (const link of document.querySelectorAll("nav.views a")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${NAMES[view]} · Cadenza`;
  document.body.dataset.view = view;
  if (current && current !== view) {
    views[current].leave?.();
    say(`${NAMES[view]} view.`);
    scrollTo(0, 0);
  }
  current = view;
  try {
    await views[view].enter();
  } catch (error) {
    complain(error);
  }
}

function help() {
  const dialog = h("dialog", { class: "dialog", "aria-labelledby": "help-title" });
  dialog.append(
    h("h2", { id: "help-title" }, "Keyboard"),
    h("dl", { class: "shortcuts" }, ...SHORTCUTS.flatMap(([keys, what]) => [h("dt", {}, keys), h("dd", {}, what)])),
    h("div", { class: "row end" }, button("Close", () => dialog.close(), { autofocus: true })),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Whether the key belongs to what has the focus. */
function taken(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return true;
  const focus = event.target;
  if (focus.matches("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, select")) return true;
  if (focus.matches("input[type=range], input[type=radio]")) return event.key.startsWith("Arrow") || ["Home", "End"].includes(event.key);
  return event.key === " " && focus.matches("button, a, summary, input[type=checkbox], input[type=radio]");
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || taken(event)) return;
  if (event.key === "?") help();
  else if (!views[current]?.key?.(event)) return;
  event.preventDefault();
});

addEventListener("hashchange", show);
document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("help").addEventListener("click", help);

const banner = document.getElementById("gone");
server.addEventListener("gone", () => {
  banner.textContent = "The studio’s server does not answer. Is it still running? Trying again…";
  banner.hidden = false;
});
server.addEventListener("back", () => {
  banner.hidden = true;
  say("The server is back.");
  show();
});

show();
