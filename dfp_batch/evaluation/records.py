"""Results of record: evaluations that are kept with the source code, and what is kept of them."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfp_batch.evaluation.items import ItemSet
from dfp_batch.evaluation.methods import Method
from dfp_batch.evaluation.run import Options, evaluate
from dfp_batch.evaluation.work import SCHEMA, Row
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import SceneSet

HEADER, ITEMS = "evaluation.json", "items.csv"


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


def make(record: Record, items: ItemSet, work: Path, options: Options) -> None:
    """Evaluate a record; an interrupted evaluation goes on where it stopped.

    Args:
        record: Of which the methods and the scales are taken.
        items: Its scenes, or an archive.
        work: Folder of the evaluation.
        options: How to evaluate.

    Raises:
        ConfigError: if the folder holds another evaluation.
    """
    evaluate(items, record.methods(), str(work), record.scales, options)


def with_results(pairs: Iterable[Pair], externals: Mapping[str, str]) -> dict[str, str]:
    """The external folders that have a result for every pair."""
    names = {pair.pair_id for pair in pairs}
    return {
        name: folder
        for name, folder in externals.items()
        if names <= {file.stem for file in Path(folder).iterdir()}
    }


def keep(source: Path, target: Path) -> None:
    """Copy what is of record, without the places on the machine where it was made."""
    target.mkdir(parents=True, exist_ok=True)
    _write_json(target / HEADER, without_places(_read_json(source / HEADER)))
    for table in ("items.csv", "summary.csv"):
        (target / table).write_bytes((source / table).read_bytes())


def keep_together(parts: Mapping[str, Path], target: Path) -> None:
    """Add the rows of several evaluations to one table of record; newer rows replace older ones.

    Args:
        parts: Folders of evaluations, by name.
        target: Of the record. Only columns that say something are kept, with 6 digits.
    """
    target.mkdir(parents=True, exist_ok=True)
    there = _read_json(target / HEADER)["parts"] if (target / HEADER).is_file() else {}
    headers = {name: without_places(_read_json(folder / HEADER)) for name, folder in parts.items()}
    _write_json(target / HEADER, {"parts": dict(sorted((there | headers).items()))})
    before = [target / ITEMS] if there else []
    rows = [
        row for path in (*before, *(f / ITEMS for f in parts.values())) for row in read_items(path)
    ]
    (target / ITEMS).write_text(_compact_csv({_sorting_key(row): row for row in rows}))


def without_places(header: dict[str, Any]) -> dict[str, Any]:
    """What is in an evaluation.json, with names of files and folders in place of their paths."""

    def bare(value: Any) -> Any:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            return {name: bare(entry) for name, entry in value.items()}
        return Path(value).name if isinstance(value, str) and value.startswith("/") else value

    return {name: bare(value) for name, value in header.items()}


def _sorting_key(row: Row) -> tuple[str, int, str, str]:
    return row["set"], row["scale"], row["item"], row["method"]


def _compact_csv(rows: Mapping[Any, Row]) -> str:
    ordered = [rows[one] for one in sorted(rows)]
    columns = [name for name in SCHEMA.names if any(row.get(name) is not None for row in ordered)]
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(columns)
    table.writerows([_six_digits(row.get(name)) for name in columns] for row in ordered)
    return text.getvalue()


def _six_digits(value: Any) -> Any:  # noqa: ANN401 - a cell
    return f"{value:.6g}" if isinstance(value, float) else value


def _read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


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
