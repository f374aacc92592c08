/** A finished piece: a small roll, a button that plays it, and a place to seek; one sounds at a time. */

import * as api from "./api.js";
import { clock, inWords } from "./notes.js";
import { drawSmall } from "./roll.js";
import { button, colours, complain, h, icon, moving, set } from "./ui.js";

/** Tells "sound" when a clip begins, so that others fall silent. */
export const clips = new EventTarget();
let sounding = null;

/** Whatever clip sounds is silent. */
export function hush() {
  sounding?.pause();
}

/**
 * @param {{name: string, sound: string, notes: import("./notes.js").Note[], seconds: number, given?: number}} piece
 * `sound` is a path of the interface; without one there is a picture only.
 */
export function clip({ name, sound, notes, seconds, given = 0 }) {
  const length = Math.max(seconds, 1);
  const canvas = h("canvas", { role: "img", "aria-label": `Piano roll of ${name}: ${inWords(notes)}` });
  const line = h("div", { class: "line" });
  const scrub = h("input", { type: "range", class: "scrub", min: 0, max: length, step: 0.1, value: 0, "aria-label": `Position in ${name}` });
  if (!sound) return h("div", { class: "clip silent" }, h("div", { class: "strip" }, watched(canvas, () => drawSmall(canvas, notes, length, given))));
  const time = h("span", { class: "time" }, `0:00 / ${clock(length)}`);
  const play = button(`Play ${name}`, () => toggle(), { kind: "round", image: "play", bare: true });
  const element = h("div", { class: "clip" }, play, h("div", { class: "strip" }, canvas, line, scrub), time);
  let audio = null;

  function show() {
    const now = audio?.currentTime ?? Number(scrub.value);
    line.style.transform = `translateX(${(Math.min(now / length, 1) * canvas.clientWidth).toFixed(1)}px)`;
    scrub.value = now;
    scrub.setAttribute("aria-valuetext", `${clock(now)} of ${clock(length)}`);
    time.textContent = `${clock(now)} / ${clock(length)}`;
    if (audio && !audio.paused) {
      if (moving()) requestAnimationFrame(show);
      else setTimeout(show, 500);
    }
  }

  function mark(playing) {
    play.replaceChildren(icon(playing ? "pause" : "play"));
    set(play, { "aria-label": `${playing ? "Pause" : "Play"} ${name}`, title: playing ? "Pause" : "Play" });
  }

  async function toggle() {
    try {
      if (audio && !audio.paused) {
        audio.pause();
        return;
      }
      if (!audio) {
        set(play, { "aria-busy": "true" });
        audio = new Audio(URL.createObjectURL(await api.file(sound)));
        audio.currentTime = Number(scrub.value);
        audio.onplay = () => (mark(true), show());
        audio.onpause = () => (mark(false), show());
      }
      hush();
      sounding = audio;
      clips.dispatchEvent(new Event("sound"));
      await audio.play();
    } catch (error) {
      if (error.name !== "AbortError") complain(error);
    } finally {
      set(play, { "aria-busy": null });
    }
  }

  scrub.addEventListener("input", () => {
    if (audio) audio.currentTime = Number(scrub.value);
    show();
  });
  watched(canvas, () => (drawSmall(canvas, notes, length, given), show()));
  return element;
}

/** The canvas, drawn whenever its size or the colours change. */
function watched(canvas, draw) {
  const again = () => (canvas.isConnected || colours.removeEventListener("change", again), draw());
  new ResizeObserver(again).observe(canvas);
  colours.addEventListener("change", again);
  return canvas;
}
