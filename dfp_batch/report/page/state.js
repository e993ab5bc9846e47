// What is looked at, kept in the hash of the address: a link shows the same, "back" goes back.

const DEFAULTS = { q: "", status: "", reason: "", mark: "", sort: "doubt", dir: "desc", page: "1", item: "", view: "" };
const listeners = [];

export const state = read();

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, given.get(name) ?? value]));
}

/** Change some of it. Opening and closing an item can be undone by "back"; other changes replace. */
export function change(changes) {
  const opens = "item" in changes && (changes.item === "") !== (state.item === "");
  Object.assign(state, changes);
  const told = new URLSearchParams();
  for (const [name, value] of Object.entries(state)) if (value !== DEFAULTS[name]) told.set(name, value);
  const address = `#${told}`;
  if (opens) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  tell();
}

export function whenChanged(listener) {
  listeners.push(listener);
}

function tell() {
  for (const listener of listeners) listener();
}

addEventListener("popstate", () => { Object.assign(state, read()); tell(); });
