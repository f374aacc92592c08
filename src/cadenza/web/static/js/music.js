/** The view of music: bring files, and see what became of each. */

import * as api from "./api.js";
import { clip } from "./clip.js";
import { counted, lasting } from "./notes.js";
import { ask, button, h, icon, relist, say, set, text, toast, trying } from "./ui.js";

const POLL_MILLISECONDS = 700;
const ROWS = 100;
const MOST_FILES = 10_000;
const MOST_BYTES = 500 * 2 ** 20;
const FILE_BYTES = 64 * 2 ** 20;
const STATES = { reading: "Being read", ready: "Ready", failed: "Failed" };

export class Music {
  /** @param {HTMLElement} section */
  constructor(section) {
    this.section = section;
    this.chosen = null;
    this.filter = "all";
    this.build();
  }

  build() {
    this.filesInput = h("input", { type: "file", multiple: true, class: "hidden", tabindex: -1, accept: ".mid,.midi,.abc,.zip,.gz,.tgz", "aria-label": "Files or an archive", id: "music-files" });
    this.folderInput = h("input", { type: "file", multiple: true, webkitdirectory: true, class: "hidden", tabindex: -1, "aria-label": "A folder", id: "music-folder" });
    for (const input of [this.filesInput, this.folderInput]) {
      input.addEventListener("change", trying(async () => {
        const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
        input.value = "";
        await this.send(files);
      }));
    }
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Upload", hidden: true });
    this.sent = h("p", { class: "hint" }, "MIDI files, a folder of them, or a .zip or .tar.gz; at most 500 MiB.");
    this.zone = h(
      "div",
      { class: "zone card" },
      h("p", { class: "big" }, "Drop music here"),
      h("div", { class: "row center" }, button("Choose files", () => this.filesInput.click(), { kind: "primary", image: "file" }), button("Choose a folder", () => this.folderInput.click(), { image: "folder" })),
      this.sent,
      this.bar,
      this.filesInput,
      this.folderInput,
    );
    for (const kind of ["dragenter", "dragover"]) this.section.addEventListener(kind, (event) => (event.preventDefault(), this.zone.classList.add("over")));
    this.section.addEventListener("dragleave", (event) => this.section.contains(event.relatedTarget) || this.zone.classList.remove("over"));
    this.section.addEventListener("drop", trying(async (event) => {
      event.preventDefault();
      this.zone.classList.remove("over");
      await this.send(await walked(event.dataTransfer));
    }));
    this.list = h("ul", { class: "list", "aria-label": "Music" });
    this.detail = h("div", { class: "detail" });
    this.section.append(
      h("header", { class: "head" }, h("h1", { id: "title-music" }, "Music"), h("p", { class: "lead" }, "What a model is to learn from. Nothing leaves this machine.")),
      h("div", { class: "columns" }, h("div", { class: "side" }, this.zone, this.list), this.detail),
    );
  }

  async enter() {
    this.shown = true;
    await this.look();
  }

  leave() {
    this.shown = false;
    clearTimeout(this.timer);
  }

  /** @param {{file: File, path: string}[]} files */
  async send(files) {
    const good = files.filter(({ path }) => !/(^|\/)\.|__MACOSX/.test(path));
    if (!good.length) throw new Error("There is no file in it.");
    if (good.length > MOST_FILES) throw new Error(`These are ${counted(good.length, "file")}; at most ${counted(MOST_FILES, "file")} can be brought at once.`);
    const big = good.find(({ file }) => file.size > FILE_BYTES && !/\.(zip|gz|tgz)$/i.test(file.name));
    if (big) throw new Error(`${big.path} is larger than 64 MiB.`);
    if (good.reduce((sum, { file }) => sum + file.size, 0) > MOST_BYTES) throw new Error("These are more than 500 MiB; bring fewer at once.");
    const [top] = good[0].path.split("/");
    const form = new FormData();
    form.append("name", good[0].path.includes("/") ? top : good.length === 1 ? top.replace(/(\.tar)?\.\w+$/, "") : counted(good.length, "file"));
    for (const { file, path } of good) form.append("files", file, path);
    set(this.bar, { hidden: false });
    try {
      const { id } = await api.upload("/music", form, (share) => {
        this.bar.value = share;
        text(this.sent, share < 1 ? `Sending ${counted(good.length, "file")}: ${Math.floor(100 * share)} %` : "Looking at what came…");
      });
      this.chosen = id;
      say(`${counted(good.length, "file")} sent.`);
    } finally {
      set(this.bar, { hidden: true });
      text(this.sent, "MIDI files, a folder of them, or a .zip or .tar.gz; at most 500 MiB.");
    }
    await this.look();
  }

