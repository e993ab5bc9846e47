"""The table of results, as wide as there is room: what matters least is left out first."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from dfp_batch.cli.console import print_as_it_is

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 20
LEAST_ID = 24  # columns for an id, before it is folded
_WITH_REFERENCE = (("psnr_db", "PSNR dB", 2), ("ssim", "SSIM", 4))
_WITHOUT = (("mg", "MG", 2), ("ei", "EI", 1))
_FRAME = 3  # columns beside a cell: a space, a space, a line
_Row = dict[str, Any]


@dataclass(frozen=True)
class _Column:
    """A column beside that of the ids.

    Attributes:
        heading: Above it.
        cell: What stands in a row.
        place: From 0 on, by what matters; the last is left out first.
    """

    heading: str
    cell: Callable[[_Row], str]
    place: int


def print_results(console: Console, rows: "pa.Table", limit: int = SHOWN_ROWS) -> None:
    """A table of the first rows: what came out, and beside each metric that of the floor."""
    import pyarrow.compute as pc

    done = rows.filter(pc.equal(rows["status"], "ok"))
    shown = [(row["pair_id"], row) for row in rows.slice(0, limit).to_pylist()]
    means = list(_mean_rows(done)) if done.num_rows > 1 else []
    has_reference = rows["psnr_db"].null_count < rows.num_rows
    columns = _fitting(_columns(has_reference), [*shown, *means], console.width)
    table = Table(title=None if rows.num_rows <= limit else f"first {limit} of {rows.num_rows}")
    table.add_column("pair", overflow="fold")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for part in (shown, means):
        table.add_section()
        for name, row in part:
            table.add_row(name, *(column.cell(row) for column in columns))
    console.print(table, markup=False)
    if kernel := archive_kernel(done):
        print_as_it_is(console, f"kernel   {kernel}")


def _columns(has_reference: bool) -> list[_Column]:
    """All of them, in their order."""
    (first, name, digits), (second, other, more) = _WITH_REFERENCE if has_reference else _WITHOUT
    return [
        _Column("result", _outcome, 0),
        _Column(name, lambda row: _number(row[first], digits), 1),
        _Column("floor", lambda row: _number(row[f"floor_{first}"], digits), 2),
        _Column(other, lambda row: _number(row[second], more), 4),
        _Column("floor", lambda row: _number(row[f"floor_{second}"], more), 5),
        _Column("seconds", _seconds, 3),
    ]


def _fitting(columns: list[_Column], rows: Sequence[tuple[str, _Row]], width: int) -> list[_Column]:
    """The columns that leave room for the ids."""
    least = min(LEAST_ID, max((len(name) for name, _ in rows), default=0))

    def taken(column: _Column) -> int:
        cells = [column.heading, *(column.cell(row) for _, row in rows)]
        return max(map(len, cells)) + _FRAME

    while len(columns) > 1 and sum(map(taken, columns)) + least + _FRAME + 1 > width:
        columns = [column for column in columns if column.place < len(columns) - 1]
    return columns


def _mean_rows(done: "pa.Table") -> Iterator[tuple[str, _Row]]:
    """Means of all pairs, and of those that were compared with the floor where these are fewer."""
    import pyarrow.compute as pc

    compared = done.filter(pc.is_valid(done["floor_mg"]))
    all_compared = compared.num_rows == done.num_rows
    own = _means(done)
    floors = {name: value for name, value in own.items() if name.startswith("floor_")}
    yield f"mean of {done.num_rows}", own if all_compared else own | dict.fromkeys(floors)
    if not all_compared:
        yield f"on {compared.num_rows} sampled pairs", _means(compared)


def _means(rows: "pa.Table") -> _Row:
    import pyarrow.compute as pc

    from dfp_batch.runs.attempts import METRIC_COLUMNS

    return {name: pc.mean(rows[name]).as_py() for name in METRIC_COLUMNS}


def archive_kernel(rows: "pa.Table") -> str:
    """What the estimates of ``--kernel auto-item`` say together; "" if there are none."""
    import pyarrow.compute as pc

    known = rows.filter(pc.is_valid(rows["kernel_error_px"]))
    if not known.num_rows:
        return ""
    from dfp_batch.degradation.kernel_estimation import KernelEstimate, combine
    from dfp_batch.degradation.kernels import Lanczos2

    estimates = [
        KernelEstimate(Lanczos2(), row["kernel_sigma_px"], row["kernel_error_px"])
        for row in known.select(["kernel_sigma_px", "kernel_error_px"]).to_pylist()
    ]
    found = combine(estimates, known["scale"][0].as_py())
    return (
        f"{found.kernel}: what {len(estimates)} items say together, sigma {found.sigma_px:.2f} +- "
        f"{found.error_px:.2f} px; --kernel {found.kernel} takes it for all"
    )


def _outcome(row: _Row) -> str:
    if "status" not in row:  # of means
        return ""
    if row["status"] == "ok":
        return f"{row['width_px']}x{row['height_px']} px"
    return f"{row['status']}: {row['category']}"


def _seconds(row: _Row) -> str:
    if "status" not in row:
        return ""
    stages = ("prepare", "reconstruct", "publish")
    return f"{sum(row[f't_{stage}_s'] or 0 for stage in stages):.1f}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
