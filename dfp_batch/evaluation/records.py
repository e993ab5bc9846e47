"""Results of record: evaluations that are kept with the source code, and what is kept of them."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfp_batch.evaluation.archive import Archive
from dfp_batch.evaluation.items import ItemSet
from dfp_batch.evaluation.methods import Method, named_methods
from dfp_batch.evaluation.run import Options, evaluate
from dfp_batch.evaluation.work import SCHEMA, Row
from dfp_batch.synthetic import SceneSet


@dataclass(frozen=True)
class Record:
    """One evaluation of record.

    Attributes:
        title: Of its section.
        what: What it shows, for the page.
        methods: Makes the methods; the first is the one the others are compared with.
        scenes: The set, or None for the archive of the command line.
        scales: At which.
        column: Metric of the table per item.
    """

    title: str
    what: str
    methods: Callable[[], dict[str, Method]]
    scenes: SceneSet | None
    scales: tuple[int, ...] = (1,)
    column: str = "psnr_db"


def make(
    record: Record, items: ItemSet, externals: Mapping[str, str], work: Path, options: Options
) -> None:
    """Evaluate a record; an interrupted evaluation goes on where it stopped.

    Args:
        record: Of which the methods and the scales are taken.
        items: Its scenes, or an archive.
        externals: Folders of results of others by name, which are scored, too.
        work: Folder of the evaluation.
        options: How to evaluate.

    Raises:
        ConfigError: if the folder holds another evaluation.
    """
    methods = record.methods() | (named_methods([], externals) if externals else {})
    evaluate(items, methods, str(work), record.scales, options)


def with_results(archive: Archive, externals: Mapping[str, str]) -> Archive:
    """The pairs for which every external folder has a result."""
    folders = [{file.stem for file in Path(folder).iterdir()} for folder in externals.values()]
    everywhere = set.intersection(*folders)
    return replace(archive, pairs=tuple(p for p in archive.pairs if p.pair_id in everywhere))


def keep(source: Path, target: Path) -> None:
    """Copy what is of record, without the places on the machine where it was made."""
    target.mkdir(parents=True, exist_ok=True)
    header = json.loads((source / "evaluation.json").read_text())
    header["set"] = Path(header["set"]).name
    for method in header["methods"].values():
        if "external" in method:
            method["external"] = Path(method["external"]).name
    (target / "evaluation.json").write_text(json.dumps(header, indent=1) + "\n")
    for table in ("items.csv", "summary.csv"):
        (target / table).write_bytes((source / table).read_bytes())


def read_items(path: Path) -> list[Row]:
    """The rows of an items.csv."""
    text = {"set", "item", "method", "status", "degrade", "error_type", "error_message"}
    whole = {"scale", "n_sources", "width_px", "height_px"}
    convert: dict[str, Callable[[str], Any]] = {
        column: str if column in text else int if column in whole else float
        for column in SCHEMA.names
    }
    return [
        {column: convert[column](value) if value else None for column, value in row.items()}
        for row in csv.DictReader(io.StringIO(path.read_text()))
    ]
