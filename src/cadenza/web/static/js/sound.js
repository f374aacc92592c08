/** The way to the loudspeaker: blocks of sound begin at exact times of the audio clock, and their tails are added. */

import { studio } from "./measure.js";

const GAIN = 2.5;
const FADE_SECONDS = 0.03;
const STALL_MILLISECONDS = 20;

export class Sound {
  /** @type {AudioContext | null} */
  context = null;

  /** Begin or go on; only a press of a key or a button may. */
  async wake() {
    if (!this.context) {
      this.context = new AudioContext({ latencyHint: "interactive" });
      this.out = new GainNode(this.context, { gain: GAIN });
      const limiter = new DynamicsCompressorNode(this.context, { threshold: -6, knee: 3, ratio: 20, attack: 0.002, release: 0.12 });
      this.out.connect(limiter).connect(this.context.destination);
      setInterval(() => this.watch(), 250);
    }
    this.looked = null;
    await this.context.resume();
  }

  async rest() {
    this.looked = null;
    await this.context?.suspend();
  }

  get now() {
    return this.context ? this.context.currentTime : 0;
  }

  /** Seconds from the audio clock to the ear. */
  get latency() {
    return this.context ? this.context.outputLatency || this.context.baseLatency || 0 : 0;
  }

  /** @param {ArrayBuffer} wav */
  decode(wav) {
    return this.context.decodeAudioData(wav);
  }

  /** Play a block at a time of the audio clock. @param {AudioBuffer} buffer */
  at(buffer, when) {
    const source = new AudioBufferSourceNode(this.context, { buffer });
    const level = new GainNode(this.context);
    source.connect(level).connect(this.out);
    source.start(Math.max(when, 0));
    source.onended = () => level.disconnect();
    return { source, level, when };
  }

  /** Not that block any more; one that sounds already fades. */
  stop({ source, level, when }) {
    if (when > this.now) {
      source.stop();
      level.disconnect();
      return;
    }
    level.gain.setTargetAtTime(0, this.now, FADE_SECONDS / 3);
    source.stop(this.now + 2 * FADE_SECONDS);
  }

  /** A soft tone, for a note that is drawn. */
  async blip(pitch) {
    await this.wake();
    const tone = new OscillatorNode(this.context, { type: "triangle", frequency: 440 * 2 ** ((pitch - 69) / 12) });
    const level = new GainNode(this.context, { gain: 0.06 });
    level.gain.setTargetAtTime(0, this.now + 0.08, 0.06);
    tone.connect(level).connect(this.out);
    tone.start();
    tone.stop(this.now + 0.5);
  }

  /** Does the audio clock keep up with the computer's? */
  watch() {
    const now = { audio: this.now, wall: performance.now() };
    if (this.looked && this.context.state === "running" && !document.hidden) {
      const behind = now.wall - this.looked.wall - 1000 * (now.audio - this.looked.audio);
      if (behind > STALL_MILLISECONDS) studio.stalls.push(Math.round(behind));
    }
    this.looked = this.context.state === "running" ? now : null;
  }
}
