/**
 * One improvisation as it is played: notes come over a stream, their sound in blocks, and both obey the audio clock.
 *
 * Music time is tied to the audio clock by one pair of times, the anchor. Blocks of sound hold the notes that begin in a
 * span; they are asked for once all notes of the span are known, and begin exactly where the last one ended. Where sound
 * comes late, the music waits (a new anchor) rather than skip. Whoever steers does so at the edge of a block that has not
 * begun, so that nothing that sounds is cut.
 *
 * Events: "notes" (detail: from which time on they changed), "state", "asked" (what is in force changed), "trouble" (an error).
 */

import * as api from "./api.js";
import { heard, studio } from "./measure.js";
import { endOf, firstFrom } from "./notes.js";
import { Sound } from "./sound.js";

const BLOCK = 0.4;
/** Seconds from now that a change needs, at least and at most; a slow machine needs more. */
const LEAD = [0.35, 1.2];
/** Seconds of sound that are kept ready, and of notes that are made ahead. */
const READY = 2.4;
const AHEAD = 4;
const LOOK_MILLISECONDS = 30;
const START_SECONDS = 0.06;
const TAIL_SECONDS = 1.5;
const WARM_MILLISECONDS = 1200;

/** @typedef {"empty"|"opening"|"warming"|"playing"|"buffering"|"paused"|"taken"|"ended"|"gone"} State */

export class Player extends EventTarget {
  /** @type {import("./notes.js").Note[]} */
  notes = [];
  /** How many of them were given by the user. */
  given = 0;
  /** All notes that begin before this time are known, seconds. */
  known = 0;
  /** As far as anybody has listened, seconds. */
  reached = 0;
  ended = false;
  paused = true;
  /** @type {State} */
  state = "empty";
  session = null;
  /** What the session was opened with: model, seed, controls. */
  asked = null;
  take = 0;

  sound = new Sound();
  /** Blocks that sound or will, by time. */
  blocks = [];
  /** Up to here sound is scheduled. */
  ready = 0;
  /** `[audio clock, music]`, or null where the music stands still at `held`. */
  anchor = null;
  held = 0;
  /** When the music began to wait for sound, if that is a gap. */
  waiting = null;
  fetching = null;
  stream = null;
  turning = Promise.resolve();
  lead = LEAD[0];
  /** When the latest change was asked for. */
  turned = null;
  /** While another session is sought, or the server. */
  recovering = false;
  /** While a change is under way, no sound is asked for: it might be that of notes which are dropped. */
  changing = false;

  constructor() {
    super();
    setInterval(() => this.look(), LOOK_MILLISECONDS);
    studio.position = () => this.position;
    studio.notes = () => this.notes;
  }

  /** Where the music is, seconds. */
  get position() {
    return this.anchor ? Math.max(this.anchor[1], this.anchor[1] + this.sound.now - this.anchor[0]) : this.held;
  }

  /** What is heard now, as far as the device tells. */
  get audible() {
    return this.anchor ? Math.max(this.anchor[1], this.position - this.sound.latency) : this.held;
  }

  get opened() {
    return this.session !== null;
  }

  /** @param {State} state */
  become(state) {
    if (this.state === state) return;
    this.state = studio.state = state;
    this.dispatchEvent(new Event("state"));
  }

  changed(since) {
    this.dispatchEvent(new CustomEvent("notes", { detail: since }));
  }

  // — beginning —

  /** A session that goes on from `prompt`; nothing sounds yet. */
  async open(asked, prompt = []) {
    await this.close();
    const made = await api.call("/sessions", { json: { ...asked, prompt } });
    this.adopt(made.id, asked, made.notes, made.notes.length);
    this.controls = made.controls;
  }

  adopt(session, asked, notes, given) {
    Object.assign(this, { session, asked, notes, given, ended: false, reached: 0, take: 0 });
    this.known = notes.length ? notes.at(-1)[0] : 0;
    this.stand(0);
    this.become("paused");
    this.changed(0);
  }

