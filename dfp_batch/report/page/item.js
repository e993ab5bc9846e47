// One item: its pictures at full size, what is told of it, and the verdict of a reviewer.

import { byId, commandLine, html, say } from "./elements.js";
import { besidePage, columns, details, isServed, placeOf, report, thumbnail, value } from "./data.js";
import { quoted } from "./format.js";
import { markOf, setMark, whenMarked } from "./marks.js";
import { displaced, panels } from "./panels.js";
import { change, state } from "./state.js";
import { shownItems } from "./table.js";
import { Viewer } from "./viewer.js";

const MAPS = ["decision", "confidence", "difference"];
const SHOWN_BY_BROWSERS = /\.(png|jpe?g|webp)$/i;
const ARROWS_ACROSS = 9;
const ARROW_SHARE = 0.07; // of the width, of the longest arrow
const chosen = { map: "", opacity: 0.55, arrows: false }; // stays from item to item
let open = null;

/** Bring the dialog to what the state says. */
export function showItem() {
  const dialog = byId("item");
  const index = placeOf(state.item);
  if (state.item && index < 0) say(`No item ${state.item} is listed here`, true);
  if (index < 0) return close(dialog);
  if (open?.index === index) return;
  open?.viewer?.destroy();
  const current = (open = { index, viewer: null, pictures: [], detail: null, frame: 0 });
  if (!dialog.open) dialog.showModal();
  dialog.replaceChildren(header(index), html("div", { class: "body" }, html("div", { class: "stage-box" }, html("div", { id: "view", class: "view" }), html("div", { id: "controls", class: "controls" })), html("div", { id: "panels", class: "panels", tabindex: "0", role: "region", "aria-label": "What is known of it" })));
  byId("panels").replaceChildren(...panels(index, null));
  details(index).then((detail) => { if (open === current) fill(current, detail); })
    .catch((error) => { if (open === current) { say(error.message, true); fill(current, null); } });
}

function close(dialog) {
  open?.viewer?.destroy();
  open = null;
  if (dialog.open) dialog.close();
}

function header(index) {
  const id = columns.pair_id[index];
  const order = shownItems();
  const at = order.indexOf(index);
  return html("header", { class: "bar" },
    html("button", { type: "button", class: "quiet", onclick: () => step(-1), disabled: at <= 0, "aria-label": "Previous item" }, "‹"),
    html("button", { type: "button", class: "quiet", onclick: () => step(1), disabled: at < 0 || at + 1 >= order.length, "aria-label": "Next item" }, "›"),
    html("h2", { id: "item-title" }, id), html("span", { class: "muted" }, at < 0 ? "" : `${at + 1} of ${order.length}`),
    html("div", { class: "verdict", id: "verdict" }, verdict(index)),
    html("button", { type: "button", class: "quiet", onclick: () => change({ item: "" }), "aria-label": "Close" }, "✕"));
}

function verdict(index) {
  const mark = markOf(index);
  const button = (own, text, key) => html("button", { type: "button", class: `mark-${own}`, "aria-pressed": String(mark === own), onclick: () => setMark(index, mark === own ? "" : own) }, text, " ", html("kbd", {}, key));
  return [button("accepted", "Accept", "a"), button("rejected", "Reject", "r")];
}

whenMarked((index) => { if (open?.index === index) byId("verdict").replaceChildren(...verdict(index)); });

/** Go to another item in the order of the table. */
export function step(by) {
  const order = shownItems();
  const next = order[order.indexOf(open.index) + by];
  if (next !== undefined) change({ item: columns.pair_id[next] });
}

