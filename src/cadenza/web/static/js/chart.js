/** Curves of a training as a picture: bits per note against steps. */

import { s } from "./ui.js";

const EDGE = { left: 44, right: 14, top: 24, bottom: 34 };

/** Round values between two, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((each) => each >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

/**
 * @param {{curve: {step: number, train: number|null, validation: number|null}[], losses: [number, number][], steps: number}} run
 * @param {number} width @param {number} height pixels
 * @returns {SVGElement}
 */
export function chart({ curve, losses, steps }, width, height) {
  const values = [...losses.map((each) => each[1]), ...curve.flatMap((each) => [each.train, each.validation])].filter((value) => Number.isFinite(value));
  const sorted = values.slice().sort((one, other) => one - other);
  const [low, high] = sorted.length ? [sorted[0], sorted[Math.min(sorted.length - 1, Math.floor(0.995 * sorted.length))]] : [0, 10];
  const [bottom, top] = [Math.max(0, low - 0.08 * (high - low || 1)), high + 0.05 * (high - low || 1)];
  const most = Math.max(steps || 0, losses.at(-1)?.[0] ?? 0, curve.at(-1)?.step ?? 0, 1);
  const x = (step) => EDGE.left + ((width - EDGE.left - EDGE.right) * step) / most;
  const y = (bits) => EDGE.top + (height - EDGE.top - EDGE.bottom) * (1 - (Math.min(bits, top) - bottom) / (top - bottom));
  const line = (points) => points.map(([step, bits], i) => `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(bits).toFixed(1)}`).join("");
  const points = (key) => curve.filter((each) => Number.isFinite(each[key])).map((each) => [each.step, each[key]]);
  const validation = points("validation");
  const best = validation.reduce((found, each) => (!found || each[1] < found[1] ? each : found), null);
  const words = best ? `Bits per note against steps; validation is best at step ${best[0]} with ${best[1].toFixed(2)} bits.` : "Bits per note against steps; no evaluation yet.";
  return s(
    "svg",
    { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
    ...ticks(bottom, top, 4).flatMap((bits) => [s("path", { class: "grid", d: `M${EDGE.left} ${y(bits)}H${width - EDGE.right}` }), words_(EDGE.left - 8, y(bits) + 4, String(bits), "end")]),
    ...ticks(0, most, width > 500 ? 6 : 4).map((step) => words_(x(step), height - 12, step.toLocaleString("en-GB"), step / most > 0.96 ? "end" : step ? "middle" : "start")),
    words_(2, 12, "bits per note", "start"),
    s("path", { class: "loss", d: line(losses) }),
    s("path", { class: "train", d: line(points("train")) }),
    s("path", { class: "validation", d: line(validation) }),
    ...validation.map(([step, bits]) => s("circle", { class: "validation", cx: x(step), cy: y(bits), r: 3 })),
    best && s("circle", { class: "best", cx: x(best[0]), cy: y(best[1]), r: 6 }),
  );
}

function words_(x, y, words, anchor) {
  const element = s("text", { x, y, "text-anchor": anchor });
  element.textContent = words;
  return element;
}
