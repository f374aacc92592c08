/** The view in which one plays. */

import * as api from "./api.js";
import { clips, hush } from "./clip.js";
import { Controls } from "./controls.js";
import { Draw } from "./draw.js";
import { CLASSES, clock, counted, inWords } from "./notes.js";
import { Player } from "./player.js";
import { Roll } from "./roll.js";
import { press, studio } from "./measure.js";
import { button, colour, colours, complain, h, icon, say, set, text, toast, trying } from "./ui.js";

const BACK_SECONDS = 4;
const SEEK_SECONDS = 2;
const DEBOUNCE_MILLISECONDS = 150;
/** While a control moves on and on, it acts so often. */
const MOST_MILLISECONDS = 600;
const MEMORY = "session";
const NOTHING = "Nothing was played yet; play first.";

const WORDS = {
  empty: "Ready", opening: "Starting…", warming: "Getting ready: this is done once, and can take a minute…", playing: "Playing",
  buffering: "Buffering: the sound is late, the music waits…", paused: "Paused", taken: "It is played in another tab or window.",
  ended: "The end", gone: "The server does not answer; it goes on when it is back.",
};

export class Play {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.player = new Player();
    this.models = [];
    this.controls = new Controls((change) => this.turned(change));
    this.build();
    this.roll = new Roll(this.stage);
    this.roll.head = () => this.player.audible;
    this.roll.running = () => this.player.anchor !== null && !this.player.paused;
    this.roll.veiled = () => this.player.opened;
    this.draw = new Draw(this.roll, (notes) => this.drawn(notes), (pitch) => this.player.sound.blip(pitch).catch(() => {}));
    this.listen();
    this.idle();
  }

  build() {
    this.section.append(
      h("h1", { id: "title-play", class: "hidden" }, "Play"),
      h("div", { class: "left" }, this.buildStage(), this.buildTransport()),
      h("aside", { class: "panel", "aria-label": "Controls" }, this.buildBeginning(), this.buildControls()),
    );
  }

  buildStage() {
    this.ruler = h("canvas", { class: "ruler" });
    this.place = h("div", {
      class: "place", role: "slider", tabindex: 0, "aria-label": "Position", "aria-valuemin": 0, "aria-valuemax": 0, "aria-valuenow": 0,
      "aria-describedby": "place-hint", title: "Click: go back to here and on from here differently",
    }, this.ruler);
    this.window = h("div", { class: "window", tabindex: 0, role: "group", "aria-label": "Piano roll", "aria-describedby": "roll-text" }, h("canvas", { class: "base" }), h("canvas", { class: "over" }));
    this.hint = h("div", { class: "overlay" });
    this.loudness = h("canvas", { width: CLASSES, height: 1 });
    this.invitation = h("p", { class: "invite", hidden: true }, "Press play, and it improvises.", h("br"), "Or click notes in here first, and it goes on from them.");
    this.stage = h("div", { class: "roll" }, h("canvas", { class: "keys" }), this.place, this.window, this.invitation, this.hint);
    this.words = h("span", { id: "roll-text" }, "no notes yet");
    this.followButton = button("Follow", () => this.followAgain(), { kind: "small", hidden: true });
    return h(
      "div",
      { class: "stage" },
      this.stage,
      h(
        "div",
        { class: "under" },
        h("p", { class: "note" }, this.words),
        h("p", { class: "scale", "aria-hidden": "true" }, "soft", this.loudness, "loud"),
        h("p", { class: "hidden", id: "place-hint" }, "Arrow keys listen again, Enter continues differently from here."),
        h("div", { class: "row" }, this.followButton, button("Zoom out", () => this.roll.zoom(1 / 1.3), { kind: "small", image: "minus", bare: true }), button("Zoom in", () => this.roll.zoom(1.3), { kind: "small", image: "plus", bare: true })),
      ),
    );
  }

  buildTransport() {
    this.playButton = button("Play", () => this.toggle(), { kind: "big primary", image: "play", bare: true, "aria-keyshortcuts": "Space", id: "play" });
    this.startButton = button("To the beginning", () => this.seek(0), { kind: "ghost", image: "start", bare: true });
    this.undoButton = button("4 s back, and on from there differently", () => this.undo(this.player.position - BACK_SECONDS), { kind: "ghost", image: "back", bare: true, "aria-keyshortcuts": "Z", id: "undo" });
    this.time = h("span", { class: "now", role: "timer", "aria-live": "off" }, "0:00");
    this.status = h("span", { class: "status" }, "Ready");
    this.here = button("Play here", () => this.toggle(), { kind: "small", hidden: true });
    this.nameInput = h("input", { type: "text", id: "keep-name", maxlength: 120, placeholder: "Name (optional)", "aria-label": "Name of the piece to keep", autocomplete: "off" });
    this.keepButton = button("Keep", () => this.keep(), { image: "keep", "aria-keyshortcuts": "K", id: "keep" });
    this.downloads = ["mid", "mp3", "wav"].map((kind) =>
      button({ mid: "MIDI", mp3: "MP3", wav: "WAV" }[kind], (event) => this.download(kind, event.currentTarget), { kind: "small", id: `download-${kind}`, "aria-label": `Download as ${kind === "mid" ? "MIDI" : kind.toUpperCase()}` }),
    );
    return h(
      "div",
      { class: "transport", role: "group", "aria-label": "Transport" },
      h("div", { class: "deck" }, h("div", { class: "row keys-row" }, this.startButton, this.playButton, this.undoButton), h("div", { class: "clock" }, this.time, this.status, this.here)),
      h("div", { class: "row take" }, h("div", { class: "keep" }, this.nameInput, this.keepButton), h("div", { class: "downloads", role: "group", "aria-label": "Download" }, icon("down"), ...this.downloads)),
    );
  }

  buildBeginning() {
    this.model = h("select", { id: "model" });
    this.model.addEventListener("change", trying(() => this.changeModel()));
    this.seed = h("input", { type: "number", id: "seed", min: 0, max: 4294967295, step: 1, value: dice(), inputmode: "numeric" });
    this.file = h("input", { type: "file", id: "prompt", accept: ".mid,.midi,audio/midi", class: "hidden", tabindex: -1, "aria-label": "MIDI file to begin with" });
    this.file.addEventListener("change", trying(() => this.openFile(this.file.files[0])));
    this.given = h("p", { class: "hint given" });
    this.clear = button("Clear", () => this.draw.set([]), { kind: "small", hidden: true });
    this.anew = button("Begin anew", () => this.begin_anew(), { image: "again", id: "anew" });
    return h(
      "section",
      { class: "group", "aria-labelledby": "beginning" },
      h("h2", { id: "beginning" }, "Beginning"),
      h("div", { class: "field" }, h("label", { for: "model" }, "Model"), this.model),
      h("div", { class: "field" }, h("label", { for: "seed" }, "Seed"), h("div", { class: "row tight" }, this.seed, button("Another seed", () => (this.seed.value = dice()), { image: "dice", bare: true }))),
      h("div", { class: "field" }, h("span", { class: "label" }, "Begin with"), this.given, h("div", { class: "row" }, button("A MIDI file", () => this.file.click(), { image: "file", kind: "grow" }), this.clear), this.file),
      this.anew,
    );
  }

  buildControls() {
    return h("section", { class: "group", "aria-labelledby": "how" }, h("h2", { id: "how" }, "How it plays"), this.controls.main, this.controls.player, this.controls.more);
  }

  // — what the user does —

  listen() {
    this.player.addEventListener("notes", (event) => this.renewed(event.detail));
    this.player.addEventListener("state", () => this.stated());
    this.player.addEventListener("trouble", (event) => complain(event.detail));
    this.player.addEventListener("asked", () => this.controls.show(this.player.controls));
    clips.addEventListener("sound", () => this.pause());
    this.roll.addEventListener("view", () => this.followed());
    setInterval(() => this.ticked(), 200);
    this.pointers();
    this.shade();
    colours.addEventListener("change", () => this.shade());
    this.window.addEventListener("keydown", (event) => this.draw.key(event) && (event.preventDefault(), event.stopPropagation()));
    this.window.addEventListener("blur", () => ((this.roll.cursor = null), this.roll.wake()));
    this.section.addEventListener("dragover", (event) => event.preventDefault());
    this.section.addEventListener("drop", (event) => (event.preventDefault(), trying(() => this.openFile(event.dataTransfer.files[0]))()));
    addEventListener("pagehide", () => this.remember());
  }

  /** What the colours of notes mean. */
  shade() {
    const context = this.loudness.getContext("2d");
    for (let level = 0; level < CLASSES; level += 1) {
      context.fillStyle = colour(`velocity-${level}`);
      context.fillRect(level, 0, 1, 1);
    }
  }

  pointers() {
    const touches = new Map();
    let gesture = null;
    let pinch = null;
    this.window.addEventListener("pointerdown", (event) => {
      touches.set(event.pointerId, event.clientX);
      if (touches.size === 2) {
        gesture?.cancel?.();
        gesture = null;
        pinch = spread(touches);
        return;
      }
      gesture = this.player.opened ? this.pan(event) : this.draw.begin(event);
      if (gesture) this.window.setPointerCapture(event.pointerId);
    });
    this.window.addEventListener("pointermove", (event) => {
      if (touches.has(event.pointerId)) touches.set(event.pointerId, event.clientX);
      if (touches.size === 2) {
        const now = spread(touches);
        if (pinch > 8) this.roll.zoom(now / pinch);
        pinch = Math.max(now, 9);
      } else gesture?.move(event);
    });
    const over = (event) => {
      touches.delete(event.pointerId);
      if (event.type === "pointerup") gesture?.end?.(event);
      else gesture?.cancel?.();
      gesture = null;
    };
    this.window.addEventListener("pointerup", over);
    this.window.addEventListener("pointercancel", over);
    this.place.addEventListener("pointermove", (event) => this.pointed(event));
    this.place.addEventListener("pointerleave", () => ((this.roll.hover = null), this.roll.wake()));
    this.place.addEventListener("click", (event) => this.goBack(this.roll.where(event).time));
    this.place.addEventListener("keydown", (event) => event.key === "Enter" && this.goBack(this.player.position));
  }

  pan(event) {
    let last = event.clientX;
    return {
      move: (at) => {
        this.roll.scrollBy(last - at.clientX);
        last = at.clientX;
      },
    };
  }

  pointed(event) {
    if (!this.player.opened) return;
    const { time } = this.roll.where(event);
    this.roll.hover = time >= 0 && time <= this.player.position ? time : null;
    this.roll.wake();
  }

  goBack(time) {
    if (!this.player.opened) return;
    if (time > this.player.position + 0.2) toast("That is still to come. Click an earlier time to go on from there differently.");
    else this.undo(time);
  }

  /** Keys that work everywhere in the view. Whether it was ours. */
  key(event) {
    const what = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.seek(this.player.position - SEEK_SECONDS),
      ArrowRight: () => this.seek(this.player.position + SEEK_SECONDS),
      Home: () => this.seek(0),
      End: () => this.seek(Infinity),
      z: () => this.undo(this.player.position - BACK_SECONDS),
      k: () => this.keep(),
      f: () => this.followAgain(),
      "+": () => this.roll.zoom(1.3),
      "=": () => this.roll.zoom(1.3),
      "-": () => this.roll.zoom(1 / 1.3),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (what) what();
    return Boolean(what);
  }

  toggle = trying(async () => {
    hush();
    if (this.busy) return;
    if (!this.player.paused) {
      await this.pause();
      return;
    }
    this.busy = true;
    if (this.player.position === 0) press();
    try {
      if (!this.player.opened) {
        const sounds = this.player.sound.wake(); // while the press still counts
        await this.open();
        await sounds;
      }
      await this.player.play();
    } finally {
      this.busy = false;
      this.stated();
    }
  });

  pause = trying(async () => {
    if (!this.player.paused) await this.player.pause();
  });

  async open() {
    if (!this.model.value) throw new Error("There is no model to play with yet. Train one first.");
    const notes = this.draw.notes.slice();
    this.draw.on = false;
    this.roll.cursor = null;
    try {
      await this.player.open(this.asking(), notes);
    } catch (error) {
      this.draw.on = true;
      throw error;
    }
    this.roll.follow = true;
    this.remember();
  }

  asking() {
    const seed = Math.floor(Number(this.seed.value));
    if (!(seed >= 0 && seed < 2 ** 32)) throw new Error("A seed is a whole number from 0 to 4294967295.");
    return { model: this.model.value, seed, controls: { ...this.controls.values } };
  }

  seek(time) {
    if (!this.player.opened) return;
    this.roll.follow = true;
    this.player.seek(time);
    this.followed();
    this.ticked();
    this.roll.wake();
  }

  undo = trying(async (time) => {
    if (!this.player.opened || !this.player.notes.length || this.player.position === 0) {
      toast(NOTHING);
      return;
    }
    const restore = await this.player.undo(time);
    this.roll.follow = true;
    this.followed();
    toast(`On from ${clock(Math.max(time, 0))}, differently.`, { action: ["Bring back", trying(restore)] });
  });

  keep = trying(async () => {
    if (!this.player.opened || !this.player.notes.length) {
      toast(NOTHING);
      return;
    }
    const until = Math.max(this.player.reached, this.player.promptEnd + 0.01);
    const name = this.nameInput.value.trim() || `${this.name} ${this.player.asked.seed}, ${clock(until)}`;
    await api.call(`/sessions/${this.player.session}/keep`, { json: { name, until: Math.min(until, 1200) } });
    this.nameInput.value = "";
    toast(`Kept “${name}”.`, { action: ["Results", () => (location.hash = "#/results")] });
  });

  download = trying(async (kind, pressed) => {
    if (!this.player.opened) {
      toast(NOTHING);
      return;
    }
    set(pressed, { "aria-busy": "true" });
    if (kind !== "mid") say("The sound file is being made.");
    try {
      await api.save(`/sessions/${this.player.session}/file.${kind}?until=${Math.min(Math.max(this.player.reached, this.player.promptEnd + 0.01), 1200)}`, `${this.name}-${this.player.asked.seed}.${kind}`);
    } finally {
      set(pressed, { "aria-busy": null });
    }
  });

  /** A control moved: change what plays once it rests, or has moved for long. */
  turned() {
    if (!this.player.opened) return;
    clearTimeout(this.soon);
    const touched = performance.now();
    this.since ??= touched;
    const wait = Math.max(0, Math.min(DEBOUNCE_MILLISECONDS, this.since + MOST_MILLISECONDS - touched));
    this.soon = setTimeout(() => {
      this.since = null;
      trying(() => this.player.steer({ ...this.controls.values }, touched))();
    }, wait);
  }

  async changeModel() {
    this.modelled();
    if (!this.player.opened) return;
    const before = this.player.asked.model;
    try {
      await this.player.move({ ...this.player.asked, model: this.model.value, controls: { ...this.controls.values, by_field: {} } });
      this.remember();
    } catch (error) {
      this.model.value = before;
      this.modelled();
      throw error;
    }
  }

  async openFile(file) {
    if (!file) return;
    this.file.value = "";
    await this.player.open(this.asking());
    this.draw.on = false;
    try {
      await this.player.prompt(file);
      this.draw.notes = [];
      this.fileName = file.name;
      this.roll.follow = false;
      this.roll.scrollTo(0, false);
      this.remember();
      say(`${file.name}: ${inWords(this.player.notes)}.`);
    } catch (error) {
      await this.player.close();
      this.draw.on = true;
      throw error;
    } finally {
      this.stated();
    }
  }

  begin_anew = trying(async () => {
    await this.player.close();
    await this.player.sound.rest();
    sessionStorage.removeItem(MEMORY);
    this.fileName = null;
    this.idle();
  });

  // — what is shown —

  /** Nothing plays yet: notes can be drawn. */
  idle() {
    this.draw.on = true;
    this.roll.follow = false;
    this.roll.left = 0;
    this.drawn(this.draw.notes);
    this.stated();
  }

  drawn(notes) {
    this.roll.update(notes, notes.length, 0);
    this.roll.refresh();
    this.told();
  }

  renewed(since) {
    if (!this.player.opened) return;
    this.roll.update(this.player.notes, this.player.given, since);
    if (!this.queued) this.queued = setTimeout(() => ((this.queued = null), this.told()), 250);
  }

  told() {
    const notes = this.player.opened ? this.player.notes : this.draw.notes;
    text(this.words, notes.length ? inWords(notes) : "No notes yet");
    const given = this.player.opened ? this.player.given : notes.length;
    const drawnWords = given ? `${this.fileName ?? "Your notes"}: ${counted(given, "note")}` : "";
    text(this.given, drawnWords || (this.player.opened ? "Nothing: the model began by itself." : "Nothing. Click notes into the roll, or open a file."));
    set(this.invitation, { hidden: this.player.opened || notes.length > 0 || !this.models.length });
    set(this.clear, { hidden: this.player.opened || !notes.length });
  }

  stated() {
    const { state, paused, opened, notes } = this.player;
    const label = paused ? "Play" : "Pause";
    this.playButton.replaceChildren(icon(paused ? "play" : "pause"));
    set(this.playButton, { "aria-label": label, title: `${label} (space)` });
    const words = state === "empty" && !this.models.length ? "No model yet" : WORDS[state];
    text(this.status, words);
    this.status.dataset.state = state;
    if (this.saidState !== words && !["opening", "playing"].includes(state)) say(words);
    this.saidState = words;
    set(this.here, { hidden: state !== "taken" });
    const none = !opened || !notes.length;
    for (const each of [this.undoButton, this.startButton, this.keepButton, ...this.downloads]) set(each, { disabled: none });
    set(this.anew, { disabled: !opened });
    set(this.playButton, { disabled: !this.models.length && !opened });
    this.hinted();
    this.told();
    this.ticked();
    this.roll.wake();
  }

  hinted() {
    const show = this.loaded && !this.models.length;
    this.hint.replaceChildren(
      ...(show
        ? [h("div", { class: "empty" }, h("h2", {}, "No model to play with yet"), h("p", {}, "Bring some MIDI files, let a model learn from them, and it improvises here."), h("div", { class: "row" }, h("a", { class: "button primary", href: "#/music" }, icon("music"), h("span", {}, "Bring music")), h("a", { class: "button", href: "#/train" }, icon("train"), h("span", {}, "Train"))))]
        : []),
    );
    set(this.hint, { hidden: !show });
    this.section.classList.toggle("drawing", !this.player.opened && !show);
  }

  ticked() {
    const now = this.player.audible;
    text(this.time, clock(now));
    const longest = Math.max(this.player.reached, now);
    if (Math.round(now) !== this.tickedAt) {
      this.tickedAt = Math.round(now);
      set(this.place, { "aria-valuenow": Math.round(now), "aria-valuemax": Math.ceil(longest), "aria-valuetext": `${clock(now)} of ${clock(longest)}` });
      if (studio.firstNoteAt !== null && this.keepButton.disabled) this.stated();
    }
  }

  followed() {
    set(this.followButton, { hidden: this.roll.follow || !this.player.opened });
  }

  followAgain() {
    this.roll.follow = true;
    this.followed();
    this.roll.wake();
  }

  get name() {
    return this.models.find((model) => model.id === this.player.asked?.model)?.name ?? "Cadenza";
  }

  modelled() {
    const model = this.models.find((each) => each.id === this.model.value);
    if (!model) return;
    this.draw.grid = model.unit === "beats" ? 30 / model.tempo : 0.25;
    this.draw.cell = { time: 0, pitch: Math.round((model.lowest + model.highest) / 2), length: this.draw.grid };
    this.controls.offer(model.fields);
    this.roll.range(model.lowest, model.highest);
  }

  // — the page —

  /** The view is shown. */
  async enter() {
    const before = this.model.value;
    const [models, runs] = await Promise.all([api.call("/models"), api.call("/runs")]);
    const names = new Map(runs.map((run) => [run.id, run.name]));
    this.models = models.map((model) => ({ ...model, name: names.get(model.id) ?? model.name }));
    this.loaded = true;
    this.model.replaceChildren(...this.models.map((model) => h("option", { value: model.id }, model.name)));
    set(this.model, { disabled: !this.models.length });
    const wished = new URLSearchParams(location.hash.split("?")[1] ?? "").get("model");
    const choice = [wished, before, ...runs.map((run) => run.id)].find((id) => this.models.some((model) => model.id === id));
    if (choice) this.model.value = choice;
    if (!this.begun) {
      this.begun = true;
      if (!wished) await this.recall();
    }
    if (wished && this.player.opened && this.player.asked.model !== wished) await this.changeModel();
    else this.modelled();
    this.stated();
  }

  remember() {
    const { session, asked, given } = this.player;
    if (session) sessionStorage.setItem(MEMORY, JSON.stringify({ session, asked, given, name: this.fileName, at: this.player.position }));
  }

  /** After a reload, what was played is still there. */
  async recall() {
    const kept = JSON.parse(sessionStorage.getItem(MEMORY) ?? "null");
    if (!kept) return;
    try {
      await this.player.resume(kept.session, kept.asked, kept.given);
    } catch (error) {
      if (error.status >= 400) sessionStorage.removeItem(MEMORY);
      return;
    }
    this.draw.on = false;
    this.fileName = kept.name;
    this.model.value = this.player.asked.model;
    this.seed.value = this.player.asked.seed;
    Object.assign(this.controls.values, kept.asked.controls);
    this.modelled();
    this.controls.show(this.player.controls);
    this.player.seek(kept.at);
    this.roll.follow = true;
  }
}

const dice = () => Math.floor(Math.random() * 10_000);
const spread = (touches) => {
  const [one, other] = [...touches.values()];
  return Math.abs(one - other);
};

export const SHORTCUTS = [
  ["Space", "Play or pause"],
  ["← →", "Listen again: 2 s back or on"],
  ["Home End", "To the beginning, to the latest"],
  ["Z", "4 s back, and on from there differently"],
  ["K", "Keep what was played"],
  ["+ −", "Zoom (or pinch, or Ctrl and wheel)"],
  ["F", "Follow the playhead again"],
  ["Arrows, Enter", "In the roll, before playing: move, set or remove a note (Shift: length)"],
  ["?", "This list"],
];