function fill(current, detail) {
  current.detail = detail;
  current.pictures = detail ? detail.pictures.map((one) => ({ ...one, full: fullFile(current.index, one) })) : lying(current.index);
  byId("panels").replaceChildren(...problems(current), ...panels(current.index, detail));
  const usable = current.pictures.filter((one) => one.src || one.tiles);
  if (!usable.length) return byId("view").replaceChildren(html("p", { class: "empty" }, columns.status[current.index] === "ok" ? "Its pictures are not in this page." : "There is no picture of it."));
  current.viewer = new Viewer(byId("view"), (picture, isLost) => { if (isLost) say(`${picture.title} cannot be shown`, true); });
  current.viewer.opacity = chosen.opacity;
  byId("controls").replaceChildren(...controls(current, usable));
  draw(current);
}

/** Where the page lies in the run directory, the result itself is there. */
function fullFile(index, picture) {
  const file = value("file", index);
  return !isServed && picture.id === "result" && file && SHOWN_BY_BROWSERS.test(file) ? besidePage(index, file) : null;
}

/** Without a server, of an item whose pictures are not in the page: what lies in the run. */
function lying(index) {
  const source = thumbnail(index);
  if (!source) return [];
  const result = { id: "result", title: "Result", src: source };
  return [{ ...result, full: fullFile(index, result) }, { id: "decision", title: "Decision", src: besidePage(index, "decision.png") }, { id: "confidence", title: "Confidence", src: besidePage(index, "confidence.png") }];
}

function problems(current) {
  const told = current.pictures.filter((one) => one.problem);
  const lines = told.map((one) => html("p", { class: "note" }, `${one.title}: ${one.problem}`));
  const serve = `dfp-batch serve ${quoted(report.run)}`;
  if (isServed) return lines;
  const text = current.detail ? "Frames are small pictures here. All pictures at full size:" : "The frames of this item and its registration are not in this page. They are shown by";
  return [...lines, html("div", { class: "hint" }, html("p", { class: "muted" }, text), commandLine(serve))];
}

function controls(current, usable) {
  const frames = usable.filter((one) => one.id.startsWith("frame-"));
  const plain = usable.filter((one) => !MAPS.includes(one.id));
  const maps = usable.filter((one) => MAPS.includes(one.id));
  const has = (id) => plain.some((one) => one.id === id);
  current.under = frames[0]?.id ?? plain[0]?.id ?? "";
  current.over = has("result") && current.under !== "result" ? "result" : "";
  if (chosen.map && !maps.some((one) => one.id === chosen.map)) chosen.map = "";
  const pick = (id, label, options, get, set) => html("label", { class: "choice" }, html("span", {}, label),
    html("select", { id, onchange: (event) => { set(event.target.value); draw(current); } }, options.map(([own, text]) => html("option", { value: own, selected: own === get }, text))));
  const named = (list) => list.map((one) => [one.id, one.title]);
  return [
    frames.length > 1 && html("label", { class: "choice wide" }, html("span", {}, "Through the stack"),
      html("input", { id: "frame", type: "range", min: 0, max: frames.length - 1, step: 1, value: 0, "aria-valuetext": frames[0].title, oninput: (event) => { current.under = frames[event.target.value].id; draw(current); } })),
    pick("under", "Left", named(plain), current.under, (id) => { current.under = id; }),
    pick("over", "Right", [["", "Nothing"], ...named(plain)], current.over, (id) => { current.over = id; }),
    maps.length && pick("map", "Over both", [["", "No map"], ...named(maps)], chosen.map, (id) => { chosen.map = id; }),
    maps.length && html("label", { class: "choice" }, html("span", {}, "Strength"), html("input", { id: "opacity", type: "range", min: 0, max: 1, step: 0.05, value: chosen.opacity, oninput: (event) => { chosen.opacity = Number(event.target.value); current.viewer.setOpacity(chosen.opacity); } })),
    current.detail?.frames.some((frame) => frame.warp) && html("label", { class: "check" }, html("input", { id: "arrows", type: "checkbox", checked: chosen.arrows, onchange: (event) => { chosen.arrows = event.target.checked; draw(current); } }), html("span", { id: "arrows-text" }, "Arrows")),
    html("span", { class: "buttons", role: "group", "aria-label": "Zoom" }, zoomButton("−", "Zoom out", () => current.viewer.zoom(0.67)), zoomButton("+", "Zoom in", () => current.viewer.zoom(1.5)), zoomButton("1:1", "One pixel of the picture is one of the screen", () => current.viewer.actualSize()), zoomButton("Fit", "The whole picture", () => current.viewer.fit())),
    html("div", { id: "legend", class: "map-legend" }),
  ].filter(Boolean);
}

