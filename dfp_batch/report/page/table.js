// The items: search, filter, sort, pages. The order that is shown here is the one the item view walks through.

import { byId, commandLine, html } from "./elements.js";
import { columns, count, isServed, report, thumbnail, value } from "./data.js";
import { quoted, shown, titleOf } from "./format.js";
import { counted, download, isUnsaved, markOf, setMark, whenMarked } from "./marks.js";
import { change, state } from "./state.js";

const PAGE_ROWS = 50;
const FIGURES = ["psnr_db", "ssim", "gradient_gain", "low_confidence_share", "align_score_after", "mg", "blind_gain_db"];
const MOST_FIGURES = 4;
const STATES = { "": "All", ok: "Done", bad: "Failed", pending: "To do" };
const MARKS = { "": "Any mark", none: "Not marked", accepted: "Accepted", rejected: "Rejected" };

const figures = FIGURES.filter((name) => columns[name]).slice(0, MOST_FIGURES);
const kinds = [...new Set(report.reasons.flatMap((told) => told.map(([kind]) => kind)))].sort();
const texts = columns.pair_id.map((id, index) => `${id}\n${value("error_message", index) ?? ""}\n${value("camera", index) ?? ""}`.toLowerCase());
const sortable = ["doubt", "pair_id", "status", "number", ...Object.keys(columns).filter((name) => isNumeric(name) && !["doubt", "number"].includes(name))];
let order = [];
let rows = new Map();

function isNumeric(name) {
  return typeof columns[name].find((one) => one !== null) === "number";
}

/** Indices of the items that are shown, in their order. */
export function shownItems() {
  return order;
}

export function buildTable() {
  byId("items").replaceChildren(
    html("div", { class: "bar" }, html("h2", { id: "items-title" }, "Items"), html("p", { id: "amount", class: "muted", "aria-live": "polite" }), html("div", { id: "marked" })),
    toolbar(), html("div", { class: "scroll", tabindex: "0", role: "region", "aria-labelledby": "items-title" }, html("table", { id: "table" })), html("nav", { id: "pages", "aria-label": "Pages" }));
  whenMarked((index) => { if (rows.has(index)) showMark(index); showMarked(); });
  showMarked();
}

function toolbar() {
  const search = html("input", { id: "search", type: "search", placeholder: "Search names and messages", "aria-label": "Search names and messages", value: state.q,
    oninput: (event) => change({ q: event.target.value, page: "1" }) });
  return html("div", { class: "toolbar", role: "search" }, search,
    choice("status", "State", Object.entries(STATES)),
    choice("reason", "Reason for doubt", [["", "Any reason"], ["some", "Any doubt at all"], ...kinds.map((kind) => [kind, kind])]),
    choice("mark", "Mark", Object.entries(MARKS)),
    choice("sort", "Sort by", sortable.map((name) => [name, name === "number" ? "Order of the run" : titleOf(name)])),
    html("button", { id: "direction", type: "button", onclick: () => change({ dir: state.dir === "asc" ? "desc" : "asc", page: "1" }) }));
}

function choice(name, label, options) {
  const onchange = (event) => change({ [name]: event.target.value, page: "1" });
  return html("label", { class: "choice" }, html("span", {}, label),
    html("select", { id: `choose-${name}`, onchange }, options.map(([own, text]) => html("option", { value: own }, text))));
}

/** Bring the table to what the state says. */
export function showTable() {
  for (const name of ["status", "reason", "mark", "sort"]) byId(`choose-${name}`).value = state[name];
  const search = byId("search");
  if (search.value !== state.q) search.value = state.q;
  const ascends = state.dir === "asc";
  byId("direction").textContent = ascends ? "↑" : "↓";
  byId("direction").setAttribute("aria-label", ascends ? "Ascending; press for descending" : "Descending; press for ascending");
  order = sorted(filtered());
  const pages = Math.max(1, Math.ceil(order.length / PAGE_ROWS));
  const page = Math.min(pages, Math.max(1, Number(state.page) || 1));
  byId("amount").textContent = order.length === count ? `${count.toLocaleString("en")} items` : `${order.length.toLocaleString("en")} of ${count.toLocaleString("en")} items`;
  byId("table").replaceChildren(...table(order.slice((page - 1) * PAGE_ROWS, page * PAGE_ROWS)));
  byId("pages").replaceChildren(...pager(page, pages));
}

function filtered() {
  const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
  const fits = (index) => isOfState(index) && isOfReason(index) && isOfMark(index) && words.every((word) => texts[index].includes(word));
  return [...columns.pair_id.keys()].filter(fits);
}

function isOfState(index) {
  const own = columns.status[index];
  return state.status === "" || own === state.status || (state.status === "bad" && (own === "error" || own === "quarantined"));
}

function isOfReason(index) {
  const told = report.reasons[index];
  return state.reason === "" || (state.reason === "some" ? told.length > 0 : told.some(([kind]) => kind === state.reason));
}

function isOfMark(index) {
  return state.mark === "" || (markOf(index) || "none") === state.mark;
}

function sorted(indices) {
  const own = columns[state.sort] ?? columns.doubt;
  const sign = state.dir === "asc" ? 1 : -1;
  return indices.sort((one, other) => {
    const [a, b] = [own[one], own[other]];
    if (a === b) return one - other;
    if (a === null) return 1; // what is not known comes last, either way
    if (b === null) return -1;
    return typeof a === "number" ? sign * (a - b) : sign * compareNames.compare(a, b);
  });
}

const compareNames = new Intl.Collator("en", { numeric: true });

