// Numbers and names for people.

/** Headings, units and meanings of columns; others are shown by their own name. */
export const COLUMNS = {
  doubt: { title: "Doubt", digits: 2, help: "0 is none; of all reasons together" },
  status: { title: "Status" },
  category: { title: "Category" },
  psnr_db: { title: "PSNR", unit: "dB", digits: 2, help: "against the reference" },
  ssim: { title: "SSIM", digits: 4, help: "against the reference" },
  mg: { title: "Mean gradient", digits: 2, help: "of the result; higher is sharper, or noisier" },
  gradient_gain: { title: "Gradient over floor", unit: "×", digits: 2, help: "mean gradient over that of the classical floor; far above 1 may be made up" },
  low_confidence_share: { title: "In focus nowhere", percent: true, help: "share of the area" },
  valid_share: { title: "Seen by all frames", percent: true, help: "share of the area" },
  blind_gain_db: { title: "Self-check gain", unit: "dB", digits: 2, help: "over back projection, on the item made smaller once more" },
  align_score_after: { title: "Registration", digits: 3, help: "how well the worst frame fits; 1 is best" },
  gain_max: { title: "Largest exposure gain", unit: "×", digits: 2, help: "of a frame" },
  gain_min: { title: "Smallest exposure gain", unit: "×", digits: 2, help: "of a frame" },
  mga: { title: "Mean grey", digits: 0, help: "0 to 255" },
  consistency: { title: "Inconsistency", digits: 4, help: "mean difference of the result made smaller and the merged sources" },
  seconds: { title: "Time", unit: "s", digits: 1, help: "of all stages" },
  frames_left_out: { title: "Frames left out", digits: 0 },
  n_sources: { title: "Frames", digits: 0 },
  mended_spots: { title: "Mended spots", digits: 0 },
  pair_id: { title: "Item" },
};

export function titleOf(name) {
  return COLUMNS[name]?.title ?? name;
}

/** A value of a column, with its unit. */
export function shown(name, value) {
  if (value === null || value === undefined) return "–";
  const column = COLUMNS[name] ?? {};
  if (typeof value !== "number") return String(value);
  if (column.percent) return `${(100 * value).toFixed(1)} %`;
  if (name.endsWith("_bytes")) return bytes(value);
  const text = column.digits === undefined ? plain(value) : value.toFixed(column.digits);
  return column.unit ? `${text} ${column.unit}` : text;
}

export function plain(value) {
  return Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(4)));
}

export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (value >= 1000 && step < units.length - 1) { value /= 1000; step += 1; }
  return `${step ? value.toPrecision(3) : value} ${units[step]}`;
}

export function duration(hours) {
  const seconds = hours * 3600;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(hours).toLocaleString("en")} h ${String(Math.round(60 * (hours % 1)) % 60).padStart(2, "0")} min`;
}

/** A word for a POSIX shell. */
export function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}
