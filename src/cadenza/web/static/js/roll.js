/**
 * A piano roll on canvases: keys at the left, a ruler above, notes on tiles, the playhead on a layer of its own.
 *
 * Time runs across (`scale` pixels a second), pitch goes up; the range fits the height. Notes are drawn once onto tiles
 * of fixed width, from which a frame is put together; a tile is drawn anew only where notes changed. Colour is velocity;
 * notes that were given are outlined, and what is made but not yet heard lies under a veil.
 *
 * Events: "view" (it was scrolled or zoomed by the user).
 */

import { frame, seen } from "./measure.js";
import { CLASSES, clock, endOf, firstFrom, isBlack, pitchName, velocityClass } from "./notes.js";
import { colour, colours, moving } from "./ui.js";

const TILE = 512;
const TILES = 32;
const KEYS = 52;
const RULER = 28;
const SCALES = [4, 600];
const STEPS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300];
/** Where in the window the playhead stays while it is followed. */
const FOLLOWED = 0.4;
const LEAST_SPAN = 22;
const SETTLE_MILLISECONDS = 120;

export class Roll extends EventTarget {
  /** @type {import("./notes.js").Note[]} */
  notes = [];
  given = 0;
  /** The time at the left edge, seconds. */
  left = 0;
  scale = 90;
  follow = true;
  /** Where the playhead is, and up to where it was heard; seconds. */
  head = () => 0;
  running = () => false;
  /** A time under the pointer on the ruler, a cell under the cursor: `{time, pitch, length}`. */
  hover = null;
  cursor = null;
  /** The note that is being drawn. */
  ghost = null;
  longest = 0;
  /** Where what was given ends, seconds. */
  promptEnd = 0;