  async look() {
    clearTimeout(this.timer);
    const all = await api.call("/music");
    this.all = all;
    if (!all.some((each) => each.id === this.chosen)) this.chosen = all.at(-1)?.id ?? null;
    relist(this.list, all.map((each) => this.item(each)));
    await this.showChosen();
    if (this.shown && all.some((each) => each.state === "reading")) this.timer = setTimeout(trying(() => this.look()), POLL_MILLISECONDS);
  }

  item(each) {
    const words = each.state === "ready" ? `${counted(each.kept, "piece")}, ${lasting(60 * each.minutes)}` : each.state === "reading" ? "Being read…" : "Nothing usable";
    return h(
      "li",
      { "data-id": each.id },
      h("button", { type: "button", class: "item", "aria-current": each.id === this.chosen ? "true" : null, onclick: trying(() => this.choose(each.id)) }, h("b", {}, each.name), h("span", { class: "hint" }, words)),
    );
  }

  async choose(id) {
    this.chosen = id;
    this.seen = null;
    await this.look();
    if (innerWidth < 800) this.detail.scrollIntoView({ block: "start" });
  }

  async showChosen() {
    if (!this.chosen) {
      this.seen = null;
      this.detail.replaceChildren(
        h("div", { class: "card empty" }, h("h2", {}, "No music yet"), h("p", {}, "Bring a few dozen pieces of one kind: études for a violin, chorales, dance tunes. A model learns from them in minutes, and every file that cannot be used is named with the reason.")),
      );
      return;
    }
    const music = await api.call(`/music/${this.chosen}`);
    const key = JSON.stringify([music.id, music.state, music.findings.length, music.name]);
    if (this.seen === key) return;
    this.seen = key;
    if (music.state === "ready") say(`${music.name}: ${counted(music.kept, "file")} of ${music.files} kept.`);
    this.music = music;
    this.limit = ROWS;
    this.table = h("div", {});
    this.rollBox = h("div", { class: "rollbox" });
    this.detail.replaceChildren(
      h(
        "article",
        { class: "card" },
        h("header", { class: "split" }, h("h2", {}, music.name), h("span", { class: `badge ${music.state}` }, STATES[music.state])),
        music.error && h("p", { class: "bad" }, music.error),
        music.state === "reading" && h("div", {}, h("progress", { "aria-label": "Reading" }), h("p", { class: "hint" }, "Every file is read; this takes seconds for hundreds of files.")),
        music.state === "ready" && facts([["Files kept", `${music.kept.toLocaleString("en-GB")} of ${music.files.toLocaleString("en-GB")}`], ["Works", music.works.toLocaleString("en-GB")], ["Notes", music.notes.toLocaleString("en-GB")], ["Music", lasting(60 * music.minutes)]]),
        h(
          "div",
          { class: "row" },
          music.state === "ready" && h("a", { class: "button primary", href: `#/train?music=${music.id}` }, icon("train"), h("span", {}, "Train on it")),
          music.state !== "reading" && button("Delete", trying(() => this.remove(music)), { image: "trash" }),
        ),
      ),
      ...(music.findings.length ? [this.findings()] : []),
    );
    if (music.findings.length) this.fill();
  }

