"""Make the results of record: tests/benchmarks/results/, and docs/results.md from them.

Usage: python jobs/record_results.py [RECORD ...] [--pairs MANIFEST --external NAME=DIR ...]
       python jobs/record_results.py --docs

Every record is one evaluation. Without names all are made that need no archive of your own;
``real-pairs`` and ``real-pairs-fusion`` need the manifest of one, and ``published`` also results of
others for it. An interrupted job goes on where it stopped, from
build/results/. ``--docs`` makes only the page anew, from the files;
with ``--check`` it only says whether the page is what the files give.
"""

import argparse
from pathlib import Path

from records import INTRODUCTION, RECORDS
from rich.console import Console

from dfp_batch.cli.console import LiveProgress
from dfp_batch.evaluation import Archive, Options, Scenes, split_externals
from dfp_batch.evaluation.record_page import page
from dfp_batch.evaluation.records import keep, make, with_results

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "tests" / "benchmarks" / "results"
PAGE = ROOT / "docs" / "results.md"
WORK = ROOT / "build" / "results"


def main() -> None:
    """Command line."""
    parser = options()
    given = parser.parse_args()
    if unknown := sorted(set(given.records) - set(RECORDS)):
        parser.error(f"there is no record {', '.join(unknown)}")
    if given.check:
        check_page()
        return
    for name in () if given.docs else given.records or RECORDS:
        items = items_of(name, given)
        if items is not None:
            evaluate(name, items, split_externals(given.external))
        elif name in given.records:
            parser.error(f"record {name} needs --pairs, and published also --external")
    PAGE.write_text(page(INTRODUCTION, RECORDS, RESULTS))


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("records", nargs="*", metavar="RECORD", help=f"of {', '.join(RECORDS)}")
    add("--pairs", help="manifest of real pairs")
    add("--external", action="append", default=[], metavar="NAME=DIR")
    add("--docs", action="store_true", help="only make docs/results.md anew")
    add("--check", action="store_true", help="only compare docs/results.md with the records")
    return parser


def items_of(name: str, given: argparse.Namespace) -> Scenes | Archive | None:
    """Its scenes, or the pairs of the command line; None if those are not there."""
    scenes = RECORDS[name].scenes
    if scenes is not None:
        return Scenes(scenes)
    if not given.pairs or (name == "published" and not given.external):
        return None
    archive = Archive.read(given.pairs)
    is_published = name == "published"
    return with_results(archive, split_externals(given.external)) if is_published else archive


def evaluate(name: str, items: Scenes | Archive, externals: dict[str, str]) -> None:
    """Evaluate one record and keep its files."""
    others = externals if name == "published" else {}
    with LiveProgress(Console(stderr=True)) as progress:
        make(RECORDS[name], items, others, WORK / name, Options(on_progress=progress.moved))
    keep(WORK / name, RESULTS / name)


def check_page() -> None:
    """Exit with 1 if the page is not what the records give."""
    if PAGE.read_text() != page(INTRODUCTION, RECORDS, RESULTS):
        raise SystemExit(
            "docs/results.md must be what the records give, but it differs; make it anew with "
            "python jobs/record_results.py --docs"
        )


if __name__ == "__main__":
    main()
