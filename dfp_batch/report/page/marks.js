// Accepted and rejected: kept by the server in the run, or in this browser until they are saved as a file.

import { say } from "./elements.js";
import { columns, count, isServed, report, value } from "./data.js";

const KEY = `dfp-batch marks ${report.run}`;
const PAUSE_MS = 400;
const listeners = [];
const marks = new Map(Object.entries(report.marks));
const waiting = new Map();
let timer = 0;

if (!isServed) for (const [id, kept] of Object.entries(stored())) restore(id, kept);

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {}; // the browser keeps nothing for files
  }
}

/** A mark that was given for this very result. */
function restore(id, [mark, epoch, attempt]) {
  const index = columns.pair_id.indexOf(id);
  if (index >= 0 && value("epoch", index) === epoch && value("attempt", index) === attempt) marks.set(id, mark);
}

export function markOf(index) {
  return marks.get(columns.pair_id[index]) ?? "";
}

export function isUnsaved() {
  return !isServed && [...marks].some(([id, mark]) => report.marks[id] !== mark);
}

export function counted() {
  let [accepted, rejected] = [0, 0];
  for (const mark of marks.values()) mark === "accepted" ? (accepted += 1) : (rejected += 1);
  return { accepted, rejected };
}

/** Mark an item, or take the mark back with "". */
export function setMark(index, mark) {
  if (value("epoch", index) === null) return say("It has not been tried yet: there is nothing to mark", true);
  const id = columns.pair_id[index];
  if (mark) marks.set(id, mark);
  else marks.delete(id);
  say(mark ? `${id}: ${mark}` : `${id}: no mark`);
  if (isServed) send(id, mark || null);
  else keep();
  for (const listener of listeners) listener(index);
}

export function whenMarked(listener) {
  listeners.push(listener);
}

function keep() {
  const kept = {};
  for (const [index, id, mark] of marked()) kept[id] = [mark, value("epoch", index), value("attempt", index)];
  try {
    localStorage.setItem(KEY, JSON.stringify(kept));
  } catch {
    say("The browser keeps nothing for this page: save the marks before you close it", true);
  }
}

function* marked() {
  for (let index = 0; index < count; index += 1) {
    const mark = marks.get(columns.pair_id[index]);
    if (mark) yield [index, columns.pair_id[index], mark];
  }
}

function send(id, mark) {
  waiting.set(id, mark);
  clearTimeout(timer);
  timer = setTimeout(flush, PAUSE_MS);
}

async function flush() {
  const changes = Object.fromEntries(waiting);
  waiting.clear();
  const body = JSON.stringify({ marks: changes });
  const headers = { "Content-Type": "application/json", "X-Dfp-Token": report.token };
  try {
    const answer = await fetch("marks", { method: "POST", headers, body, keepalive: true });
    if (!answer.ok) throw new Error(await answer.text());
  } catch (error) {
    for (const [id, mark] of Object.entries(changes)) if (!waiting.has(id)) waiting.set(id, mark);
    say(`Not saved: ${error.message}; is the server still there? The next mark tries again`, true);
  }
}

addEventListener("pagehide", () => { if (waiting.size) flush(); });

/** The file for RUN/marks.json. */
export function download() {
  const entries = {};
  for (const [index, id, mark] of marked())
    entries[id] = { mark, epoch: value("epoch", index), attempt: value("attempt", index) };
  const file = new Blob([JSON.stringify({ marks: entries }, null, 1)], { type: "application/json" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = "marks.json";
  link.click();
  URL.revokeObjectURL(link.href);
}
