"""The summary for people: Markdown for the file, a table for the terminal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dfp_batch.evaluation.store import Evaluation
from dfp_batch.evaluation.summary import CAP_DB
from dfp_batch.evaluation.work import Row
from dfp_batch.metrics.names import PAPER, RELATIVE

SHOWN_ERRORS = 5
WIDTH = 160  # of a terminal on which no number is cut
_NOTHING = "-"
_USUAL = "lanczos2"  # kernel of which nothing is said

READING_NOTE = (
    "± is the 95 % confidence interval of the mean, 'worst 5 %' the mean of the worst 5 % of the "
    "items, 'vs' the mean difference on the same items and how many of them are better:worse. "
    f"PSNR and SSIM are of luma; identical images count as {CAP_DB:.0f} dB."
)
Q_ABF_NOTE = (
    "* Q^AB/F hardly follows true quality: do not rank by it. (Spearman correlation with the true "
    "PSNR over 710 real pairs and 25 fusers: SCD .54, VIFF .49, Q_W .32, Q^AB/F .12.)"
)
RELATIVE_NOTE = (
    "RMG, REI, RIE, RMGA and RECO compare with GT_1 and GT_2, which are partly blurred sources: a "
    "perfect result does not score 0. They are here for comparability with the paper's tables 1-3; "
    "never rank by them."
)
UNEQUAL_NOTE = (
    "The means are of different items where n differs: compare such methods by 'vs', which takes "
    "the items that both have."
)


@dataclass(frozen=True)
class _Column:
    """A column: the statistic of one metric as text, or None where there is none."""

    heading: str
    metric: str
    cell: Callable[[Row], str | None]


@dataclass(frozen=True)
class Grid:
    """A table as text; the first column is the method.

    Attributes:
        title: What it shows.
        headings: One per column.
        lines: A list of cells per method.
        notes: What must stand beside it.
    """

    title: str
    headings: list[str]
    lines: list[list[str]]
    notes: list[str]


def _mean(digits: int) -> Callable[[Row], str | None]:
    return lambda row: _number(row["mean"], digits)


def _interval(row: Row) -> str | None:
    mean = _number(row["mean"], 2)
    return mean if row["ci95"] is None else f"{mean} ± {row['ci95']:.2f}"


def _worst(row: Row) -> str | None:
    return _number(row["worst5_mean"], 2)


def _difference(digits: int) -> Callable[[Row], str | None]:
    def text(row: Row) -> str | None:
        if row["difference_mean"] is None:
            return None
        half_width = row["difference_ci95"]
        interval = "" if half_width is None else f" ± {half_width:.{digits}f}"
        outcome = f"({row['wins']}:{row['losses']})"
        return f"{row['difference_mean']:+.{digits}f}{interval} {outcome}"

    return text


def _number(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}"


_VERSUS = " vs "
_Q_ABF = "Q^AB/F *"
_MAIN = (
    _Column("PSNR dB", "psnr_db", _interval),
    _Column("worst 5 %", "psnr_db", _worst),
    _Column(f"PSNR{_VERSUS}", "psnr_db", _difference(2)),
    _Column("SSIM", "ssim", _mean(4)),
    _Column("SCD", "scd", _mean(3)),
    _Column(f"SCD{_VERSUS}", "scd", _difference(3)),
    _Column("VIFF", "viff", _mean(3)),
    _Column("Q_W", "q_w", _mean(3)),
    _Column(_Q_ABF, "q_abf", _mean(3)),
    _Column("accuracy", "accuracy", _mean(4)),
    _Column("boundary", "accuracy_boundary", _mean(4)),
    _Column("s/MP", "seconds_per_mp", _mean(2)),
)
_DETAILS = (
    _Column("edge PSNR dB", "edge_psnr_db", _interval),
    _Column("unfocused PSNR dB", "unfocused_psnr_db", _interval),
    _Column("colour PSNR dB", "psnr_colour_db", _interval),
    _Column("colour SSIM", "ssim_colour", _mean(4)),
    _Column("thin", "accuracy_thin", _mean(4)),
    _Column("flat", "accuracy_flat", _mean(4)),
)
_DIGITS = {"mg": 3, "ei": 2, "ie": 4, "mga": 2, "eco": 0, "rmg": 3, "rei": 2, "rie": 4, "rmga": 3}
_PAPER_COLUMNS = tuple(
    _Column(name.upper(), name, _mean(_DIGITS.get(name, 4))) for name in (*PAPER, *RELATIVE)
)


def markdown(header: Mapping[str, Any], rows: Sequence[Row], summary: Sequence[Row]) -> str:
    """The whole report.

    Args:
        header: As in evaluation.json.
        rows: As in items.parquet.
        summary: As in summary.parquet.
    """
    parts = [f"# Evaluation of {rows[0]['set']}" if rows else "# Evaluation", _origin(header)]
    parts += [markdown_grid(grid) for scale in _scales(summary) for grid in grids(summary, scale)]
    parts += [READING_NOTE, *_error_part(rows)]
    return "\n\n".join(parts) + "\n"


def grids(summary: Sequence[Row], scale: int) -> list[Grid]:
    """Every table of one scale that has a column."""
    made = [_main_grid(summary, scale), _detail_grid(summary, scale), _paper_grid(summary, scale)]
    return [grid for grid in made if len(grid.headings) > 1]


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """The main tables, then the errors, then where the files are."""
    for grid in [_main_grid(evaluation.summary, scale) for scale in _scales(evaluation.summary)]:
        console.print(_rich_table(grid))
        for note in grid.notes:
            console.print(note, highlight=False, markup=False)
    console.print(READING_NOTE, highlight=False, markup=False)
    files = f"{evaluation.url}/items.csv, summary.csv, summary.md, evaluation.json"
    for line in (*error_lines(evaluation.rows), files):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def error_lines(rows: Iterable[Row]) -> list[str]:
    """How many rows are errors, and the first five of them."""
    errors = [row for row in rows if row["status"] != "ok"]
    if not errors:
        return []
    more = len(errors) - SHOWN_ERRORS
    return [
        f"{len(errors)} error{'s' * (len(errors) > 1)}:",
        *(
            f"{row['item']} x{row['scale']} {row['method']}: "
            f"{row['error_type']}: {row['error_message']}"
            for row in errors[:SHOWN_ERRORS]
        ),
        *([f"and {more} more in items.csv"] if more > 0 else []),
    ]


def _scales(summary: Iterable[Row]) -> list[int]:
    return list(dict.fromkeys(row["scale"] for row in summary))


def _main_grid(summary: Sequence[Row], scale: int) -> Grid:
    has_reference = any(
        row["values"] for row in summary if (row["scale"], row["metric"]) == (scale, "psnr_db")
    )
    left_out = f"SCD{_VERSUS}" if has_reference else None
    columns = [column for column in _MAIN if column.heading != left_out]
    grid = _grid(f"Scale {scale}", summary, scale, columns)
    notes = [Q_ABF_NOTE] * (_Q_ABF in grid.headings)
    if len({line[1] for line in grid.lines}) > 1:
        notes.append(UNEQUAL_NOTE)
    return Grid(grid.title, grid.headings, grid.lines, notes)


def _detail_grid(summary: Sequence[Row], scale: int) -> Grid:
    return _grid(f"Scale {scale}: details", summary, scale, _DETAILS, counts=False)


def _paper_grid(summary: Sequence[Row], scale: int) -> Grid:
    title = f"Scale {scale}: metrics of the paper"
    grid = _grid(title, summary, scale, _PAPER_COLUMNS, counts=False)
    has_relative = bool({name.upper() for name in RELATIVE} & set(grid.headings))
    return Grid(title, grid.headings, grid.lines, [RELATIVE_NOTE] * has_relative)


def _grid(
    title: str,
    summary: Sequence[Row],
    scale: int,
    columns: Sequence[_Column],
    counts: bool = True,
) -> Grid:
    """A line per method; columns without any value are left out."""
    found = {(row["method"], row["metric"]): row for row in summary if row["scale"] == scale}
    methods = list(dict.fromkeys(method for method, _ in found))
    texts = {c: [c.cell(found[method, c.metric]) for method in methods] for c in columns}
    shown = [column for column in columns if any(texts[column])]
    versus = next((row["versus"] for row in found.values()), "")
    headings = [c.heading + versus * c.heading.endswith(_VERSUS) for c in shown]
    lines = []
    for index, method in enumerate(methods):
        row = found[method, columns[0].metric]
        numbers = [str(row["n"]), str(row["errors"])] if counts else []
        lines.append([method, *numbers, *(texts[column][index] or _NOTHING for column in shown)])
    return Grid(title, ["method", *(["n", "errors"] if counts else []), *headings], lines, [])


def markdown_grid(grid: Grid) -> str:
    """A table with its title and its notes."""
    table = markdown_table(grid.headings, grid.lines)
    notes = [f"\n{note.replace('*', chr(92) + '*')}" for note in grid.notes]
    return "\n".join([f"## {grid.title}", "", table, *notes]).replace("Q^AB/F * |", "Q^AB/F \\* |")


def markdown_table(headings: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of texts on the left and numbers."""
    table = [headings, ["---", *["---:"] * (len(headings) - 1)], *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in table)


def _rich_table(grid: Grid) -> Table:
    table = Table(title=grid.title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    for heading in grid.headings:
        is_method = heading == "method"
        table.add_column(
            heading,
            justify="left" if is_method else "right",
            overflow="fold",
            no_wrap=not is_method,
        )
    for line in grid.lines:
        table.add_row(*line)
    return table


def _origin(header: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in header["versions"].items())
    kernel = str(header.get("degrade", _USUAL))
    return (
        f"{header['date']}, {header['seconds']:.0f} s, {header['cpu']} ({header['cpus']} CPUs), "
        f"{versions}. Whole configuration: evaluation.json."
        + f" Sources made smaller with the kernel {kernel}."
        * (kernel != _USUAL)
    )


def _error_part(rows: Sequence[Row]) -> list[str]:
    lines = error_lines(rows)
    return ["## Errors", "\n".join(f"- {line}" for line in lines)] if lines else []
