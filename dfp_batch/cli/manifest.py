"""``dfp-batch manifest``."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from dfp_batch.cli import voice
from dfp_batch.cli.options import Anonymous, AsJson, Every, Gap, Group

if TYPE_CHECKING:  # --help must not import it
    from dfp_batch.archive.find import Archive
    from dfp_batch.archive.survey import Row

SHOWN = 200
TOGETHER = 20  # lines of one reason; more are one line
_MB = 1e6
Output = Annotated[str | None, typer.Option("--output", "-o", help="Parquet file to write.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Write nothing; show a table of what was found.")
]


def manifest(  # noqa: PLR0913, PLR0917 - one parameter per flag
    directory: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder, or a file of stacks: path or URL.")
    ],
    output: Output = None,
    gap: Gap = None,
    every: Every = None,
    group: Group = None,
    dry_run: DryRun = False,
    anonymous: Anonymous = False,
    as_json: AsJson = False,
) -> None:
    """Build a manifest of a folder and all below it: what belongs together, by names or as asked.

    NAME_A.*/NAME_B.* (and so on), folders of frames, folders like source_1 and source_2, and TIFFs
    of several pages are found by themselves, all in one tree if need be. Warns of frames that
    differ in size, are there twice, or are missing.
    """
    from dfp_batch import errors
    from dfp_batch.archive.cuts import cut_of
    from dfp_batch.archive.find import find_stacks
    from dfp_batch.archive.survey import survey
    from dfp_batch.cli.console import counting
    from dfp_batch.io import urls
    from dfp_batch.runs import access
    from dfp_batch.runs.manifest import write_manifest

    how = cut_of(gap, every, group)
    if output is None and not dry_run:
        raise errors.ConfigError("give --output FILE.parquet, or --dry-run to look only")
    if anonymous:
        access.read_only([directory], [output] if output else [])
    with counting(voice.words(beside=True), "looked at") as moved:
        found = find_stacks(directory, how, moved)
        rows = list(survey(found, moved))
    if not dry_run:
        url = urls.absolute_url(output or "")
        write_manifest(url, found.pairs())
        voice.say(f"{len(found.stacks)} pairs -> {url}", beside=as_json)
    if as_json:
        stacks = [asdict(row) for row in rows]
        voice.answer({"stacks": stacks, "left_out": found.left_out, "others": found.others})
        return
    if dry_run:
        _show(found, rows)
    for line in complaints(found, rows):
        voice.say(line, beside=not dry_run)


def _show(found: "Archive", rows: "Sequence[Row]") -> None:
    """The table, and what it comes to."""
    from rich.table import Table

    more = len(rows) - SHOWN
    table = Table(title=f"the first {SHOWN} of {len(rows)}" if more > 0 else None)
    table.add_column("stack", overflow="fold")
    for heading in ("frames", "size in px", "format", "MB"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for row in rows[:SHOWN]:
        sizes, formats = ", ".join(row.sizes), ", ".join(row.formats)
        mark = "!" if row.warnings else ""
        table.add_row(
            row.pair_id, str(row.frames), sizes, formats, f"{row.size_bytes / _MB:.1f}", mark
        )
    console = voice.answers()
    console.print(table)
    for line in _totals(found, rows):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _totals(found: "Archive", rows: "Sequence[Row]") -> Iterator[str]:
    frames = Counter(row.frames for row in rows)
    kinds = ", ".join(f"{count} of {number}" for number, count in sorted(frames.items())[:10])
    size_gb = sum(row.size_bytes for row in rows) / 1e9
    total = sum(row.frames for row in rows)
    more = ", ..." if len(frames) > 10 else ""  # noqa: PLR2004
    yield f"{len(rows)} stacks of {total} frames ({kinds}{more}), {size_gb:.2f} GB"
    unseen = sum(not row.sizes for row in rows)
    if unseen:
        yield f"sizes are those of {len(rows) - unseen} stacks, the other {unseen} were not opened"
    others = (f"{count} {ending or 'without ending'}" for ending, count in found.others.items())
    if found.others:
        yield f"other files: {', '.join(others)}"
    yield f"left out: {len(found.left_out) or 'nothing'}"


def complaints(found: "Archive", rows: "Iterable[Row]" = ()) -> Iterator[str]:
    """What looks wrong, and what was left out and why; of many lines the first."""
    warnings = [f"warning: {row.pair_id}: {text}" for row in rows for text in row.warnings]
    yield from _first(warnings, "warnings")
    reasons: dict[str, list[str]] = {}
    for line in found.left_out:
        path, _, reason = line.partition(": ")
        reasons.setdefault(reason, []).append(path)
    lines = []
    for reason, paths in reasons.items():
        if len(paths) > TOGETHER:
            lines.append(f"not paired: {len(paths)} of them, {paths[0]} to {paths[-1]}: {reason}")
        else:
            lines += [f"not paired: {path}: {reason}" for path in paths]
    yield from _first(lines, "reasons")


def _first(lines: Sequence[str], what: str) -> Iterator[str]:
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"and {len(lines) - SHOWN} more {what}"