function table(indices) {
  rows = new Map(indices.map((index) => [index, row(index)]));
  const heads = [["", "Picture"], ["pair_id", "Item"], ["doubt", "Doubt, and why"], ...figures.map((name) => [name, titleOf(name)]), ["seconds", "Time"], ["", "Mark"]];
  const head = html("thead", {}, html("tr", {}, heads.map(([name, text]) => heading(name, text))));
  if (!indices.length) {
    const empty = count ? "No item is like that. Change the search or the filters." : "The run has no items.";
    return [head, html("tbody", {}, html("tr", {}, html("td", { colspan: heads.length, class: "empty" }, empty)))];
  }
  return [head, html("tbody", {}, [...rows.values()])];
}

function heading(name, text) {
  if (!name || !columns[name]) return html("th", { scope: "col" }, text);
  const isOwn = state.sort === name;
  const turn = () => change({ sort: name, dir: isOwn && state.dir === "desc" ? "asc" : "desc", page: "1" });
  return html("th", { scope: "col", "aria-sort": isOwn ? `${state.dir}ending` : null, class: figures.includes(name) || name === "seconds" ? "number" : null },
    html("button", { type: "button", class: "link", onclick: turn }, text, isOwn ? (state.dir === "asc" ? " ↑" : " ↓") : ""));
}

function row(index) {
  const id = columns.pair_id[index];
  const open = () => change({ item: id });
  const cells = [
    html("td", { class: "thumb" }, picture(index)),
    html("th", { scope: "row" }, html("a", { href: `#${new URLSearchParams({ item: id })}`, onclick: (event) => { event.preventDefault(); open(); } }, id), html("div", { class: "muted" }, about(index))),
    html("td", { class: "why" }, meter(value("doubt", index)), reasons(index)),
    ...figures.map((name) => html("td", { class: "number" }, shown(name, value(name, index)))),
    html("td", { class: "number" }, shown("seconds", value("seconds", index))),
    html("td", { class: "mark" }, markBadge(index)),
  ];
  const place = html("tr", { tabindex: "0", "data-index": index, onclick: (event) => { if (!event.target.closest("a, button")) open(); } }, cells);
  place.addEventListener("keydown", (event) => rowKey(event, index, open));
  return place;
}

function rowKey(event, index, open) {
  if (event.target !== event.currentTarget || event.ctrlKey || event.metaKey || event.altKey) return;
  const steps = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" };
  const marks = { a: "accepted", r: "rejected", u: "" };
  if (event.key in steps) event.currentTarget[steps[event.key]]?.focus();
  else if (event.key in marks) setMark(index, marks[event.key]);
  else if (event.key === "Enter") open();
  else return;
  event.preventDefault();
}

function picture(index) {
  const source = thumbnail(index);
  const none = () => html("div", { class: "none" }, value("status", index) === "ok" ? "no preview" : "no result");
  if (!source) return none();
  const image = html("img", { src: source, alt: "", width: 72, height: 72, loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(none()));
  return image;
}

function about(index) {
  const [width, height] = [value("width_px", index), value("height_px", index)];
  const parts = [value("n_sources", index) && `${value("n_sources", index)} frames`, width && `${width} × ${height} px`];
  return parts.filter(Boolean).join(", ") || value("status", index);
}

/** Doubt as a bar; the number is read out. */
export function meter(doubt) {
  const tone = doubt > 0.66 ? "bad" : doubt > 0.2 ? "warn" : "good";
  return html("div", { class: `meter ${tone}`, role: "img", "aria-label": `doubt ${doubt.toFixed(2)} of 1` }, html("span", { style: `width:${Math.round(100 * doubt)}%` }));
}

function reasons(index) {
  const told = report.reasons[index];
  if (columns.status[index] === "pending") return html("span", { class: "muted" }, "still to do");
  if (!told.length) return html("span", { class: "muted" }, "none");
  const failed = value("error_message", index);
  const one = [...new Map(told.toReversed().map((reason) => [reason[0], reason])).values()].toReversed(); // of a kind the worst
  return html("span", {}, one.slice(0, 3).map(([kind, , text]) => html("span", { class: `badge ${kind === "failed" ? "bad" : "warn"}`, title: text }, kind === "failed" ? value("category", index) ?? "failed" : kind)),
    columns.status[index] !== "ok" && failed ? html("span", { class: "message", title: failed }, failed) : null);
}

function markBadge(index) {
  const mark = markOf(index);
  return mark ? html("span", { class: `badge ${mark === "accepted" ? "good" : "bad"}` }, mark) : html("span", { class: "muted" }, "–");
}

function showMark(index) {
  rows.get(index).querySelector(".mark").replaceChildren(markBadge(index));
}

function showMarked() {
  const { accepted, rejected } = counted();
  if (!accepted && !rejected) return byId("marked").replaceChildren();
  const kept = isServed ? "kept in the run" : isUnsaved() ? `in this browser only; save them, and move the file to ${report.run}/marks.json` : "as in the run";
  const text = html("span", { class: "muted" }, `${accepted} accepted, ${rejected} rejected, ${kept}`);
  const save = html("button", { type: "button", class: "primary", onclick: download }, "Save marks.json");
  byId("marked").replaceChildren(text, ...(isUnsaved() ? [save] : []), ...(rejected ? [commandLine(`dfp-batch retry ${quoted(report.run)} --rejected`)] : []));
}

function pager(page, pages) {
  if (pages === 1) return [];
  const to = (number, text, label) => html("button", { type: "button", disabled: number < 1 || number > pages || number === page, "aria-label": label,
    onclick: () => { change({ page: String(number) }); byId("items").scrollIntoView(); } }, text);
  return [to(1, "«", "First page"), to(page - 1, "‹", "Previous page"), html("span", {}, `Page ${page} of ${pages}`), to(page + 1, "›", "Next page"), to(pages, "»", "Last page")];
}