  /** @param {HTMLElement} root with canvases .keys, .ruler, .base and .over */
  constructor(root) {
    super();
    this.root = root;
    for (const name of ["keys", "ruler", "base", "over"]) {
      const canvas = root.querySelector(`canvas.${name}`);
      this[name] = { canvas, context: canvas.getContext("2d") };
    }
    this.tiles = new Map();
    [this.low, this.high] = [55, 84];
    new ResizeObserver(() => this.resize()).observe(root);
    colours.addEventListener("change", () => this.refresh());
    root.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  // — what is shown —

  /** The pitches that are shown at least. */
  range(low, high) {
    const missing = Math.max(0, LEAST_SPAN - (high - low));
    this.asked = [Math.max(0, low - 2 - (missing >> 1)), Math.min(127, high + 2 + ((missing + 1) >> 1))];
    this.fit();
    this.refresh();
  }

  fit() {
    let [low, high] = this.asked ?? [55, 84];
    for (const [, pitch] of this.notes) {
      if (pitch - 1 < low) low = Math.max(0, pitch - 2);
      if (pitch + 1 > high) high = Math.min(127, pitch + 2);
    }
    const changed = low !== this.low || high !== this.high;
    [this.low, this.high] = [low, high];
    return changed;
  }

  /** Notes changed, from a time on. */
  update(notes, given, since = 0) {
    this.notes = notes;
    this.given = given;
    if (since < this.promptEnd || given) this.promptEnd = endOf(notes.slice(0, given));
    for (let i = firstFrom(notes, since); i < notes.length; i += 1) {
      const [, pitch, duration] = notes[i];
      this.longest = Math.max(this.longest, duration);
      if (pitch - 1 < this.low || pitch + 1 > this.high) this.grown = true;
    }
    if (!notes.length) this.longest = 0;
    if (this.grown || since === 0) {
      this.grown = false;
      if (this.fit()) {
        this.refresh();
        return;
      }
    }
    const first = Math.floor((since * this.scale - 2) / TILE);
    for (const [place, tile] of this.tiles) if (place >= first) tile.stale = true;
    this.wake();
  }

  refresh() {
    for (const tile of this.tiles.values()) tile.stale = true;
    this.keysDrawn = false;
    this.wake();
  }

  resize() {
    const { width, height } = this.root.getBoundingClientRect();
    if (!width || !height) return;
    this.ratio = Math.min(devicePixelRatio || 1, 3);
    [this.width, this.height] = [Math.round(width) - KEYS, Math.round(height) - RULER];
    const sizes = { keys: [KEYS, this.height], ruler: [this.width, RULER], base: [this.width, this.height], over: [this.width, this.height] };
    for (const [name, [across, down]] of Object.entries(sizes)) {
      const { canvas } = this[name];
      canvas.width = across * this.ratio;
      canvas.height = down * this.ratio;
      canvas.style.width = `${across}px`;
      canvas.style.height = `${down}px`;
    }
    this.refresh();
  }

  // — coordinates, in pixels of the page within the window of notes —

  get row() {
    return this.height / (this.high - this.low + 1);
  }

  x(time) {
    return (time - this.left) * this.scale;
  }

  y(pitch) {
    return (this.high - pitch) * this.row;
  }

  time(x) {
    return this.left + x / this.scale;
  }

  pitch(y) {
    return Math.min(127, Math.max(0, this.high - Math.floor(y / this.row)));
  }

  /** Where a pointer is, in seconds and pitch. */
  where(event) {
    const box = this.base.canvas.getBoundingClientRect();
    return { time: this.time(event.clientX - box.left), pitch: this.pitch(event.clientY - box.top) };
  }

  /** The index of the note at a place, or -1. */
  at(time, pitch) {
    const slack = 3 / this.scale;
    for (let i = firstFrom(this.notes, time + slack) - 1; i >= 0 && this.notes[i][0] >= time - this.longest - slack; i -= 1) {
      const [onset, its, duration] = this.notes[i];
      if (its === pitch && onset - slack <= time && time <= onset + Math.max(duration, 4 / this.scale) + slack) return i;
    }
    return -1;
  }

  // — moving —

  get furthest() {
    const last = this.notes.at(-1);
    return Math.max(last ? last[0] + last[2] : 0, this.head());
  }

  scrollTo(left, byUser = true) {
    const most = Math.max(0, this.furthest - (0.5 * this.width) / this.scale);
    this.left = Math.max(0, Math.min(left, most));
    if (byUser) {
      this.follow = false;
      this.dispatchEvent(new Event("view"));
    }
    this.wake();
  }

  scrollBy(pixels) {
    this.scrollTo(this.left + pixels / this.scale);
  }

  /** Larger or smaller about a place, pixels from the left; the playhead's place if it is followed. */
  zoom(factor, about = null) {
    const place = about ?? (this.follow ? Math.max(0, Math.min(this.x(this.head()), this.width)) : this.width / 2);
    const time = this.time(place);
    this.scale = Math.min(SCALES[1], Math.max(SCALES[0], this.scale * factor));
    for (const tile of this.tiles.values()) tile.stale = true;
    this.rough = true; // while it changes from frame to frame
    clearTimeout(this.settling);
    this.settling = setTimeout(() => ((this.rough = false), this.refresh()), SETTLE_MILLISECONDS);
    if (this.follow) this.wake();
    else this.scrollTo(time - place / this.scale);
    this.dispatchEvent(new Event("view"));
  }

  wheel(event) {
    if (!this.width) return;
    event.preventDefault();
    const unit = event.deltaMode === 1 ? 18 : 1;
    if (event.ctrlKey || event.metaKey) {
      const place = event.clientX - this.base.canvas.getBoundingClientRect().left;
      this.zoom(Math.exp((-event.deltaY * unit) / 180), this.follow && this.running() ? null : place);
    } else this.scrollBy((event.deltaX + event.deltaY) * unit);
  }

  // — drawing —

  /** Draw at the next frame. */
  wake() {
    if (this.pending || !this.width) return;
    this.pending = true;
    requestAnimationFrame((now) => {
      this.pending = false;
      this.draw(now);
    });
  }

  draw(now) {
    const playing = this.running();
    frame(now, playing);
    if (this.follow) this.chase();
    if (!this.keysDrawn || this.soundingChanged()) this.drawKeys();
    this.drawBase();
    this.drawRuler();
    this.drawOver();
    if (this.notes.length > this.given && this.x(this.notes[this.given][0]) < this.width) seen();
    if (playing) this.wake();
  }

  /** Keep the playhead in sight: steadily, or by turning pages for those who ask for little motion. */
  chase() {
    const [head, seconds] = [this.head(), this.width / this.scale];
    if (moving()) this.left = Math.max(0, head - FOLLOWED * seconds);
    else if (head < this.left || head > this.left + 0.9 * seconds) this.left = Math.max(0, head - 0.1 * seconds);
  }

  clear({ canvas, context }) {
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, canvas.width / this.ratio, canvas.height / this.ratio);
    return context;
  }

