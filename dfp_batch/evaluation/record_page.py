"""The pages of all results of record, in Markdown: one that shows all, and one of each record."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dfp_batch.evaluation import summary as statistics
from dfp_batch.evaluation.records import HEADER, ITEMS, Record, read_items
from dfp_batch.evaluation.tables import (
    READING_NOTE,
    grids,
    markdown,
    markdown_table,
)
from dfp_batch.evaluation.work import Row

OVERVIEW = "results.md"
_FOLDER = "results"  # of the others, beside it
_SHOWN = ("method", "PSNR dB", "worst 5 %", "SSIM", "SCD", "VIFF", "accuracy", "s/MP")


class _Found(NamedTuple):
    """What the files of a record hold."""

    header: Mapping[str, Any]
    rows: Sequence[Row]
    methods: Sequence[str]
    summary: Sequence[Row]


def pages(
    introduction: str,
    records: Mapping[str, Record],
    results: Path,
    more: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, str]:
    """Every page, by its path.

    Args:
        introduction: What the first page begins with.
        records: By name, in the order of the pages.
        results: Folder that holds the files of a record in a folder of its name.
        more: Paragraphs and tables of other records, the first of them with a title; none are left
            out.
    """
    there = [name for name in records if (results / name / ITEMS).is_file()]
    found = {name: _read(results / name) for name in there}
    others = {name: texts for name, texts in (more or {}).items() if texts}
    first = [introduction.strip(), READING_NOTE]
    first += [_shown(name, records[name], found[name]) for name in found]
    first += [f"{texts[0]}\n\n[All of it]({_FOLDER}/{name}.md)." for name, texts in others.items()]
    first += [_contents([*found, *others])] if found or others else []
    made = {OVERVIEW: _text(first)}
    made |= {_place(name): _text(_whole(name, records[name], found[name])) for name in found}
    return made | {_place(name): _moved(_text(texts)) for name, texts in others.items()}


def _read(folder: Path) -> _Found:
    rows = read_items(folder / ITEMS)
    methods = list(dict.fromkeys(row["method"] for row in rows))
    header = json.loads((folder / HEADER).read_text())
    return _Found(header, rows, methods, statistics.summarise(rows, methods, methods[0]))


def _shown(name: str, record: Record, found: _Found) -> str:
    """What the first page says of a record: of its main tables what ranks, and what it costs."""
    link = f"[All tables]({_FOLDER}/{name}.md)."
    texts = [f"## {record.title}", f"Record `{name}`. {record.what} {link}"]
    for scale in record.scales:
        grid = grids(found.summary, scale)[0]
        kept = [at for at, heading in enumerate(grid.headings) if _is_shown(heading)]
        lines = [[line[at] for at in kept] for line in (grid.headings, *grid.lines)]
        texts += [f"**{grid.title}**", markdown_table(lines[0], lines[1:])]
    return "\n\n".join(texts)


def _is_shown(heading: str) -> bool:
    return heading in _SHOWN or heading.startswith("PSNR vs ")


def _whole(name: str, record: Record, found: _Found) -> list[str]:
    """The page of a record: all of its tables, and that of its items."""
    report = markdown(found.header, found.rows, found.summary).partition("\n\n")[2]
    tables = [per_item(found.rows, found.methods, scale, record.column) for scale in record.scales]
    return [f"# {record.title}", f"Record `{name}`. {record.what}", report.strip(), *tables]


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


def _contents(names: Sequence[str]) -> str:
    """The pages of the records, for the list of pages of the site."""
    lines = "\n".join(f"{_FOLDER}/{name}" for name in names)
    return f"```{{toctree}}\n:hidden:\n\n{lines}\n```"


def _place(name: str) -> str:
    return f"{_FOLDER}/{name}.md"


def _moved(text: str) -> str:
    """A section as a page of its own, in a folder: its titles are higher, its figures above it."""
    higher = "\n".join(line[1:] if line.startswith("##") else line for line in text.split("\n"))
    return higher.replace("](figures/", "](../figures/")


def _text(parts: Sequence[str]) -> str:
    return "\n\n".join(parts) + "\n"