  /** Take up a session that the server still has, as after a reload. */
  async resume(session, asked, given) {
    const found = await api.call(`/sessions/${session}`);
    this.adopt(session, { ...asked, model: found.model, seed: found.seed }, found.notes, Math.min(given, found.notes.length));
    this.controls = found.controls;
    this.take = found.take;
    this.reached = this.known;
  }

  /** Begin from a file; it replaces everything. @param {File} file */
  async prompt(file) {
    const form = new FormData();
    form.append("file", file, file.name);
    const { notes } = await api.call(`/sessions/${this.session}/prompt`, { form });
    this.adopt(this.session, this.asked, notes, notes.length);
  }

  /** Forget the session. */
  async close() {
    const old = this.session;
    this.halt();
    this.paused = true;
    Object.assign(this, { session: null, notes: [], given: 0, known: 0, reached: 0, ended: false });
    this.stand(0);
    this.become("empty");
    this.changed(0);
    if (old) await api.remove(`/sessions/${old}`).catch(() => {});
  }

  // — playing —

  async play() {
    if (this.state === "ended") this.stand(0);
    this.paused = false;
    this.become(this.anchor ? "playing" : "opening");
    await this.sound.wake();
    if (!this.paused) this.listen(this.position);
  }

  async pause(state = "paused") {
    this.paused = true;
    this.waiting = null;
    this.stream?.abort();
    this.become(state);
    await this.sound.rest();
  }

  /** Stop all that is under way. */
  halt() {
    this.stream?.abort();
    this.fetching?.abort();
    this.fetching = null;
  }

  /** The music stands at a time, without sound, until sound is there. */
  stand(time) {
    this.fetching?.abort();
    this.fetching = null;
    for (const block of this.blocks) if (block.made) this.sound.stop(block.made);
    this.blocks = [];
    this.anchor = null;
    this.waiting = null;
    this.held = this.ready = time;
  }

  /** Listen again from a time that is known. */
  seek(time) {
    if (!this.session) return;
    this.stand(Math.min(Math.max(time, 0), this.ended ? this.end : Math.max(this.reached, this.promptEnd)));
    if (this.paused) this.dispatchEvent(new Event("state"));
    else this.play().catch(() => {});
  }

  get end() {
    return endOf(this.notes);
  }

  get promptEnd() {
    return this.given ? this.notes[Math.min(this.given, this.notes.length) - 1]?.[0] ?? 0 : 0;
  }

  /** The stream, from a time on. */
  async listen(from) {
    this.stream?.abort();
    const mine = (this.stream = new AbortController());
    const [began, session] = [performance.now(), this.session];
    let finished = false;
    try {
      for await (const line of api.lines(`/sessions/${session}/stream?ahead=${AHEAD}&from=${from.toFixed(4)}`, mine.signal)) {
        if (mine.signal.aborted) return;
        if (line.n) this.take_in(line.i, line.n);
        else if (line.taken) finished = (this.pause("taken"), true);
        else if ("end" in line) finished = this.ended = true;
        else this.tick(line.clock, began);
        this.look();
      }
    } catch (error) {
      if (mine.signal.aborted) return;
      await this.recover(error, session);
      return;
    }
    if (!finished && !mine.signal.aborted) setTimeout(() => mine === this.stream && !mine.signal.aborted && !this.paused && this.listen(this.position), 500);
  }

  take_in(index, note) {
    const known = this.notes[index];
    if (known && known.every((value, place) => value === note[place])) return;
    this.notes[index] = note;
    this.changed(known ? Math.min(known[0], note[0]) : note[0]);
  }

  tick(clock, began) {
    this.known = Math.max(this.known, clock);
    const slow = !this.anchor && this.known <= this.ready && performance.now() - began > WARM_MILLISECONDS;
    if (slow && this.state === "opening") this.become("warming");
  }

