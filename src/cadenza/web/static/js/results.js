/** The view of results: runs side by side, and the pieces that were kept. */

import * as api from "./api.js";
import { clip } from "./clip.js";
import { counted, lasting } from "./notes.js";
import { ask, button, h, icon, say, set, text, toast, trying } from "./ui.js";

const POLL_MILLISECONDS = 1500;
const MOST_RUNS = 16;
const longest = ({ longest: own, human }) => `At most ${counted(own, "note")} on end are as in the music it learned from${human === null ? "" : `; in unseen human pieces, ${human}`}.`;

export class Results {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.pieces = new Map();
    this.picked = new Set();
    this.runs = h("div", {});
    this.table = h("div", { class: "comparison" });
    this.kept = h("div", { class: "pieces" });
    section.append(
      h("header", { class: "head" }, h("h1", { id: "title-results" }, "Results"), h("p", { class: "lead" }, "What was learned, and what was kept.")),
      h("section", { class: "card", "aria-labelledby": "results-runs" }, h("h2", { id: "results-runs" }, "Runs"), this.runs, this.table),
      h("section", { "aria-labelledby": "results-kept" }, h("h2", { id: "results-kept", class: "above" }, "Kept pieces"), this.kept),
    );
  }

  async enter() {
    this.shown = true;
    await Promise.all([this.showRuns(), this.showKept()]);
  }

  leave() {
    this.shown = false;
    clearTimeout(this.timer);
  }

  async showRuns() {
    const runs = (await api.call("/runs")).filter((run) => run.bits_per_note !== null || run.playable);
    runs.sort((one, other) => (one.bits_per_note ?? Infinity) - (other.bits_per_note ?? Infinity));
    for (const id of this.picked) if (!runs.some((run) => run.id === id)) this.picked.delete(id);
    if (!runs.length) {
      this.runs.replaceChildren(h("p", { class: "hint" }, "No run has been evaluated yet. ", h("a", { href: "#/train" }, "Train a model"), " and it is listed here."));
      this.table.replaceChildren();
      return;
    }
    const rows = runs.map((run) =>
      h(
        "tr",
        {},
        h("td", { class: "tick" }, h("label", { class: "check" }, h("input", { type: "checkbox", checked: this.picked.has(run.id), "aria-label": `Compare ${run.name}`, onchange: (event) => this.pick(run.id, event.target) }))),
        h("th", { scope: "row" }, run.name),
        h("td", { class: "number" }, run.bits_per_note === null ? "–" : run.bits_per_note.toFixed(2)),
        h("td", { class: "number wide" }, run.step.toLocaleString("en-GB")),
        h("td", { class: "wide" }, run.state),
        h("td", { class: "act" }, run.state === "done" ? h("a", { class: "button small", href: `${api.API}/runs/${run.id}/report`, target: "_blank", rel: "noopener", "aria-label": `Report of ${run.name}` }, icon("open"), h("span", {}, "Report")) : null),
      ),
    );
    this.runs.replaceChildren(
      h("p", { class: "hint" }, runs.length > 1 ? "Fewer bits per note are better, on the same music. Tick two or more to compare them." : "Fewer bits per note are better. With a second run on the same music, the two can be compared."),
      h("table", { class: "runs" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "hidden" }, "Compare")), h("th", { scope: "col" }, "Run"), h("th", { scope: "col", class: "number" }, "Bits per note"), h("th", { scope: "col", class: "number wide" }, "Steps"), h("th", { scope: "col", class: "wide" }, "State"), h("th", { scope: "col" }, h("span", { class: "hidden" }, "Report")))), h("tbody", {}, ...rows)),
    );
    await this.compare();
  }

  pick(id, box) {
    if (box.checked && this.picked.size >= MOST_RUNS) {
      box.checked = false;
      toast(`At most ${MOST_RUNS} runs are compared at once.`);
      return;
    }
    if (box.checked) this.picked.add(id);
    else this.picked.delete(id);
    trying(() => this.compare())();
  }

  async compare() {
    if (this.picked.size < 2) {
      this.table.replaceChildren();
      return;
    }
    try {
      const { rows } = await api.call(`/compare?runs=${[...this.picked].join(",")}`);
      const bits = (value) => (value === null ? "–" : value.toFixed(3));
      const span = (from, to) => (from === null ? "–" : `${bits(from)} to ${bits(to)}`);
      this.table.replaceChildren(
        h("h3", {}, "Compared on what none of them has learned"),
        h(
          "div",
          { class: "scroll", tabindex: 0, role: "region", "aria-label": "Comparison" },
          h("table", {}, h("thead", {}, h("tr", {}, ...["Run", "Bits per note", "95 % interval", "Difference", "95 % interval", "Verdict"].map((name, i) => h("th", { scope: "col", class: i && i < 5 ? "number" : null }, name)))), h("tbody", {}, ...rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row[0]), h("td", { class: "number" }, bits(row[1])), h("td", { class: "number" }, span(row[2], row[3])), h("td", { class: "number" }, bits(row[4])), h("td", { class: "number" }, span(row[5], row[6])), h("td", {}, row[7] ?? "–"))))),
        ),
      );
      say(`${counted(rows.length, "run")} compared.`);
    } catch (error) {
      if (error.status === 0) throw error;
      this.table.replaceChildren(h("p", { class: "bad", role: "alert" }, error.message));
    }
  }

  async showKept() {
    clearTimeout(this.timer);
    const all = await api.call("/kept");
    all.sort((one, other) => other.made - one.made);
    if (!all.length) {
      this.pieces.clear();
      this.kept.replaceChildren(h("div", { class: "card empty" }, h("h3", {}, "Nothing kept yet"), h("p", {}, "While you play, press Keep (or the key K), and what you heard so far is here, to hear, to take along, and checked against the music it was learned from."), h("a", { class: "button primary", href: "#/play" }, icon("play"), h("span", {}, "Play"))));
      return;
    }
    for (const id of this.pieces.keys()) if (!all.some((piece) => piece.id === id)) this.pieces.delete(id);
    const made = await Promise.all(all.map((piece) => this.piece(piece)));
    if (this.kept.children.length !== made.length || made.some((each, i) => this.kept.children[i] !== each)) this.kept.replaceChildren(...made);
    if (this.shown && all.some((piece) => piece.originality === null)) this.timer = setTimeout(trying(() => this.showKept()), POLL_MILLISECONDS);
  }

  async piece(piece) {
    let found = this.pieces.get(piece.id);
    if (!found) {
      const { notes } = await api.call(`/kept/${piece.id}`);
      const verdict = h("p", { class: "originality" });
      const name = piece.name || `A piece of ${piece.model}`;
      const element = h(
        "article",
        { class: "card piece" },
        h("header", { class: "split" }, h("h3", {}, name), h("span", { class: "hint" }, `${counted(piece.notes, "note")}, ${lasting(piece.seconds)}`)),
        clip({ name, sound: `/kept/${piece.id}/file.mp3`, notes, seconds: piece.seconds }),
        verdict,
        h("p", { class: "hint" }, `Model ${piece.model}, seed ${piece.seed}, ${new Date(1000 * piece.made).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" })}`),
        h("div", { class: "row" }, ...["mid", "mp3", "wav"].map((kind) => this.download(piece, name, kind)), button("Delete", trying(() => this.remove(piece, name)), { kind: "small", image: "trash", "aria-label": `Delete ${name}` })),
      );
      found = { element, verdict };
      this.pieces.set(piece.id, found);
    }
    const { originality } = piece;
    text(found.verdict, originality === null ? "Originality: being checked against the training pieces…" : `${originality.verdict} ${longest(originality)}`);
    found.verdict.classList.toggle("pending", originality === null);
    return found.element;
  }

  download(piece, name, kind) {
    const words = { mid: "MIDI", mp3: "MP3", wav: "WAV" }[kind];
    return button(words, trying(async (event) => {
      const pressed = event.currentTarget;
      set(pressed, { "aria-busy": "true" });
      try {
        await api.save(`/kept/${piece.id}/file.${kind}`, `${name.replace(/[^\p{L}\p{N} ,.-]+/gu, "").trim() || piece.id}.${kind}`);
      } finally {
        set(pressed, { "aria-busy": null });
      }
    }), { kind: "small", image: "down", "aria-label": `${words} of ${name}` });
  }

  async remove(piece, name) {
    if (!(await ask("Delete this piece?", `“${name}” is removed for good.`, "Delete"))) return;
    await api.remove(`/kept/${piece.id}`);
    toast(`“${name}” was deleted.`);
    await this.showKept();
  }
}
