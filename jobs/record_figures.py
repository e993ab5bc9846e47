"""Figures of the results of record: what quality costs, and what every item gains."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

RECORD = "scenes"
FLOOR = "classical"
PRESETS = ("fast", "balanced", "best")
OURS = (FLOOR, *PRESETS)
SCALES = (1, 2, 4)
_DPI = 110


class Row(NamedTuple):
    """One method on one item."""

    item: str
    scale: int
    method: str
    psnr_db: float
    seconds_per_mp: float


def draw(results: Path, figures: Path) -> None:
    """Draw all of them, if the record is there.

    Args:
        results: Folder of the records.
        figures: Folder to write to.
    """
    path = results / RECORD / "items.csv"
    if path.is_file():
        rows = list(_read(path))
        _quality(rows, 2).savefig(figures / "quality-x2.png", dpi=_DPI)
        _gains(rows).savefig(figures / "gain.png", dpi=_DPI)


def _read(path: Path) -> Iterator[Row]:
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["status"] == "ok" and row["psnr_db"]:
                numbers = float(row["psnr_db"]), float(row["seconds_per_mp"])
                yield Row(row["item"], int(row["scale"]), row["method"], *numbers)


def _quality(rows: list[Row], scale: int) -> Figure:
    """PSNR by seconds, means over the items; presets and baselines."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row.method for row in rows if row.scale == scale):
        own = [row for row in rows if (row.scale, row.method) == (scale, method)]
        place = _mean([row.seconds_per_mp for row in own]), _mean([row.psnr_db for row in own])
        ours = method in OURS
        axes.scatter(*place, color="C0" if ours else "0.6", marker="o" if ours else "s", zorder=3)
        if ours:
            axes.annotate(method, place, (0, 7), textcoords="offset points", ha="center")
    axes.scatter([], [], color="0.6", marker="s", label="fuser + enlarger, see the table")
    axes.legend(loc="lower right", frameon=False)
    axes.set_xscale("log")
    axes.set_xlabel(f"seconds of one thread per megapixel of the result, x{scale}")
    axes.set_ylabel("PSNR, dB, mean of 12 scenes")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    return figure


def _gains(rows: list[Row]) -> Figure:
    """Decibels over the floor, item by item, at every scale."""
    figure = Figure(figsize=(8.0, 4.2), layout="constrained")
    found = {(row.scale, row.method, row.item): row.psnr_db for row in rows}
    items = list(dict.fromkeys(row.item for row in rows))
    for axes, scale in zip(figure.subplots(1, len(SCALES), sharey=True), SCALES, strict=True):
        _strip(axes, scale, items, found)
    figure.supylabel("item", x=0)
    return figure


def _strip(
    axes: Axes, scale: int, items: list[str], found: dict[tuple[int, str, str], float]
) -> None:
    for offset, method in enumerate(PRESETS):
        gains = [found[scale, method, item] - found[scale, FLOOR, item] for item in items]
        heights = [index + 0.2 * (offset - 1) for index in range(len(items))]
        axes.scatter(gains, heights, s=16, label=method)
    axes.axvline(0, color="0.4", linewidth=1)
    axes.set_yticks(range(len(items)), items)
    axes.invert_yaxis()
    axes.set_title(f"x{scale}")
    axes.set_xlabel("dB over classical")
    axes.grid(alpha=0.3)
    if scale == SCALES[0]:
        axes.legend(fontsize="small")


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    raise SystemExit("python jobs/record_results.py --docs draws them")