  /** The server is gone, or has forgotten the session: wait for it, or open another that goes on from the same notes. */
  async recover(error, session) {
    if (session !== this.session) return; // another is there already
    if (error.status === 0) this.pause("gone");
    if (this.recovering) return;
    this.recovering = true;
    try {
      if (error.status === 404) await this.move(this.asked);
      else if (error.status !== 0) throw error;
    } catch (trouble) {
      if (trouble.status === 0) this.pause("gone");
      else {
        this.pause();
        this.dispatchEvent(new CustomEvent("trouble", { detail: trouble }));
      }
    }
    if (this.state === "gone") {
      api.lost();
      await api.back();
    }
    this.recovering = false;
    if (this.state === "gone") this.play().catch(() => {});
  }

  /** Another session that goes on where this one is: another model, or one for a session that is lost. */
  async move(asked) {
    await this.turn(async (at) => {
      const kept = this.notes.slice(0, firstFrom(this.notes, at));
      const made = await api.call("/sessions", { json: asked });
      const took = kept.length
        ? await api.call(`/sessions/${made.id}/draw`, { json: { notes: kept, at } })
        : { controls: made.controls, take: 0, notes: 0, at: 0 };
      const old = this.session;
      Object.assign(this, { session: made.id, asked });
      api.remove(`/sessions/${old}`).catch(() => {});
      return took;
    });
  }

  // — sound —

  /** Do what is due: wait, ask for sound, end. */
  look() {
    if (this.paused || !this.session) return;
    const now = this.position;
    this.reached = Math.max(this.reached, now);
    const over = this.ended && this.ready >= this.end;
    if (this.anchor && now >= this.ready && !over) {
      this.held = this.ready;
      this.anchor = null;
      this.waiting = performance.now();
      this.become("buffering");
    }
    if (over && now > this.end + TAIL_SECONDS) {
      this.pause("ended");
      return;
    }
    this.blocks = this.blocks.filter((block) => block.to > now - 10);
    if (!this.fetching && !this.changing && !over && this.ready < now + READY && (this.ended || this.known >= this.ready + BLOCK)) this.fetch();
  }

