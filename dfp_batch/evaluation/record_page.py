"""The page of all results of record, in Markdown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfp_batch.evaluation import summary as statistics
from dfp_batch.evaluation.records import HEADER, ITEMS, Record, read_items
from dfp_batch.evaluation.tables import markdown
from dfp_batch.evaluation.work import Row


def page(
    introduction: str, records: Mapping[str, Record], results: Path, more: Sequence[str] = ()
) -> str:
    """The page of all records that there are.

    Args:
        introduction: What it begins with.
        records: By name, in the order of the page.
        results: Folder that holds the files of a record in a folder of its name.
        more: Paragraphs and tables that it ends with.
    """
    names = [name for name in records if (results / name / ITEMS).is_file()]
    sections = [part for name in names for part in section(name, records[name], results / name)]
    return "\n\n".join([introduction.strip(), *sections, *more]) + "\n"


def section(name: str, record: Record, folder: Path) -> list[str]:
    """What the page says of one record, whose files are in a folder: paragraphs and tables."""
    header = json.loads((folder / HEADER).read_text())
    rows = read_items(folder / ITEMS)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    report = markdown(header, rows, statistics.summarise(rows, methods, methods[0]))
    body = report.partition("\n\n")[2].replace("## ", "### ")
    tables = [per_item(rows, methods, scale, record.column) for scale in record.scales]
    return [f"## {record.title}", f"Record `{name}`. {record.what}", body.strip(), *tables]


def per_item(rows: Sequence[Row], methods: Sequence[str], scale: int, column: str) -> str:
    """A folded table of one metric, item by item."""
    found = {(row["item"], row["method"]): row[column] for row in rows if row["scale"] == scale}
    items = list(dict.fromkeys(item for item, _ in found))
    shown = [m for m in methods if any(found.get((item, m)) is not None for item in items)]
    lines = [["item", *shown], ["---", *["---:"] * len(shown)]]
    for item in items:
        values = (found.get((item, method)) for method in shown)
        lines.append([item, *("-" if value is None else f"{value:.4g}" for value in values)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    title = f"{column} per item, scale {scale}"
    return f"<details><summary>{title}</summary>\n\n{table}\n\n</details>"
