// Charts, as SVG: bars over time, a histogram, a curve. Both scale with their box and say their numbers in words.

import { html, svg } from "./elements.js";
import { plain } from "./format.js";

const WIDTH = 640;

/** Stacked bars: good below, bad on top. */
export function timeBars(bins, height = 250) {
  const most = Math.max(1, ...bins.map((bin) => bin.ok + bin.failed));
  const step = WIDTH / Math.max(bins.length, 12);
  const scale = (height - 26) / most;
  const base = height - 18;
  const marks = bins.map((bin, index) => {
    const x = index * step;
    const [good, bad] = [bin.ok * scale, bin.failed * scale];
    const at = bin.starts_at.replace("T", " ").replace("Z", " UTC");
    const isNew = index > 0 && bin.session !== bins[index - 1].session;
    return svg("g", {},
      svg("title", {}, `${at}: ${bin.ok} done, ${bin.failed} failed`),
      svg("rect", { x, y: 0, width: step, height: base, class: "hit" }),
      svg("rect", { x: x + 1, y: base - good, width: Math.max(step - 2, 1), height: good, class: "bar-ok", rx: 1.5 }),
      svg("rect", { x: x + 1, y: base - good - bad, width: Math.max(step - 2, 1), height: bad, class: "bar-bad", rx: 1.5 }),
      isNew && svg("line", { x1: x, x2: x, y1: 0, y2: base, class: "session" }));
  });
  const axis = svg("line", { x1: 0, x2: WIDTH, y1: base, y2: base, class: "axis" });
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, class: "chart", role: "img", "aria-label": told(bins) }, axis, marks);
}

function told(bins) {
  const [ok, failed] = [sum(bins, "ok"), sum(bins, "failed")];
  return `Attempts that ended over time: ${ok} with a result and ${failed} without, in ${bins.length} stretches`;
}

function sum(bins, name) {
  return bins.reduce((total, bin) => total + bin[name], 0);
}

/** Counts of values in equal steps from the 1st to the 99th percentile; what is beyond is in the last steps. */
export function histogram(values, steps = 28) {
  const sorted = Float64Array.from(values).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  let [low, high] = [at(0.01), at(0.99)];
  if (low === high) [low, high] = [low - Math.abs(low) * 0.05 - 1e-9, high + Math.abs(high) * 0.05 + 1e-9];
  const counts = new Array(steps).fill(0);
  for (const value of sorted) counts[Math.min(steps - 1, Math.max(0, Math.floor((value - low) / (high - low) * steps)))] += 1;
  return { low, high, counts, median: at(0.5) };
}

/** The histogram of a column, with the place of its median. */
export function histogramChart(title, found, format) {
  const [width, height, base] = [240, 84, 66];
  const most = Math.max(...found.counts);
  const step = width / found.counts.length;
  const bars = found.counts.map((amount, index) => {
    const tall = amount ? Math.max(1.5, amount / most * (base - 4)) : 0;
    const from = found.low + (found.high - found.low) * index / found.counts.length;
    return svg("g", {}, svg("title", {}, `${plain(amount)} near ${format(from)}`),
      svg("rect", { x: index * step, y: 0, width: step, height: base, class: "hit" }),
      svg("rect", { x: index * step + 0.5, y: base - tall, width: step - 1, height: tall, class: "bar" }));
  });
  const x = (found.median - found.low) / (found.high - found.low) * width;
  const label = `${title}: median ${format(found.median)}, most between ${format(found.low)} and ${format(found.high)}`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label }, bars,
    svg("line", { x1: 0, x2: width, y1: base, y2: base, class: "axis" }),
    svg("line", { x1: x, x2: x, y1: 0, y2: base, class: "median" }),
    svg("text", { x: 0, y: height - 4 }, format(found.low)),
    svg("text", { x: width, y: height - 4, "text-anchor": "end" }, format(found.high)));
}

/** The objective from iteration to iteration; its axis is logarithmic where it falls to less than a tenth. */
export function lossChart(curve, steps, format) {
  const [width, height, base] = [240, 84, 66];
  const [low, high] = [Math.min(...curve), Math.max(...curve)];
  const scaled = low > 0 && low < high / 10 ? Math.log : (value) => value;
  const span = scaled(high) - scaled(low) || 1;
  const points = curve.map((value, index) => {
    const x = index / Math.max(1, curve.length - 1) * width;
    return `${x.toFixed(1)},${(base - 2 - (scaled(value) - scaled(low)) / span * (base - 8)).toFixed(1)}`;
  });
  const label = `Loss from ${format(curve[0])} to ${format(curve[curve.length - 1])} in ${steps} iterations`;
  return svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", role: "img", "aria-label": label },
    svg("line", { x1: 0, x2: width, y1: base, y2: base, class: "axis" }),
    svg("polyline", { points: points.join(" "), class: "curve" }),
    svg("text", { x: 0, y: height - 4 }, "1"),
    svg("text", { x: width, y: height - 4, "text-anchor": "end" }, `${steps} iterations`));
}

/** Times of the stages side by side. */
export function stageBar(stages) {
  const total = stages.reduce((all, [, seconds]) => all + seconds, 0) || 1;
  const parts = stages.map(([name, seconds], index) => html("div", {
    class: `stage stage-${index}`, style: `flex-grow:${seconds / total}`, title: `${name}: ${seconds.toFixed(2)} s`,
  }));
  const legend = stages.map(([name, seconds], index) => html("li", {},
    html("span", { class: `key stage-${index}`, "aria-hidden": "true" }), `${name} ${seconds.toFixed(2)} s`));
  return [html("div", { class: "stages", "aria-hidden": "true" }, parts), html("ul", { class: "legend" }, legend)];
}
