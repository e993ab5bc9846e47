// The page comes together here; keys and colours are its own.

import { byId, html } from "./elements.js";
import { count } from "./data.js";
import { itemKey, showItem } from "./item.js";
import { showOverview } from "./overview.js";
import { change, state, whenChanged } from "./state.js";
import { buildTable, showTable } from "./table.js";

const THEME = "dfp-batch theme";
const KEYS = [["/", "search"], ["↑ ↓", "from item to item in the table; through the stack of an item"], ["Enter", "open an item"], ["← →", "previous, next item"],
  ["a", "accept"], ["r", "reject"], ["u", "take the mark back"], ["+ − 0", "zoom in, out, the whole picture"], ["Esc", "close"], ["?", "these keys"]];
let shownTable = "";

function show() {
  const wanted = JSON.stringify({ ...state, item: "" });
  if (wanted !== shownTable) showTable();
  shownTable = wanted;
  showItem();
}

function buildHelp() {
  const dialog = byId("help");
  dialog.replaceChildren(html("header", { class: "bar" }, html("h2", { id: "help-title" }, "Keys"), html("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => dialog.close() }, "✕")),
    html("dl", { class: "keys" }, KEYS.map(([key, text]) => html("div", {}, html("dt", {}, html("kbd", {}, key)), html("dd", {}, text)))));
  byId("help-button").addEventListener("click", () => dialog.showModal());
}

function buildTheme() {
  const wishes = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme ?? (wishes.matches ? "dark" : "light")) === "dark";
  const tell = () => { byId("theme").textContent = isDark() ? "☀ Light" : "☾ Dark"; };
  byId("theme").addEventListener("click", () => {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    remember(document.documentElement.dataset.theme);
    tell();
  });
  wishes.addEventListener("change", tell);
  const kept = remembered();
  if (kept) document.documentElement.dataset.theme = kept;
  tell();
}

function remember(theme) {
  try { localStorage.setItem(THEME, theme); } catch { /* only for this visit, then */ }
}

function remembered() {
  try { return localStorage.getItem(THEME); } catch { return null; }
}

function isTyping(event) {
  return event.target.matches("input[type=search], textarea, [contenteditable]");
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event) || event.defaultPrevented) return;
  if (byId("help").open) return;
  const isOwn = byId("item").open ? itemKey(event) : pageKey(event.key);
  if (isOwn) event.preventDefault();
});

function pageKey(key) {
  if (key === "/") byId("search").focus();
  else if (key === "?") byId("help").showModal();
  else if (key === "ArrowDown" && count && document.activeElement === document.body) document.querySelector("#table tbody tr[tabindex]")?.focus();
  else return false;
  return true;
}

byId("item").addEventListener("cancel", (event) => { event.preventDefault(); change({ item: "" }); });
buildTheme();
buildHelp();
showOverview();
buildTable();
whenChanged(show);
show();
document.body.classList.add("ready");
