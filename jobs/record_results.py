"""Make the results of record: tests/benchmarks/results/, and the pages in docs/ from them.

Usage: python jobs/record_results.py [RECORD ...] [--pairs MANIFEST]
       python jobs/record_results.py paper-tables --pairs MANIFEST --externals DIR --srcnn DIR
           --published CSV [--only PART ...]
       python jobs/record_results.py --docs

Every record is one evaluation. Without names all are made that need no archive of your own;
``real-pairs`` and ``real-pairs-fusion`` need the manifest of one. ``paper-tables`` is made of many
evaluations, some of which take hours, and needs the results of others. An interrupted job goes on
where it stopped, from build/results/. ``--docs`` makes only the pages and figures anew, from
the files; with ``--check`` it only says whether the pages are what the files give.
"""

import argparse
from pathlib import Path

import paper_figures
import paper_tables
import record_figures
from records import INTRODUCTION, RECORDS
from rich.console import Console

from dfp_batch.cli.console import LiveProgress
from dfp_batch.evaluation import Archive, Options, Scenes
from dfp_batch.evaluation.published import PRINTED
from dfp_batch.evaluation.record_page import pages
from dfp_batch.evaluation.records import keep, make

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "tests" / "benchmarks" / "results"
DOCS = ROOT / "docs"
WORK = ROOT / "build" / "results"
# Records that are more than one evaluation.
APART = {paper_tables.NAME: paper_tables.shown, paper_figures.NAME: paper_figures.shown}


def main() -> None:
    """Command line."""
    parser = options()
    given = parser.parse_args()
    if unknown := sorted(set(given.records) - {*RECORDS, *APART}):
        parser.error(f"there is no record {', '.join(unknown)}")
    if given.check:
        check_pages()
        return
    names = () if given.docs else given.records or RECORDS
    for name in [name for name in names if name not in APART]:
        items = items_of(name, given)
        if items is not None:
            evaluate(name, items, given.workers)
        elif name in given.records:
            parser.error(f"record {name} needs --pairs")
    if paper_tables.NAME in names:
        make_paper_tables(parser, given)
    if paper_figures.NAME in names:
        paper_figures.make(RESULTS / paper_figures.NAME, DOCS / "figures")
    record_figures.draw(RESULTS, DOCS / "figures")
    for place, text in all_pages().items():
        (DOCS / place).parent.mkdir(exist_ok=True)
        (DOCS / place).write_text(text)


def all_pages() -> dict[str, str]:
    """The pages as the files have them, by their place in docs/."""
    more = {name: shown(RESULTS / name) for name, shown in APART.items()}
    return pages(INTRODUCTION, RECORDS, RESULTS, more)


def options() -> argparse.ArgumentParser:
    """Of the command."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    known = ", ".join((*RECORDS, *APART))
    add("records", nargs="*", metavar="RECORD", help=f"of {known}")
    add("--pairs", help="manifest of real pairs")
    add("--externals", metavar="DIR", help="folder of folders of results of others, by method")
    add("--srcnn", metavar="DIR", help="folder of srcnn_x2.npz and srcnn_x4.npz")
    add("--published", metavar="CSV", help="the figures that the paper prints")
    add("--only", nargs="+", default=[], metavar="PART", help="parts that begin like that")
    add("--workers", type=int, help="processes; by default one per CPU")
    add("--docs", action="store_true", help="only make the pages anew")
    add("--check", action="store_true", help="only compare the pages with the records")
    return parser


def items_of(name: str, given: argparse.Namespace) -> Scenes | Archive | None:
    """Its scenes, or the pairs of the command line; None if those are not there."""
    scenes = RECORDS[name].scenes
    if scenes is not None:
        return Scenes(scenes)
    return Archive.read(given.pairs) if given.pairs else None


def evaluate(name: str, items: Scenes | Archive, workers: int | None) -> None:
    """Evaluate one record and keep its files."""
    with LiveProgress(Console(stderr=True)) as progress:
        make(RECORDS[name], items, WORK / name, Options(None, False, workers, progress.moved))
    keep(WORK / name, RESULTS / name)


def make_paper_tables(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Evaluate the parts of that record and keep each as it is done."""
    if not (given.pairs and given.externals and given.srcnn and given.published):
        parser.error("record paper-tables needs --pairs, --externals, --srcnn and --published")
    folders = {path.name: str(path) for path in sorted(Path(given.externals).iterdir())}
    work = WORK / paper_tables.NAME
    found = paper_tables.Given(given.pairs, folders, given.srcnn, work)
    results = RESULTS / paper_tables.NAME
    for part in paper_tables.parts(found):
        if not given.only or part.name.startswith(tuple(given.only)):
            with LiveProgress(Console(stderr=True)) as progress:
                options = Options(workers=given.workers, on_progress=progress.moved)
                paper_tables.make(part, work, options, results)
    results.mkdir(parents=True, exist_ok=True)
    (results / PRINTED).write_bytes(Path(given.published).read_bytes())


def check_pages() -> None:
    """Exit with 1 if a page is not what the records give, or belongs to no record."""
    expected = all_pages()
    there = {path: path.read_text() for path in map(DOCS.joinpath, expected) if path.is_file()}
    wrong = [place for place, text in expected.items() if there.get(DOCS / place) != text]
    wrong += [f"results/{path.name}" for path in DOCS.glob("results/*.md") if path not in there]
    if wrong:
        raise SystemExit(
            f"docs/ must be what the records give, but {', '.join(wrong)} differs; make it anew "
            "with python jobs/record_results.py --docs"
        )


if __name__ == "__main__":
    main()