function zoomButton(text, label, onclick) {
  return html("button", { type: "button", onclick, "aria-label": label, title: label }, text);
}

function draw(current) {
  const find = (id) => current.pictures.find((one) => one.id === id && (one.src || one.tiles)) ?? null;
  const [under, over, map] = [find(current.under), find(current.over), find(chosen.map)];
  current.viewer.show(under, over, map);
  byId("under").value = current.under;
  const slider = byId("frame");
  if (slider && under?.id.startsWith("frame-")) {
    const frames = current.pictures.filter((one) => one.id.startsWith("frame-") && (one.src || one.tiles));
    slider.value = frames.indexOf(under);
    slider.setAttribute("aria-valuetext", under.title);
  }
  byId("legend").replaceChildren(...legend(map));
  showArrows(current, under);
}

function legend(map) {
  if (!map?.legend) return [];
  const stops = map.legend.colours;
  const hard = stops.length <= 12 && map.id === "decision";
  const list = hard ? stops.flatMap((colour, at) => [`${colour} ${100 * at / stops.length}%`, `${colour} ${100 * (at + 1) / stops.length}%`]) : stops;
  return [html("span", {}, map.legend.ends[0]), html("span", { class: "ramp", style: `background:linear-gradient(90deg, ${list.join(", ")})`, "aria-hidden": "true" }), html("span", {}, map.legend.ends[1])];
}

/** Where points of the reference frame lie in the left frame, as arrows. */
function showArrows(current, under) {
  const label = byId("arrows-text");
  const frame = under?.id.startsWith("frame-") ? current.detail?.frames[Number(under.id.slice(6))] : null;
  if (!label) return;
  label.textContent = "Registration as arrows";
  if (!chosen.arrows || !frame?.warp) return current.viewer.setArrows([]);
  const { width, height, window: [top, left, , wide] } = current.detail;
  const list = [];
  const gap = width / ARROWS_ACROSS;
  for (let y = gap / 2; y < height; y += gap) for (let x = gap / 2; x < width; x += gap) list.push([(x - left) / wide, (y - top) / wide, ...displaced(frame.warp, x, y).map((one) => one / wide)]);
  const longest = Math.max(...list.map(([, , dx, dy]) => Math.hypot(dx, dy)));
  if (longest * width < 0.01) { label.textContent = "Registration: it did not move"; return current.viewer.setArrows([]); }
  const times = Number((ARROW_SHARE / longest).toPrecision(2));
  label.textContent = `Registration as arrows, × ${times}, longest ${(longest * wide).toFixed(1)} px`;
  current.viewer.setArrows(list, times);
}

/** Keys while an item is open; true if the key was one of them. */
export function itemKey(event) {
  const isField = event.target.closest("select, input, .panels, .divider, code");
  const key = event.key;
  if (key === "a" || key === "r" || key === "u") setMark(open.index, { a: "accepted", r: "rejected", u: "" }[key]);
  else if (isField && key.startsWith("Arrow")) return false;
  else if (key === "ArrowRight" || key === "ArrowLeft") step(key === "ArrowRight" ? 1 : -1);
  else if ((key === "ArrowUp" || key === "ArrowDown") && byId("frame")) turn(key === "ArrowDown" ? 1 : -1);
  else if (key === "+" || key === "-") open.viewer?.zoom(key === "+" ? 1.5 : 0.67);
  else if (key === "0") open.viewer?.fit();
  else return false;
  return true;
}

function turn(by) {
  const slider = byId("frame");
  slider.value = Number(slider.value) + by;
  slider.dispatchEvent(new Event("input"));
}
