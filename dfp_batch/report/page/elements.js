// Elements from values. Text becomes text nodes: nothing of a run is ever markup.

const SVG = "http://www.w3.org/2000/svg";

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** An HTML element; attributes that begin with "on" are listeners. */
export function html(name, attributes = {}, ...children) {
  return make(document.createElement(name), attributes, children);
}

/** The same of SVG. */
export function svg(name, attributes = {}, ...children) {
  return make(document.createElementNS(SVG, name), attributes, children);
}

export function byId(id) {
  return document.getElementById(id);
}

let saidTimer = 0;

/** A line that goes away by itself, and that screen readers read. */
export function say(text, isError = false) {
  const place = byId("said");
  place.textContent = text;
  place.classList.toggle("error", isError);
  place.classList.add("shown");
  clearTimeout(saidTimer);
  saidTimer = setTimeout(() => place.classList.remove("shown"), isError ? 8000 : 3000);
}

/** A command with a button that copies it. */
export function commandLine(text) {
  const copy = () =>
    navigator.clipboard.writeText(text).then(
      () => say("Copied"),
      () => say("The browser does not allow copying; select the command instead", true),
    );
  return html("div", { class: "command" }, html("code", { tabindex: "0" }, text),
    html("button", { type: "button", class: "quiet", onclick: copy, "aria-label": `Copy: ${text}` }, "Copy"));
}