  drawBase() {
    const context = this.clear(this.base);
    context.setTransform(1, 0, 0, 1, 0, 0);
    const from = Math.round(this.left * this.scale * this.ratio);
    const tile = TILE * this.ratio;
    for (let place = Math.floor(from / tile); place * tile < from + this.width * this.ratio; place += 1) {
      context.drawImage(this.tile(place).canvas, place * tile - from, 0);
    }
  }

  /** A piece of the picture, drawn if it is not there or not right. */
  tile(place) {
    let tile = this.tiles.get(place);
    if (!tile) {
      if (this.tiles.size >= TILES) {
        const [oldest] = this.tiles.keys();
        tile = this.tiles.get(oldest);
        this.tiles.delete(oldest);
      } else {
        const canvas = document.createElement("canvas");
        tile = { canvas, context: canvas.getContext("2d", { alpha: false }) };
      }
      tile.stale = true;
    } else this.tiles.delete(place);
    this.tiles.set(place, tile);
    if (tile.stale) this.drawTile(tile, place);
    return tile;
  }

  drawTile(tile, place) {
    const { canvas, context } = tile;
    const [across, down] = [TILE * this.ratio, this.height * this.ratio];
    if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    const [from, to] = [(place * TILE) / this.scale, ((place + 1) * TILE) / this.scale];
    this.drawGround(context, from, to);
    const groups = Array.from({ length: 2 * CLASSES }, () => []);
    const last = firstFrom(this.notes, to);
    for (let i = firstFrom(this.notes, from - this.longest - 2 / this.scale); i < last; i += 1) {
      const note = this.notes[i];
      if (note[0] + Math.max(note[2], 3 / this.scale) < from) continue;
      groups[velocityClass(note[3]) + (i < this.given ? CLASSES : 0)].push(note);
    }
    groups.forEach((notes, group) => notes.length && this.drawNotes(context, notes, from, group % CLASSES, group >= CLASSES));
    tile.stale = false;
  }

  drawGround(context, from, to) {
    context.fillStyle = colour("roll");
    context.fillRect(0, 0, TILE, this.height);
    const row = this.row;
    for (let pitch = this.low; pitch <= this.high; pitch += 1) {
      if (row >= 2.5 && isBlack(pitch)) {
        context.fillStyle = colour("roll-black");
        context.fillRect(0, this.y(pitch), TILE, row);
      }
      if (pitch % 12 === 0) {
        context.fillStyle = colour("roll-octave");
        context.fillRect(0, Math.round(this.y(pitch) + row) - 0.5, TILE, 1);
      }
    }
    const step = this.step;
    context.fillStyle = colour("roll-line");
    for (let k = Math.ceil(from / step - 1e-6); k * step < to; k += 1) context.fillRect(Math.round((k * step - from) * this.scale), 0, 1, this.height);
    const until = this.promptEnd;
    if (until > from) {
      context.fillStyle = colour("roll-given");
      context.fillRect(0, 0, (Math.min(until, to) - from) * this.scale, this.height);
    }
  }

  /** Seconds from line to line, so that labels have room. */
  get step() {
    return STEPS.find((step) => step * this.scale >= 64) ?? STEPS.at(-1);
  }

