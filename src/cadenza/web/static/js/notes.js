/**
 * Notes as the interface sends them, `[onset, pitch, duration, velocity]` in seconds, and words about them.
 *
 * @typedef {[number, number, number, number]} Note
 */

export const CLASSES = 12;
const NAMES = ["C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B"];
const BLACK = new Set([1, 3, 6, 8, 10]);

/** C4 is 60. */
export const pitchName = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

export const isBlack = (pitch) => BLACK.has(((pitch % 12) + 12) % 12);

/** 0 (soft) … 11 (loud), as in the pictures of reports. */
export const velocityClass = (velocity) => Math.min(CLASSES - 1, Math.max(0, Math.floor(((velocity - 1) * CLASSES) / 127)));

/** When the last sound ends, seconds. @param {Note[]} notes */
export const endOf = (notes) => notes.reduce((end, note) => Math.max(end, note[0] + note[2]), 0);

/** The index of the first note that begins at `time` or later. @param {Note[]} notes sorted by onset */
export function firstFrom(notes, time) {
  let low = 0;
  let high = notes.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (notes[middle][0] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A roll in words: "182 notes, 31 s, range G3 to E6". @param {Note[]} notes */
export function inWords(notes) {
  if (!notes.length) return "no notes yet";
  let [lowest, highest] = [127, 0];
  for (const [, pitch] of notes) {
    if (pitch < lowest) lowest = pitch;
    if (pitch > highest) highest = pitch;
  }
  return `${counted(notes.length, "note")}, ${lasting(endOf(notes))}, range ${pitchName(lowest)} to ${pitchName(highest)}`;
}

/** "1 note", "2,000 notes" */
export const counted = (count, noun) => `${count.toLocaleString("en-GB")} ${noun}${count === 1 ? "" : "s"}`;

/** "31 s", "2 min 5 s", "1 h 20 min" */
export function lasting(seconds) {
  const whole = Math.round(seconds);
  if (whole < 90) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes >= 60) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  return whole % 60 ? `${minutes} min ${whole % 60} s` : `${minutes} min`;
}

/** "1:05" */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
