// The run as it was told to the page, and what a server tells of one item when it is asked.

import { byId } from "./elements.js";

export const report = JSON.parse(byId("data").textContent);
export const columns = report.columns;
export const count = columns.pair_id.length;
export const isServed = report.mode === "serve";

const places = new Map(columns.pair_id.map((id, index) => [id, index]));
const asked = new Map();

/** A value of an item, null if it has none. */
export function value(name, index) {
  return columns[name]?.[index] ?? null;
}

/** Place of an item in the columns, -1 if it is not listed. */
export function placeOf(pairId) {
  return places.get(pairId) ?? -1;
}

/** The small picture of a result. */
export function thumbnail(index) {
  if (value("status", index) !== "ok") return null;
  const own = report.details[columns.pair_id[index]]?.pictures.find((one) => one.id === "result");
  if (own?.src) return own.src;
  if (isServed) return `items/${value("number", index)}/preview.jpg`;
  return besidePage(index, "preview.jpg");
}

/** A file in the folder of an item, as it lies beside the page. */
export function besidePage(index, name) {
  return `outputs/${encodeURIComponent(value("folder", index))}/${encodeURIComponent(name)}`;
}

/** Frames and pictures of an item; null if only a server can tell, and there is none. */
export async function details(index) {
  const own = report.details[columns.pair_id[index]];
  if (own || !isServed) return own ?? null;
  if (!asked.has(index)) {
    const answer = await fetch(`items/${value("number", index)}`);
    if (!answer.ok) throw new Error(await answer.text());
    asked.set(index, await answer.json());
  }
  return asked.get(index);
}
