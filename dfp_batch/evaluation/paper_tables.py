"""The paper's Tables 1 to 3 in its own form, what was measured beside what it prints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from dfp_batch.evaluation import summary as statistics
from dfp_batch.evaluation import tables
from dfp_batch.evaluation.published import (
    ENLARGERS,
    FUSERS,
    JOINT,
    PRINTED,
    SCALES,
    Published,
    read_published,
)
from dfp_batch.evaluation.records import ITEMS, read_items
from dfp_batch.evaluation.tables import Grid
from dfp_batch.evaluation.work import Row
from dfp_batch.metrics.names import RELATIVE

PRESETS = ("paper", "fast", "balanced")
_QUALITY = {"PSNR dB": ("psnr_db", 2), "SSIM": ("ssim", 4), "SCD": ("scd", 3), "VIFF": ("viff", 3)}
_NOTHING = "-"
_UNEQUAL = "The means are of different items where n differs: they do not compare with each other."
_AGREEMENT, _FEWEST = "rank correlation of measured and (printed)", 3
_FLOOR = "laplacian-pyramid"
_OURS = (_FLOOR, "average", "classical", *PRESETS)
_Found = Mapping[tuple[str, int, str], Row]


@dataclass(frozen=True)
class Shown:
    """One table.

    Attributes:
        title: What it shows.
        items: Set of the rows.
        enlarger: After every fuser.
        is_printed: Whether the paper's own table stands beside it.
    """

    title: str
    items: str
    enlarger: str
    is_printed: bool = True

    @property
    def methods(self) -> list[str]:
        """In the order of the paper."""
        return [*(f"{fuser}+{self.enlarger}" for fuser in FUSERS), *PRESETS]


def section(folder: Path, shown: Sequence[Shown], sets: Mapping[str, str]) -> list[str]:
    """What the page says of the record in a folder.

    Args:
        folder: With items.csv and published.csv.
        shown: The tables of larger scales; those that the paper does not have are folded.
        sets: Titles of the tables of scale 1, by set.

    Raises:
        ConfigError: if published.csv is not what it must be.
    """
    rows = read_items(folder / ITEMS)
    published = read_published(folder / PRINTED)
    there = {row["set"] for row in rows if row["scale"] == 1}
    small = [at_full_size(rows, name, title) for name, title in sets.items() if name in there]
    return [*small, *(enlarged(rows, one, published) for one in shown)]


def at_full_size(rows: Iterable[Row], name: str, title: str) -> str:
    """The tables of scale 1 of one set: those of the paper first, then others, then ours."""
    own = [row for row in rows if row["set"] == name and row["scale"] == 1]
    there = list(dict.fromkeys(row["method"] for row in own))
    last = [method for method in _OURS if method in there]
    others = [method for method in there if method not in (*FUSERS, *_OURS)]
    methods = [*(method for method in FUSERS if method in there), *others, *last]
    summary = statistics.summarise(own, methods, _FLOOR if _FLOOR in there else methods[0])
    grids = [
        Grid(f"{title}{grid.title.removeprefix('Scale 1')}", grid.headings, grid.lines, grid.notes)
        for grid in tables.grids(summary, 1)
    ]
    return "\n\n".join(map(_lower, grids))


def enlarged(rows: Iterable[Row], shown: Shown, published: Sequence[Published]) -> str:
    """One table of the paper, and the quality of the same results."""
    own = [row for row in rows if row["set"] == shown.items and row["scale"] in SCALES]
    summary = statistics.summarise(own, shown.methods, shown.methods[0]) if own else []
    found = {(row["method"], row["scale"], row["metric"]): row for row in summary}
    printed = _printed(shown, published) if shown.is_printed else {}
    text = "\n\n".join(map(_lower, (_relative(shown, found, printed), _quality(shown, found))))
    if shown.is_printed:
        return text
    return f"<details><summary>{shown.title}</summary>\n\n{text}\n\n</details>"


def _printed(shown: Shown, published: Iterable[Published]) -> dict[tuple[str, int, str], float]:
    """By method, scale and metric."""
    own = [one for one in published if ENLARGERS[one.table] == shown.enlarger]
    return {
        (_method(one.fuser, shown.enlarger), scale, metric): value
        for one in own
        for (metric, scale), value in one.values.items()
    }


def _method(fuser: str, enlarger: str) -> str:
    return "paper" if fuser == JOINT else f"{fuser}+{enlarger}"


def _relative(shown: Shown, found: _Found, printed: Mapping[tuple[str, int, str], float]) -> Grid:
    """The metrics of the paper, in its order; what it prints stands in brackets."""
    columns = [(metric, scale) for metric in RELATIVE for scale in SCALES]
    lines = []
    for method in shown.methods:
        keys = [(method, scale, metric) for metric, scale in columns]
        cells = [_cell(found.get(key), 3) + _bracketed(printed.get(key)) for key in keys]
        lines.append([method, *cells])
    if printed:
        lines.append([_AGREEMENT, *(_agreement(found, printed, s, name) for name, s in columns)])
    headings = [f"{metric.upper()} x{scale}" for metric, scale in columns]
    return Grid(shown.title, ["method", *headings], lines, [])


def _agreement(
    found: _Found, printed: Mapping[tuple[str, int, str], float], scale: int, metric: str
) -> str:
    """Rank correlation of what was measured and what is printed."""
    keys = [
        (method, scale, metric) for method, at, name in printed if (at, name) == (scale, metric)
    ]
    measured = {key: found[key]["mean"] for key in keys if key in found}
    both = [(value, printed[key]) for key, value in measured.items() if value is not None]
    if len({value for value, _ in both}) < _FEWEST:
        return _NOTHING
    return f"{float(stats.spearmanr(*zip(*both, strict=True)).statistic):.2f}"


def _quality(shown: Shown, found: _Found) -> Grid:
    """Number of items, and metrics of which more is better."""
    columns = [(name, scale) for name in _QUALITY for scale in SCALES]
    lines = []
    for method in shown.methods:
        counts = [_count(found.get((method, scale, "scd"))) for scale in SCALES]
        keys = [(method, scale, _QUALITY[name][0]) for name, scale in columns]
        digits = [_QUALITY[name][1] for name, _ in columns]
        cells = [_cell(found.get(key), n) for key, n in zip(keys, digits, strict=True)]
        lines.append([method, *counts, *cells])
    headings = [*(f"n x{scale}" for scale in SCALES), *(f"{name} x{s}" for name, s in columns)]
    counted = {count for line in lines for count in line[1 : 1 + len(SCALES)]} - {"0"}
    notes = [_UNEQUAL] * (len(counted) > 1)
    return Grid(f"{shown.title}: quality", ["method", *headings], lines, notes)


def _count(row: Row | None) -> str:
    return "0" if row is None else str(row["n"])


def _cell(row: Row | None, digits: int) -> str:
    return _NOTHING if row is None or row["mean"] is None else f"{row['mean']:.{digits}f}"


def _bracketed(value: float | None) -> str:
    return "" if value is None else f" ({value:.4g})"


def _lower(grid: Grid) -> str:
    """Its Markdown, a heading lower than that of an evaluation."""
    return tables.markdown_grid(grid).replace("## ", "### ", 1)