  drawNotes(context, notes, from, level, outlined) {
    const row = this.row;
    const [tall, inset] = [Math.max(row - (row > 5 ? 2 : 0.5), 1.5), row > 5 ? 1 : 0.25];
    const round = Math.min(3, tall / 3);
    context.fillStyle = colour(outlined ? "roll-hollow" : `velocity-${level}`);
    context.beginPath();
    for (const [onset, pitch, duration] of notes) {
      const [x, y] = [(onset - from) * this.scale, this.y(pitch) + inset];
      const wide = Math.max(duration * this.scale - 1, 2);
      if (round < 1.2 || wide < 7 || this.rough) {
        context.fillRect(x, y, wide, tall); // many times as fast as a path
        if (outlined) context.rect(x, y, wide, tall);
      } else context.roundRect(x, y, wide, tall, round);
    }
    if (!this.rough) context.fill();
    if (!outlined) return;
    context.strokeStyle = colour(`velocity-${level}`);
    context.lineWidth = row > 5 ? 2 : 1;
    context.stroke();
  }

  drawRuler() {
    const context = this.clear(this.ruler);
    const [step, right] = [this.step, this.left + this.width / this.scale];
    context.font = "12px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (let k = Math.ceil((this.left - 60 / this.scale) / step); k * step < right; k += 1) {
      if (k < 0) continue;
      const x = Math.round(this.x(k * step));
      context.fillStyle = colour("line");
      context.fillRect(x, RULER - 7, 1, 7);
      context.fillStyle = colour("muted");
      context.fillText(label(k * step, step), x + 4, RULER / 2);
    }
    if (this.hover !== null) this.flag(context, `↶ ${clock(this.hover)}`, this.x(this.hover));
  }

  flag(context, words, x) {
    const wide = context.measureText(words).width + 14;
    const left = Math.max(0, Math.min(x - wide / 2, this.width - wide));
    context.fillStyle = colour("accent");
    context.beginPath();
    context.roundRect(left, 3, wide, RULER - 6, 6);
    context.fill();
    context.fillStyle = colour("on-accent");
    context.fillText(words, left + 7, RULER / 2 + 0.5);
  }

  drawOver() {
    const context = this.clear(this.over);
    const head = this.head();
    const x = this.x(head);
    const until = this.promptEnd;
    if (until > this.left) {
      context.strokeStyle = colour("muted");
      context.setLineDash([4, 4]);
      context.strokeRect(Math.round(this.x(until)) + 0.5, -2, 0, this.height + 4);
      context.setLineDash([]);
      context.fillStyle = colour("muted");
      context.font = "12px system-ui, sans-serif";
      context.textAlign = "right";
      if (this.x(until) > 60) context.fillText("given", this.x(until) - 6, 15);
    }
    if (this.veiled?.() && x < this.width) {
      context.fillStyle = colour("roll-veil");
      context.fillRect(Math.max(0, x), 0, this.width, this.height);
    }
    for (const [onset, pitch, duration] of this.sounding()) {
      context.strokeStyle = colour("ink");
      context.lineWidth = 1.5;
      context.strokeRect(this.x(onset) + 0.5, this.y(pitch) + 0.5, Math.max(duration * this.scale - 1, 2), Math.max(this.row - 1, 1.5));
    }
    context.lineWidth = 1;
    if (this.ghost) this.drawGhost(context, this.ghost, "accent");
    if (this.cursor) this.drawGhost(context, this.cursor, "warm");
    if (this.hover !== null) {
      context.fillStyle = colour("accent");
      context.fillRect(Math.round(this.x(this.hover)), 0, 1, this.height);
    }
    if (x >= -2 && x <= this.width + 2 && this.veiled?.()) {
      context.fillStyle = colour("bar");
      context.fillRect(Math.round(x * this.ratio) / this.ratio - 1, 0, 2, this.height);
    }
  }

  drawGhost(context, { time, pitch, length }, name) {
    context.strokeStyle = colour(name);
    context.lineWidth = 2;
    context.strokeRect(this.x(time) + 1, this.y(pitch) + 1, Math.max(length * this.scale - 2, 4), Math.max(this.row - 2, 2));
    context.lineWidth = 1;
  }

  /** The notes under the playhead. */
  sounding() {
    if (!this.running()) return [];
    const head = this.head();
    const found = [];
    for (let i = firstFrom(this.notes, head + 1e-6) - 1; i >= 0 && this.notes[i][0] >= head - this.longest; i -= 1) {
      if (this.notes[i][0] + this.notes[i][2] > head) found.push(this.notes[i]);
    }
    return found;
  }

  soundingChanged() {
    const now = this.sounding().map((note) => note[1]).join();
    const changed = now !== this.sounded;
    this.sounded = now;
    return changed;
  }

  drawKeys() {
    const context = this.clear(this.keys);
    const row = this.row;
    const pressed = new Set(this.sounding().map((note) => note[1]));
    context.fillStyle = colour("key-white");
    context.fillRect(0, 0, KEYS, this.height);
    context.font = `${Math.min(11, Math.max(9.5, row))}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    for (let pitch = this.low; pitch <= this.high; pitch += 1) {
      const y = this.y(pitch);
      if (pressed.has(pitch)) {
        context.fillStyle = colour("accent");
        context.fillRect(0, y, KEYS, row);
      } else if (isBlack(pitch)) {
        context.fillStyle = colour("key-black");
        context.fillRect(0, y, KEYS * 0.5, row);
        context.fillStyle = colour("key-line");
        context.fillRect(KEYS * 0.5, y + row / 2, KEYS * 0.5, 1);
      } else if (pitch % 12 === 0 || pitch % 12 === 5) {
        context.fillStyle = colour("key-line");
        context.fillRect(0, Math.round(y + row) - 1, KEYS, 1);
      }
      const named = pitch % 12 === 0 || (row >= 6 && pitch % 12 === 7) || (row >= 11 && !isBlack(pitch));
      if (!named) continue;
      context.fillStyle = colour(pressed.has(pitch) ? "on-accent" : pitch % 12 === 0 ? "key-ink" : "key-faint");
      context.textAlign = "right";
      context.fillText(pitchName(pitch), KEYS - 5, y + row / 2 + 0.5);
    }
    context.fillStyle = colour("line");
    context.fillRect(KEYS - 1, 0, 1, this.height);
    this.keysDrawn = true;
  }
}

const label = (time, step) => (step < 1 ? `${clock(time)}.${String(Math.round((time % 1) * 100)).padStart(2, "0").replace(/0$/, "")}` : clock(time));

/**
 * A whole piece, small, on one canvas.
 * @param {HTMLCanvasElement} canvas @param {import("./notes.js").Note[]} notes
 */
export function drawSmall(canvas, notes, seconds, given = 0) {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !height) return;
  const ratio = Math.min(devicePixelRatio || 1, 3);
  Object.assign(canvas, { width: width * ratio, height: height * ratio });
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  let [low, high] = [127, 0];
  for (const [, pitch] of notes) [low, high] = [Math.min(low, pitch), Math.max(high, pitch)];
  if (low > high) [low, high] = [60, 72];
  const missing = Math.max(0, 14 - (high - low));
  [low, high] = [low - 1 - (missing >> 1), high + 1 + ((missing + 1) >> 1)];
  const row = height / (high - low + 1);
  for (let pitch = low; pitch <= high; pitch += 1) {
    if (isBlack(pitch) && row >= 2.5) {
      context.fillStyle = colour("roll-black");
      context.fillRect(0, (high - pitch) * row, width, row);
    }
    if (pitch % 12 === 0) {
      context.fillStyle = colour("roll-octave");
      context.fillRect(0, Math.round((high - pitch + 1) * row) - 1, width, 1);
    }
  }
  notes.forEach(([onset, pitch, duration, velocity], i) => {
    context.fillStyle = colour(i < given ? "muted" : `velocity-${velocityClass(velocity)}`);
    context.fillRect((onset / seconds) * width, (high - pitch) * row, Math.max((duration / seconds) * width - 0.5, 1.5), Math.max(row - 0.5, 1.5));
  });
}
