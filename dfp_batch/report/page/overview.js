// The upper half of the page: totals, work over time, failures and what to do, distributions.

import { byId, commandLine, html } from "./elements.js";
import { columns, report } from "./data.js";
import { COLUMNS, duration, plain, shown, titleOf } from "./format.js";
import { histogram, histogramChart, timeBars } from "./charts.js";
import { change } from "./state.js";

const DISTRIBUTIONS = ["psnr_db", "ssim", "mg", "gradient_gain", "low_confidence_share", "blind_gain_db",
  "align_score_after", "gain_max", "mga", "valid_share", "consistency", "seconds"];
const FEWEST = 3;
const SHOWN_CAUSES = 50;

export function showOverview() {
  byId("tiles").replaceChildren(...tiles());
  byId("throughput").replaceChildren(...throughput());
  byId("causes").replaceChildren(...causes());
  byId("distributions").replaceChildren(...distributions());
  byId("distributions").hidden = !byId("distributions").childElementCount;
  byId("facts").replaceChildren(...facts());
  byId("written").textContent = `written ${report.written_at.slice(0, 16).replace("T", " ")}`;
}

function tiles() {
  const all = report.totals;
  const bad = all.failed + all.quarantined;
  const rate = all.items_per_hour;
  const speed = rate === null ? null : rate >= 600 ? [plain(Math.round(rate / 60)), "items per minute"] : [plain(Math.round(rate)), "items per hour"];
  return [
    tile(plain(all.ok), `of ${plain(all.items)} done`, "good", "ok"),
    tile(plain(bad), all.quarantined ? `failed, ${plain(all.quarantined)} of them quarantined` : "failed", bad ? "bad" : "", bad ? "bad" : null),
    (all.pending || report.driver) && tile(plain(all.pending), all.running ? `to do, ${plain(all.running)} running` : "still to do", "", "pending"),
    tile(all.gigapixels < 0.1 ? (1000 * all.gigapixels).toFixed(1) : all.gigapixels.toPrecision(3), all.gigapixels < 0.1 ? "megapixels made" : "gigapixels made"),
    tile(duration(all.clock_hours), "on the clock"),
    tile(duration(all.task_hours), "of work, all workers together"),
    speed && tile(...speed),
    all.cost_per_gigapixel !== null && tile(all.cost_per_gigapixel.toPrecision(3), `cost per gigapixel, ${all.cost.toFixed(2)} in all`),
  ].filter(Boolean);
}

function tile(figure, words, tone = "", status = null) {
  const jump = () => { change({ status, page: "1" }); byId("items").scrollIntoView(); };
  const text = status ? html("button", { type: "button", class: "link", onclick: jump }, words) : words;
  return html("div", { class: `tile ${tone}` }, html("dd", {}, figure), html("dt", {}, text));
}

function throughput() {
  const bins = report.throughput;
  if (!bins.length) return [html("figcaption", {}, html("h2", {}, "Work over time")), html("p", { class: "muted" }, "Nothing has ended yet.")];
  const minutes = bins[0].minutes;
  const width = minutes < 2 ? `${Math.round(60 * minutes)} s` : `${plain(Math.round(minutes))} min`;
  const sessions = bins.at(-1).session;
  return [
    html("figcaption", {}, html("h2", {}, "Work over time"),
      html("span", { class: "muted" }, `items per ${width}${sessions > 1 ? `; ${sessions} sessions, one after the other` : ""}`)),
    timeBars(bins),
    html("div", { class: "ends muted" }, html("span", {}, clock(bins[0])), html("span", {}, clock(bins.at(-1)))),
  ];
}

function clock(bin) {
  return new Date(bin.starts_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: bin.minutes < 1 ? "medium" : "short" });
}

function causes() {
  const heading = html("h2", { id: "causes-title" }, "Failures");
  if (!report.causes.length) return [heading, html("p", { class: "muted" }, "None.")];
  const more = report.causes.length - SHOWN_CAUSES;
  return [heading, html("div", { class: "causes", tabindex: "0", role: "region", "aria-labelledby": "causes-title" },
    report.causes.slice(0, SHOWN_CAUSES).map(cause),
    more > 0 && html("p", { class: "muted" }, `and ${plain(more)} more causes: dfp-batch failures RUN tells all`))];
}

function cause(group) {
  const more = group.count - group.pair_ids.length;
  const links = group.pair_ids.map((id) => html("a", { href: `#${new URLSearchParams({ item: id })}`, onclick: (event) => { event.preventDefault(); change({ item: id }); } }, id));
  return html("article", { class: "cause" },
    html("h3", {}, html("span", { class: "badge bad" }, group.category + (group.quarantined ? ", quarantined" : "")), ` ${plain(group.count)} ${group.count === 1 ? "item" : "items"}`),
    html("p", { class: "message" }, group.message),
    html("p", { class: "ids" }, links.flatMap((link, index) => (index ? [", ", link] : [link])), more > 0 ? ` and ${plain(more)} more` : ""),
    html("p", { class: "muted" }, group.advice), commandLine(group.command));
}

function distributions() {
  const shownOnes = DISTRIBUTIONS.map((name) => [name, (columns[name] ?? []).filter((value) => value !== null)])
    .filter(([name, values]) => values.length >= FEWEST && values.some((value) => shown(name, value) !== shown(name, values[0])));
  if (!shownOnes.length) return [];
  return [html("h2", { id: "distributions-title" }, "Distributions"),
    html("div", { class: "histograms" }, shownOnes.map(([name, values]) => distribution(name, values)))];
}

function distribution(name, values) {
  const found = histogram(values);
  const format = (value) => shown(name, value);
  const sort = () => { change({ sort: name, dir: "asc", page: "1" }); byId("items").scrollIntoView(); };
  return html("figure", { class: "card" },
    html("figcaption", {}, html("button", { type: "button", class: "link", onclick: sort, title: `${COLUMNS[name]?.help ?? name}. Sort the items by it` }, titleOf(name)),
      html("span", { class: "muted" }, `median ${format(found.median)}`)),
    histogramChart(titleOf(name), found, format));
}

function facts() {
  return [html("dl", {}, report.facts.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value)))),
    html("p", { class: "muted" }, "Full images are shown with OpenSeadragon 6.1.1 (BSD licence), which is part of this page.")];
}