  findings() {
    const kept = this.music.findings.filter((each) => each.verdict === "kept").length;
    const counts = { all: this.music.findings.length, kept, "left out": this.music.findings.length - kept };
    const choices = Object.keys(counts).map((each) =>
      h("label", { class: "segment" }, h("input", { type: "radio", name: "findings", value: each, checked: each === this.filter, onchange: () => ((this.filter = each), (this.limit = ROWS), this.fill()) }), h("span", {}, `${each[0].toUpperCase()}${each.slice(1)} ${counts[each].toLocaleString("en-GB")}`)),
    );
    return h("article", { class: "card" }, h("header", { class: "split" }, h("h2", {}, "File by file"), h("fieldset", { class: "segments" }, h("legend", { class: "hidden" }, "Which files"), ...choices)), this.rollBox, this.table);
  }

  fill() {
    const found = this.music.findings.filter((each) => this.filter === "all" || each.verdict === this.filter);
    const rows = found.slice(0, this.limit).map((each) =>
      h(
        "tr",
        {},
        h("th", { scope: "row" }, each.verdict === "kept" ? h("button", { type: "button", class: "link", onclick: trying(() => this.picture(each)) }, leaf(each.file)) : leaf(each.file), folder(each.file) && h("span", { class: "folder", title: each.file }, folder(each.file)), each.verdict !== "kept" && each.reason && h("span", { class: "reason" }, cause(each))),
        h("td", {}, h("span", { class: `verdict ${each.verdict === "kept" ? "good" : "warm"}` }, each.verdict)),
        h("td", { class: `number${each.notes ? "" : " none"}` }, each.notes ? each.notes.toLocaleString("en-GB") : "–"),
        h("td", { class: `number${each.seconds ? "" : " none"}` }, each.seconds ? lasting(each.seconds) : "–"),
      ),
    );
    this.table.replaceChildren(
      found.length
        ? h("table", { class: "findings" }, h("thead", {}, h("tr", {}, ...["File", "Verdict", "Notes", "Length"].map((name, i) => h("th", { scope: "col", class: i > 1 ? "number" : null }, name)))), h("tbody", {}, ...rows))
        : h("p", { class: "hint" }, this.filter === "kept" ? "No file was kept." : "No file was left out."),
    );
    if (found.length > this.limit) this.table.append(button(`Show ${Math.min(ROWS, found.length - this.limit)} more`, () => ((this.limit += ROWS), this.fill())));
  }

  async picture(finding) {
    const { notes, seconds } = await api.call(`/music/${this.music.id}/notes?file=${encodeURIComponent(finding.file)}`);
    const shown = clip({ name: finding.file, sound: null, notes, seconds });
    this.rollBox.replaceChildren(h("h3", {}, leaf(finding.file)), shown, h("p", { class: "hint" }, `${counted(finding.notes, "note")}, ${lasting(seconds)}`));
    this.rollBox.scrollIntoView({ block: "nearest" });
  }

  async remove(music) {
    if (!(await ask("Delete this music?", `“${music.name}” is removed from the studio’s folder. Runs that learned from it stay.`, "Delete"))) return;
    await api.remove(`/music/${music.id}`);
    toast(`“${music.name}” was deleted.`);
    this.chosen = this.seen = null;
    await this.look();
  }
}

const leaf = (path) => path.slice(path.lastIndexOf("/") + 1);
/** The reason without the name of the file, which stands above it. */
const cause = ({ file, reason }) => [file, leaf(file)].reduce((words, name) => (words.startsWith(`${name}: `) ? words.slice(name.length + 2) : words), reason);
const folder = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));

/** Figures with their names. @param {[string, string][]} pairs */
export const facts = (pairs) => h("dl", { class: "facts" }, ...pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/** All files of what was dropped, folders and all. @param {DataTransfer} dropped */
async function walked(dropped) {
  const entries = [...dropped.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...dropped.files].map((file) => ({ file, path: file.name }));
  const found = [];
  const walk = async (entry, path) => {
    if (found.length > MOST_FILES) return;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      found.push({ file, path: path + file.name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!batch.length) return;
      for (const child of batch) await walk(child, `${path}${entry.name}/`);
    }
  };
  for (const entry of entries) await walk(entry, "");
  return found;
}
