/** The controls of an improvisation: what they are called, how far they go, and what they say. */

import { h, set } from "./ui.js";

const INSTRUMENTS = { any: "Any", violin: "Violin", viola: "Viola", cello: "Cello", flute: "Flute" };
const FIELDS = { shift: "When the next note comes", pitch: "Pitch", duration: "Duration", velocity: "Loudness" };
const fixed = (places) => (value) => value.toFixed(places);
const offAtNone = (words) => (value) => (value ? words(value) : "off");

/** @typedef {{key: string, name: string, hint: string, low: number, high: number, step: number, start: number, words: (value: number) => string, send?: (value: number) => number}} Dial */

/** @type {Dial[]} */
const MAIN = [
  { key: "temperature", name: "Temperature", hint: "Low plays it safe, high takes risks.", low: 0.3, high: 1.7, step: 0.05, start: 0.95, words: fixed(2) },
  { key: "repeats", name: "Repeats", hint: "How often a phrase may be heard again.", low: 0, high: 12, step: 1, start: 0, words: offAtNone((value) => `at most ${value}`) },
  {
    key: "novel", name: "Novelty", hint: "The longest passage that may be as in a piece it learned from.", low: 0, high: 48, step: 4, start: 0,
    words: offAtNone((value) => `${value} notes`),
  },
];

/** @type {Dial[]} */
const MORE = [
  { key: "top_p", name: "Top p", hint: "Only the likeliest choices that hold this share.", low: 0.5, high: 1, step: 0.01, start: 1, words: (value) => (value === 1 ? "off" : value.toFixed(2)) },
  { key: "min_p", name: "Min p", hint: "No choice less likely than this share of the likeliest.", low: 0, high: 0.3, step: 0.01, start: 0, words: offAtNone(fixed(2)) },
  { key: "top_k", name: "Top k", hint: "Only so many of the likeliest choices.", low: 0, high: 50, step: 1, start: 0, words: offAtNone(String) },
];

export class Controls {
  /** @param {(change: object) => void} changed is told every change, as often as it happens */
  constructor(changed) {
    this.changed = changed;
    this.values = {};
    this.dials = new Map();
    this.instrument = h("select", { id: "instrument" }, ...Object.entries(INSTRUMENTS).map(([value, name]) => h("option", { value }, name)));
    this.instrument.addEventListener("change", () => this.change({ instrument: this.instrument.value }));
    this.fields = h("div", { class: "dials" });
    this.main = h("div", { class: "dials" }, ...MAIN.map((dial) => this.dial(dial)));
    this.player = h("div", { class: "field" }, h("label", { for: "instrument" }, "Playable on"), this.instrument);
    this.more = h(
      "details",
      { class: "more" },
      h("summary", {}, "More controls"),
      h("div", { class: "dials" }, ...MORE.map((dial) => this.dial(dial))),
      h("h3", {}, "Temperature of one thing"),
      this.fields,
    );
  }

  change(values) {
    Object.assign(this.values, values);
    this.changed(values);
  }

  /** A slider with its name, its value in words and what it does. @param {Dial} dial */
  dial(dial, set_ = (value) => this.change({ [dial.key]: value })) {
    const id = `dial-${dial.key}`;
    const output = h("output", { for: id }, dial.words(dial.start));
    const input = h("input", { type: "range", id, min: dial.low, max: dial.high, step: dial.step, value: dial.start, "aria-describedby": dial.hint ? `${id}-hint` : null });
    const show = () => {
      const words = dial.words(Number(input.value));
      output.textContent = words;
      set(input, { "aria-valuetext": words });
      input.style.setProperty("--share", `${(100 * (input.value - dial.low)) / (dial.high - dial.low)}%`);
    };
    input.addEventListener("input", () => (show(), set_(Number(input.value))));
    input.addEventListener("dblclick", () => ((input.value = dial.start), show(), set_(dial.start)));
    show();
    this.dials.set(dial.key, { input, show });
    return h("div", { class: "dial" }, h("label", { for: id }, dial.name), output, input, dial.hint && h("p", { class: "hint", id: `${id}-hint` }, dial.hint));
  }

  /** The fields of a model, each with a temperature of its own. @param {string[]} fields */
  offer(fields) {
    if (this.offered === fields.join()) return;
    this.offered = fields.join();
    this.values.by_field = {};
    this.fields.replaceChildren(
      ...fields.map((field) => {
        const dial = { key: `field-${field}`, name: FIELDS[field] ?? field, hint: "", low: 0.25, high: 1.7, step: 0.05, start: 0.25, words: (value) => (value <= 0.25 ? "as all" : value.toFixed(2)) };
        return this.dial(dial, (value) => {
          const by_field = { ...this.values.by_field };
          if (value <= 0.25) delete by_field[field];
          else by_field[field] = value;
          this.change({ by_field });
        });
      }),
    );
  }

  /** Show what is in force. @param {object} controls */
  show(controls) {
    for (const [key, value] of Object.entries(controls)) {
      if (key === "instrument") this.instrument.value = value;
      else if (key === "by_field") for (const [field, x] of Object.entries(value)) this.put(`field-${field}`, x);
      else if (typeof value === "number") this.put(key, value);
    }
  }

  put(key, value) {
    const dial = this.dials.get(key);
    if (!dial || document.activeElement === dial.input) return;
    dial.input.value = value;
    dial.show();
  }
}
