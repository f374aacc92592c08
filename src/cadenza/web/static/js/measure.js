let pressed = null;

/**
 * `window.studio`: what happened, measured while it happened; for tests, benchmarks and the curious.
 *
 * - `firstNoteAt`, `firstSoundAt`: milliseconds from the press of play to the first note drawn, and to the moment at which
 *   the audio clock reaches the first note (scheduling and the device's latency included). Null before.
 * - `gaps`: times at which sound came late, `{at, milliseconds}`; `at` in seconds of music. The music waits, nothing is left out.
 * - `stalls`: milliseconds by which the audio clock fell behind the computer's between two looks (a starved device), if over 20.
 * - `steered`: milliseconds from the last touch of a control to the moment at which the first changed note is due to sound.
 * - `late`: the least time by which a block of sound came before it was due, milliseconds.
 * - `fps`: frames drawn in the last second; `worstFrame`: the longest time between two, milliseconds; both while it moves.
 * - `requests`: sound blocks and changes asked for, and how many changes were under way at once at most.
 * - `state`, `position()`, `notes()`: of what is played now.
 */
export const studio = {
  firstNoteAt: null,
  firstSoundAt: null,
  gaps: [],
  stalls: [],
  steered: [],
  late: Infinity,
  fps: 0,
  worstFrame: 0,
  requests: { sound: 0, changes: 0, changesAtOnce: 0 },
  state: "empty",
  position: () => 0,
  notes: () => [],
  /** Forget what was measured so far. */
  reset() {
    this.firstNoteAt = this.firstSoundAt = null;
    this.gaps.length = this.stalls.length = this.steered.length = 0;
    this.late = Infinity;
    this.worstFrame = 0;
    pressed = null;
  },
};

window.studio = studio;

/** Somebody pressed play. */
export function press() {
  pressed = performance.now();
  studio.firstNoteAt = studio.firstSoundAt = null;
}

/** The first note is seen. */
export function seen() {
  if (pressed !== null && studio.firstNoteAt === null) studio.firstNoteAt = performance.now() - pressed;
}

/** The first note will be heard at this time of `performance.now()`. */
export function heard(when) {
  if (pressed !== null && studio.firstSoundAt === null) studio.firstSoundAt = when - pressed;
}

const times = [];
let last = null;

/** A frame was drawn at `now`; `moving` is false where the next one may come any time later. */
export function frame(now, moving) {
  if (last !== null && moving) studio.worstFrame = Math.max(studio.worstFrame, now - last);
  last = moving ? now : null;
  times.push(now);
  while (times.length && times[0] <= now - 1000) times.shift();
  studio.fps = times.length;
}
