/** The view of trainings: begin one, follow it, hear it learn. */

import * as api from "./api.js";
import { chart } from "./chart.js";
import { clip } from "./clip.js";
import { facts } from "./music.js";
import { lasting } from "./notes.js";
import { ask, button, complain, h, icon, relist, say, set, text, toast, trying } from "./ui.js";

/** How often the list is looked at: while one of them trains, and otherwise, as another tab may begin one. */
const POLL_MILLISECONDS = [2000, 5000];
const GOING = new Set(["waiting", "preparing", "training", "judging"]);
const STATES = { waiting: "Waiting", preparing: "Preparing", training: "Training", judging: "Judging", done: "Done", stopped: "Stopped", failed: "Failed" };
const PRESETS = [
  ["tiny", "Tiny", "Learns in a minute or two; good for a first try."],
  ["small", "Small", "Ten minutes or more; the one to begin with."],
  ["base", "Base", "For hours of music and an hour of time."],
];

export class Train {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.chosen = null;
    this.build();
    api.server.addEventListener("back", () => this.unfollow()); // the page is shown anew, and then follows
  }

  build() {
    this.music = h("select", { id: "run-music", required: true });
    this.name = h("input", { type: "text", id: "run-name", maxlength: 120, autocomplete: "off", placeholder: "As the music" });
    this.minutes = h("input", { type: "number", id: "run-minutes", min: 1, max: 600, step: 1, value: 10, inputmode: "numeric", required: true });
    const presets = PRESETS.map(([value, name, words], i) =>
      h("label", { class: "choice" }, h("input", { type: "radio", name: "preset", value, checked: i === 1, onchange: () => (this.minutes.value = { tiny: 2, small: 10, base: 60 }[value]) }), h("span", {}, h("b", {}, name), h("span", { class: "hint" }, words))),
    );
    this.go = h("button", { type: "submit", class: "button primary", id: "run-go" }, icon("train"), h("span", {}, "Train"));
    this.noMusic = h("p", { class: "hint", hidden: true }, "There is no music to learn from yet. ", h("a", { href: "#/music" }, "Bring some first."));
    this.form = h(
      "form",
      { class: "card form", onsubmit: (event) => (event.preventDefault(), this.begin()) },
      h("h2", {}, "A new training"),
      h("div", { class: "field" }, h("label", { for: "run-music" }, "Music"), this.music),
      this.noMusic,
      h("fieldset", { class: "choices" }, h("legend", {}, "Size of the model"), ...presets),
      h("div", { class: "pair" }, h("div", { class: "field" }, h("label", { for: "run-minutes" }, "Minutes"), this.minutes), h("div", { class: "field" }, h("label", { for: "run-name" }, "Name"), this.name)),
      this.go,
    );
    this.list = h("ul", { class: "list", "aria-label": "Runs" });
    this.detail = h("div", { class: "detail" });
    this.section.append(
      h("header", { class: "head" }, h("h1", { id: "title-train" }, "Train"), h("p", { class: "lead" }, "A model learns from your music; you hear how it gets on.")),
      h("div", { class: "columns" }, h("div", { class: "side" }, this.form, h("h2", { class: "above" }, "Runs"), this.list), this.detail),
    );
  }

  async enter() {
    this.shown = true;
    const music = (await api.call("/music")).filter((each) => each.state === "ready");
    const before = this.music.value;
    this.music.replaceChildren(...music.map((each) => h("option", { value: each.id }, each.name)));
    const wished = new URLSearchParams(location.hash.split("?")[1] ?? "").get("music");
    const choice = [wished, before, music.at(-1)?.id].find((id) => music.some((each) => each.id === id));
    if (choice) this.music.value = choice;
    for (const each of [this.music, this.go]) set(each, { disabled: !music.length });
    set(this.noMusic, { hidden: Boolean(music.length) });
    await this.look();
  }

  leave() {
    this.shown = false;
    this.section.classList.remove("going");
    clearTimeout(this.timer);
    this.unfollow();
  }

  begin = trying(async () => {
    const preset = this.form.querySelector("input[name=preset]:checked").value;
    set(this.go, { "aria-busy": "true" });
    try {
      const { id } = await api.call("/runs", { json: { music: this.music.value, name: this.name.value.trim(), preset, minutes: Number(this.minutes.value), seed: 0 } });
      this.name.value = "";
      this.chosen = id;
      this.unfollow();
      await this.look();
      if (innerWidth < 800) this.detail.scrollIntoView({ block: "start" });
    } finally {
      set(this.go, { "aria-busy": null });
    }
  });

  async look() {
    clearTimeout(this.timer);
    const mine = (this.looking = Symbol("look"));
    const runs = await api.call("/runs");
    if (mine !== this.looking) return; // a later look knows more
    runs.sort((one, other) => (other.started ?? Infinity) - (one.started ?? Infinity));
    if (!runs.some((each) => each.id === this.chosen)) this.chosen = (runs.find((each) => GOING.has(each.state)) ?? runs[0])?.id ?? null;
    relist(this.list, runs.length ? runs.map((each) => this.item(each)) : [h("li", { class: "hint" }, "None yet.")]);
    const [going, now] = [runs.some((each) => GOING.has(each.state)), runs.find((each) => each.id === this.chosen)];
    if (going) this.section.classList.add("going"); // until the view is left, so that nothing jumps when a run ends
    const resumed = now && GOING.has(now.state) && this.seen?.state && !GOING.has(this.seen.state);
    if (this.followed !== this.chosen || resumed) await this.follow();
    if (this.shown) this.timer = setTimeout(trying(() => this.look()), POLL_MILLISECONDS[going ? 0 : 1]);
  }

  item(run) {
    const bits = run.bits_per_note === null ? "" : `, ${run.bits_per_note.toFixed(2)} bits per note`;
    return h(
      "li",
      { "data-id": run.id },
      h("button", { type: "button", class: "item", "aria-current": run.id === this.chosen ? "true" : null, onclick: trying(async () => {
        this.chosen = run.id;
        await this.look();
        if (innerWidth < 800) this.detail.scrollIntoView({ block: "start" });
      }) }, h("b", {}, run.name), h("span", { class: "hint" }, `${STATES[run.state]}${bits}`)),
    );
  }

  unfollow() {
    this.events?.close();
    this.events = null;
    this.followed = null;
  }

  /** Show the chosen run, and whatever changes of it. */
  async follow() {
    this.unfollow();
    this.followed = this.chosen;
    if (!this.chosen) {
      this.detail.replaceChildren(h("div", { class: "card empty" }, h("h2", {}, "No training yet"), h("p", {}, "Choose music and press Train. The curve, the speed and, after every evaluation, a sample to hear will stand here.")));
      return;
    }
    this.frame();
    const run = await api.call(`/runs/${this.chosen}`);
    if (this.followed !== run.id) return;
    this.show(run);
    if (!GOING.has(run.state)) return;
    this.events = new EventSource(`${api.API}/runs/${run.id}/events`);
    this.events.addEventListener("run", (event) => {
      const now = JSON.parse(event.data);
      this.show(now);
      if (GOING.has(now.state)) return;
      this.events?.close();
      this.look().catch(complain);
    });
    this.events.addEventListener("error", () => {
      if (this.events?.readyState === EventSource.CLOSED || this.events?.readyState === EventSource.CONNECTING) fetch(`${api.API}/runs`).catch(() => api.lost());
    });
  }

  /** The parts of the detail, which stay while their content changes. */
  frame() {
    this.part = {
      name: h("h2", {}), state: h("span", { class: "badge" }), error: h("p", { class: "bad", hidden: true }), verdict: h("p", { class: "verdict-line", hidden: true }),
      bar: h("progress", { max: 1, "aria-label": "Progress" }), eta: h("p", { class: "hint eta" }), facts: h("div", {}), actions: h("div", { class: "row" }),
      chart: h("div", { class: "chartbox" }), samples: h("div", { class: "samples" }), said: h("pre", { tabindex: 0, "aria-label": "What the run said" }),
    };
    const p = this.part;
    new ResizeObserver(() => this.plot()).observe(p.chart);
    this.seen = {};
    this.run = null;
    this.detail.replaceChildren(
      h("article", { class: "card" }, h("header", { class: "split" }, p.name, p.state), p.error, p.verdict, p.bar, p.eta, p.facts, p.actions),
      h("article", { class: "card" }, h("header", { class: "split" }, h("h2", {}, "How it learns"), h("ul", { class: "legend" }, h("li", { class: "validation" }, "validation"), h("li", { class: "train" }, "training"), h("li", { class: "loss" }, "each step"))), p.chart),
      h("article", { class: "card" }, h("h2", {}, "How it sounds"), p.samples),
      h("details", { class: "card said" }, h("summary", {}, "What the run said"), p.said),
    );
  }

  show(run) {
    const p = this.part;
    const going = GOING.has(run.state);
    text(p.name, run.name);
    text(p.state, STATES[run.state]);
    p.state.className = `badge ${run.state}`;
    if (this.seen.state !== run.state) say(`${run.name}: ${STATES[run.state]}.`);
    text(p.error, run.error ?? "");
    set(p.error, { hidden: !run.error });
    text(p.verdict, run.verdict ?? "");
    set(p.verdict, { hidden: !run.verdict });
    set(p.bar, { hidden: !going });
    if (run.state === "training" && run.steps) p.bar.value = run.step / run.steps;
    else p.bar.removeAttribute("value");
    set(p.eta, { hidden: !going });
    text(p.eta, { waiting: "Another run is under way; this one begins after it.", preparing: "The music is being prepared.", judging: "What was learned is being judged." }[run.state] ?? (run.seconds_left === null ? "Estimating…" : `About ${lasting(run.seconds_left)} left`));
    const number = (value, words) => (value === null || value === undefined ? "–" : words(value));
    p.facts.replaceChildren(facts([["Step", `${run.step.toLocaleString("en-GB")} of ${number(run.steps || null, (value) => value.toLocaleString("en-GB"))}`], ["Notes per second", number(run.notes_per_second, (value) => Math.round(value).toLocaleString("en-GB"))], ["Best bits per note", number(run.bits_per_note, (value) => value.toFixed(2))], ["Minutes", number(run.minutes ?? run.settings?.train?.minutes, (value) => String(Math.round(10 * value) / 10))]]));
    const actions = JSON.stringify([run.state, run.playable, run.report]);
    if (this.seen.actions !== actions) this.act(run, going);
    const points = JSON.stringify([run.curve.length, run.losses.length, run.losses.at(-1), run.steps]);
    if (this.seen.points !== points) {
      this.run = run;
      this.plot();
    }
    const samples = JSON.stringify(run.samples);
    if (this.seen.samples !== samples) this.sample(run, run.samples.at(-1)?.step).catch(complain);
    text(p.said, run.said.join("\n"));
    this.seen = { state: run.state, actions, points, samples };
  }

  plot() {
    const [box, run] = [this.part.chart, this.run];
    if (!run || !box.clientWidth) return;
    const begun = run.curve.length || run.losses.length;
    box.replaceChildren(begun ? chart(run, box.clientWidth, box.clientHeight) : h("p", { class: "hint" }, "The curve begins with the first steps."));
  }

  act(run, going) {
    this.part.actions.replaceChildren(
      ...[
        run.playable && h("a", { class: "button primary", href: `#/play?model=${run.id}` }, icon("play"), h("span", {}, "Play with it")),
        going && button("Stop", trying(async () => {
          await api.call(`/runs/${run.id}/stop`, { method: "POST" });
          say("Stopping; what was learned is kept.");
        }), { image: "stop", id: "run-stop" }),
        (run.state === "stopped" || run.state === "failed") && button("Resume", trying(async () => {
          await api.call(`/runs/${run.id}/resume`, { method: "POST" });
          this.unfollow();
          await this.look();
        }), { image: "again", id: "run-resume" }),
        run.report && h("a", { class: "button", href: `${api.API}/runs/${run.id}/report`, target: "_blank", rel: "noopener" }, icon("open"), h("span", {}, "Report")),
        !going && button("Delete", trying(() => this.remove(run)), { image: "trash" }),
      ].filter(Boolean),
    );
  }

  /** The sample after an evaluation, and a choice of the others. */
  async sample(run, step) {
    const box = this.part.samples;
    if (step === undefined) {
      box.replaceChildren(h("p", { class: "hint" }, GOING.has(run.state) ? "After every evaluation, 15 seconds are improvised here." : "No samples were made while it trained. Press “Play with it” to hear the model."));
      return;
    }
    const { notes, seconds } = await api.call(`/runs/${run.id}/samples/${step}`);
    if (box !== this.part.samples) return;
    const choice = h("select", { id: "sample-step", onchange: (event) => this.sample(run, Number(event.target.value)).catch(complain) }, ...run.samples.map((each) => h("option", { value: each.step, selected: each.step === step }, `After step ${each.step.toLocaleString("en-GB")}`)));
    box.replaceChildren(h("div", { class: "field inline" }, h("label", { for: "sample-step" }, "Sample"), choice), clip({ name: `the sample after step ${step}`, sound: `/runs/${run.id}/samples/${step}/sound`, notes, seconds }));
  }

  async remove(run) {
    if (!(await ask("Delete this run?", `“${run.name}”, its model and its report are removed. Pieces that were kept stay.`, "Delete"))) return;
    await api.remove(`/runs/${run.id}`);
    toast(`“${run.name}” was deleted.`);
    this.chosen = null;
    await this.look();
  }
}
