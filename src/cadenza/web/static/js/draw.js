/** Notes drawn into the roll before playing: click to add at the grid, drag for length, click a note to remove it. */

import { pitchName } from "./notes.js";
import { say } from "./ui.js";

const VELOCITY = 80;

export class Draw {
  /** @type {import("./notes.js").Note[]} */
  notes = [];
  /** Seconds from line to line. */
  grid = 0.25;
  on = true;
  cell = { time: 0, pitch: 67, length: 0.25 };

  /** @param {import("./roll.js").Roll} roll @param {(notes: object[]) => void} changed @param {(pitch: number) => void} tone */
  constructor(roll, changed, tone) {
    Object.assign(this, { roll, changed, tone });
  }

  /** A pointer goes down; returns what follows its moves, or null if it is not ours. */
  begin(event) {
    if (!this.on || event.button) return null;
    const { time, pitch } = this.roll.where(event);
    const hit = this.roll.at(time, pitch);
    const start = hit >= 0 ? this.notes[hit][0] : Math.max(0, Math.floor(time / this.grid + 1e-6) * this.grid);
    const old = hit >= 0 ? this.notes[hit][2] : this.grid;
    let length = old;
    let dragged = false;
    if (hit < 0) this.tone(pitch);
    const show = () => ((this.roll.ghost = { time: start, pitch, length }), this.roll.wake());
    show();
    return {
      move: (at) => {
        const { time: now } = this.roll.where(at);
        const wished = Math.max(this.grid, Math.ceil((now - start) / this.grid) * this.grid);
        if (Math.abs(at.clientX - event.clientX) > 5) dragged = true;
        if (dragged) length = wished;
        show();
      },
      end: () => {
        this.roll.ghost = null;
        if (hit >= 0 && !dragged) this.notes.splice(hit, 1);
        else if (hit >= 0) this.notes[hit][2] = length;
        else this.add([start, pitch, length, VELOCITY]);
        this.tell(hit >= 0 && !dragged ? "removed" : "set", pitch, start);
      },
      cancel: () => ((this.roll.ghost = null), this.roll.wake()),
    };
  }

  add(note) {
    this.notes.push(note);
    this.notes.sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  }

  tell(what, pitch, time) {
    say(`${pitchName(pitch)} at ${time.toFixed(2)} seconds ${what}.`);
    this.changed(this.notes);
  }

  /** By keyboard: arrows move a cell, with shift they change its length, Enter sets or removes. Whether it was ours. */
  key(event) {
    if (!this.on) return false;
    const cell = this.cell;
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (steps && event.shiftKey && steps[0]) cell.length = Math.max(this.grid, cell.length + steps[0] * this.grid);
    else if (steps) {
      cell.time = Math.max(0, cell.time + steps[0] * this.grid);
      cell.pitch = Math.min(this.roll.high, Math.max(this.roll.low, cell.pitch + steps[1]));
    } else if (event.key === "Enter" || event.key === "Delete" || event.key === "Backspace") {
      const hit = this.roll.at(cell.time + 1e-3, cell.pitch);
      if (hit >= 0) this.notes.splice(hit, 1);
      else if (event.key === "Enter") {
        this.add([cell.time, cell.pitch, cell.length, VELOCITY]);
        this.tone(cell.pitch);
      }
      this.tell(hit >= 0 ? "removed" : "set", cell.pitch, cell.time);
      if (hit < 0) cell.time += cell.length;
    } else return false;
    this.roll.cursor = cell;
    if (steps) say(`${pitchName(cell.pitch)}, ${cell.time.toFixed(2)} seconds`);
    const x = this.roll.x(cell.time);
    if (x < 0 || x > this.roll.width - 20) this.roll.scrollTo(cell.time - 1);
    this.roll.wake();
    return true;
  }

  set(notes) {
    this.notes = notes;
    this.changed(notes);
  }
}