  /** The next block. */
  async fetch() {
    const mine = (this.fetching = new AbortController());
    const [from, to, session] = [this.ready, this.ready + BLOCK, this.session];
    try {
      const first = this.notes[firstFrom(this.notes, from - 1e-6)];
      let buffer = null;
      if (first && first[0] < to - 1e-6) {
        studio.requests.sound += 1;
        const path = `/sessions/${session}/sound?from=${from.toFixed(4)}&to=${to.toFixed(4)}`;
        buffer = await this.sound.decode(await api.bytes(path, { signal: mine.signal }));
      }
      if (mine.signal.aborted) return;
      this.schedule(from, to, buffer, first);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error.status === 429 || error.status === 503) await new Promise((resolve) => setTimeout(resolve, 300));
      else await this.recover(error, session);
    } finally {
      if (this.fetching === mine) this.fetching = null;
    }
    this.look();
  }

  /** How long a change takes here until its first sound is ready; the next one is given that time. */
  learn() {
    const took = (performance.now() - this.turned) / 1000;
    this.lead = Math.min(LEAD[1], Math.max(LEAD[0], 1.25 * took, 0.9 * this.lead));
    this.turned = null;
  }

  schedule(from, to, buffer, first) {
    if (this.turned !== null && buffer) this.learn();
    if (this.anchor && this.position > from) {
      this.waiting = performance.now(); // it is too late, by less than a look
      this.anchor = null;
    }
    if (!this.anchor) {
      this.anchor = [this.sound.now + START_SECONDS, from];
      if (this.waiting !== null) studio.gaps.push({ at: from, milliseconds: Math.round(performance.now() - this.waiting + 1000 * START_SECONDS) });
      this.waiting = null;
      if (!this.paused) this.become("playing");
    }
    const when = this.anchor[0] + from - this.anchor[1];
    const due = performance.now() + 1000 * (when - this.sound.now);
    if (buffer) {
      studio.late = Math.min(studio.late, due - performance.now());
      heard(due + 1000 * (first[0] - from + this.sound.latency));
    }
    this.blocks.push({ from, to, made: buffer && this.sound.at(buffer, when) });
    this.ready = to;
  }

  // — steering —

  /** The first edge of a block that can still be changed; a time that no block reaches may be any. */
  get edge() {
    const soonest = this.position + (this.paused ? 0 : this.lead);
    if (this.paused && !this.anchor) return soonest;
    const block = this.blocks.find((each) => each.from >= soonest);
    return block ? block.from : Math.max(soonest, this.ready);
  }

  /**
   * Ask the server for another continuation; one after the other.
   * @param {(at: number) => Promise<{controls: object, take: number, notes: number, at: number}>} request
   * @param {number | null} to where the music is to stand, where that is not the next edge
   */
  turn(request, to = null) {
    const step = async () => {
      if (!this.session) return;
      this.halt();
      const at = to ?? this.edge;
      this.turned = this.paused ? null : performance.now();
      this.changing = true;
      if (to !== null) this.stand(to);
      try {
        this.land(await request(at));
      } finally {
        this.changing = false;
        if (!this.paused) this.listen(Math.min(this.position, this.known));
      }
    };
    return (this.turning = this.turning.catch(() => {}).then(step));
  }

  /** What the server did: the notes that are left, and from when on there will be others. */
  land({ controls, take, notes, at }) {
    this.controls = controls;
    this.take = take;
    const since = this.notes[notes]?.[0] ?? at;
    this.notes.length = Math.min(this.notes.length, notes);
    this.given = Math.min(this.given, notes);
    this.known = at;
    this.ended = false;
    if (at < this.position) this.stand(at);
    for (const block of this.blocks) if (block.from >= at - 1e-6 && block.made) this.sound.stop(block.made);
    this.blocks = this.blocks.filter((block) => block.from < at - 1e-6);
    this.ready = Math.min(this.ready, at);
    this.reached = Math.min(this.reached, at);
    this.changed(Math.min(since, at));
    this.dispatchEvent(new Event("asked"));
  }

  /** Other controls, as soon as may be. What comes while one is under way waits, and only the last of it is sent. */
  async steer(controls, touched = performance.now()) {
    this.asked = { ...this.asked, controls: { ...this.asked.controls, ...controls } };
    this.wish = { ...this.wish, ...controls };
    this.touched = touched;
    if (this.steering) return;
    this.steering = true;
    try {
      while (this.wish) {
        const [wish, since] = [this.wish, this.touched];
        this.wish = null;
        await this.turn(async (at) => {
          studio.requests.changes += 1;
          studio.requests.changesAtOnce = Math.max(studio.requests.changesAtOnce, 1);
          const took = await api.call(`/sessions/${this.session}`, { method: "PATCH", json: { at: round(at), controls: wish } });
          studio.steered.push(Math.round(performance.now() - since + 1000 * (at - this.position)));
          return took;
        });
      }
    } finally {
      this.steering = false;
    }
  }

  /** Go back to a time and on from there differently; returns what brings the dropped notes back. */
  async undo(time) {
    const at = round(Math.max(0, Math.min(time, this.position)));
    const before = { notes: this.notes.slice(), given: this.given, reached: this.reached };
    await this.turn((when) => api.call(`/sessions/${this.session}/undo`, { json: { at: round(when) } }), at);
    return () => this.restore(before);
  }

  async restore({ notes, given, reached }) {
    await this.turn(async () => {
      const took = await api.call(`/sessions/${this.session}/draw`, { json: { notes, at: round(Math.max(reached, notes.at(-1)[0])) } });
      this.notes = notes;
      queueMicrotask(() => ((this.given = given), (this.reached = reached), this.changed(0)));
      return took;
    }, this.position);
  }
}

const round = (seconds) => Math.round(seconds * 1e4) / 1e4;
