// What is told of an item beside its pictures.

import { commandLine, html, svg } from "./elements.js";
import { columns, isServed, report, value } from "./data.js";
import { COLUMNS, bytes, quoted, shown, titleOf } from "./format.js";
import { lossChart, stageBar } from "./charts.js";
import { meter } from "./table.js";

const STAGES = ["prepare", "reconstruct", "publish"];
const KEY_FIGURES = ["psnr_db", "ssim", "mg", "gradient_gain", "low_confidence_share", "valid_share", "blind_gain_db", "align_score_after", "consistency"];
const FLAGS = { reference: "reference frame", identity: "did not move", failed: "left out" };
const FLOORS = { psnr_db: "floor_psnr_db", ssim: "floor_ssim", mg: "floor_mg", consistency: "floor_consistency" };

export function panels(index, detail) {
  return [outcome(index), figures(index), registration(detail), times(index), sources(detail), again(index), wholeRow(index)].filter(Boolean);
}

function panel(title, ...children) {
  return html("section", { class: "panel" }, html("h3", {}, title), children);
}

function outcome(index) {
  const told = report.reasons[index];
  const failed = value("error_message", index);
  const list = told.map(([kind, severity, text]) => html("li", {}, html("strong", {}, kind), ` – ${text}`, html("span", { class: "muted" }, ` (${severity.toFixed(2)})`)));
  return panel("Doubt", html("div", { class: "doubt" }, meter(value("doubt", index)), html("span", {}, value("doubt", index).toFixed(2))),
    told.length ? html("ul", { class: "reasons" }, list) : html("p", { class: "muted" }, columns.status[index] === "pending" ? "It is still to do." : "Nothing speaks against this result, as far as its row tells."),
    failed && html("p", { class: "message bad" }, failed));
}

function figures(index) {
  const names = KEY_FIGURES.filter((name) => value(name, index) !== null);
  if (!names.length) return null;
  const file = isServed && html("p", {}, html("a", { href: `items/${value("number", index)}/result`, download: true }, `Download ${value("file", index)}`), html("span", { class: "muted" }, ` ${shown("output_bytes", value("output_bytes", index))}`));
  return panel("Result", file, html("dl", { class: "figures" }, names.map((name) => html("div", { title: COLUMNS[name]?.help ?? name },
    html("dt", {}, titleOf(name)), html("dd", {}, shown(name, value(name, index)), floor(name, index))))));
}

function floor(name, index) {
  const own = FLOORS[name] ? value(FLOORS[name], index) : null;
  return own === null ? null : html("span", { class: "muted" }, ` floor ${shown(name, own)}`);
}

function registration(detail) {
  const frames = (detail?.frames ?? []).filter((frame) => frame.flag);
  if (!frames.length) return null;
  const rows = frames.map((frame, number) => html("tr", { class: frame.flag === "failed" ? "bad" : null },
    html("th", { scope: "row" }, number + 1), html("td", { class: "word" }, FLAGS[frame.flag] ?? motion(frame, detail)),
    html("td", { class: "number" }, frame.score_after?.toFixed(3) ?? "–"), html("td", { class: "number" }, gain(frame))));
  return panel("Registration", html("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Registration of every frame" }, html("table", { class: "small" },
    html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "Frame"), html("th", { scope: "col" }, "Moved"), html("th", { scope: "col", class: "number" }, "Fit"), html("th", { scope: "col", class: "number" }, "Gain"))), html("tbody", {}, rows))));
}

/** Shift of the middle, rotation and magnification of a frame, and an arrow. */
function motion(frame, detail) {
  const [[a, b], [c, d]] = frame.warp;
  const [dx, dy] = displaced(frame.warp, (detail.width - 1) / 2, (detail.height - 1) / 2);
  const [turn, size] = [Math.atan2(c - b, a + d) * 180 / Math.PI, Math.sqrt(Math.abs(a * d - b * c))];
  return html("span", {}, arrow(dx, dy), ` ${Math.hypot(dx, dy).toFixed(1)} px, ${turn.toFixed(2)}°, ×${size.toFixed(4)}`);
}

function arrow(dx, dy) {
  const angle = Math.atan2(dy, dx) * 180 / Math.PI;
  return svg("svg", { class: "arrow", viewBox: "-8 -8 16 16", width: 14, height: 14, "aria-hidden": "true" },
    svg("path", { transform: `rotate(${angle})`, d: "M-6 0H5M1-4 6 0 1 4" }));
}

/** How far a point of the reference frame lies elsewhere in a frame, in pixels. */
export function displaced(warp, x, y) {
  const [u, v, w] = warp.map(([p, q, r]) => p * x + q * y + r);
  return [u / w - x, v / w - y];
}

/** Of the mean of the channels; each of them on demand. */
function gain(frame) {
  const own = frame.gains ?? [];
  if (!own.length) return "–";
  const mean = own.reduce((all, one) => all + one, 0) / own.length;
  return html("span", { title: own.map((one) => one.toFixed(4)).join(", ") }, mean.toFixed(3));
}

function times(index) {
  const stages = STAGES.map((name) => [name, value(`t_${name}_s`, index)]).filter(([, seconds]) => seconds !== null);
  const [first, last, steps] = ["loss_first", "loss_last", "iterations"].map((name) => value(name, index));
  const loss = first !== null && steps > 1 ? html("p", { class: "muted" }, `Loss ${shown("", first)} → ${shown("", last)} in ${steps} iterations${value("stop_reason", index) === "plateau" ? ", then a plateau" : ""}`) : null;
  const curve = (value("loss_curve", index) ?? []).filter((one) => one !== null);
  if (!stages.length && !loss) return null;
  return panel("Time", stageBar(stages), loss, loss && curve.length > 1 ? lossChart(curve, steps, (one) => shown("", one)) : null);
}

function sources(detail) {
  const names = [...new Set((detail?.frames ?? []).map((frame) => frame.source))];
  if (!names.length) return null;
  return panel("Sources", html("ol", { class: "sources" }, names.map((name) => html("li", {}, name))));
}

function again(index) {
  const command = `dfp-batch retry ${quoted(report.run)} --pair ${quoted(columns.pair_id[index])}`;
  return panel("Make it anew, alone", commandLine(command));
}

function wholeRow(index) {
  const names = Object.keys(columns).filter((name) => value(name, index) !== null && !["number", "folder", "loss_curve"].includes(name));
  const cells = names.map((name) => html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, name.endsWith("_bytes") ? bytes(value(name, index)) : String(value(name, index)))));
  return html("details", { class: "panel" }, html("summary", {}, "Its row"), html("table", { class: "small" }, html("tbody", {}, cells)));
}
