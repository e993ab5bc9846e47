"""What people see: progress in a log file, tables."""

import io

import pyarrow as pa
import pytest
from rich.console import Console

from dfp_batch.cli import console as console_module
from dfp_batch.cli.console import LiveProgress, duration, print_dashboard, print_places
from dfp_batch.cli.results_table import print_results
from dfp_batch.runs.attempts import SCHEMA
from dfp_batch.runs.status import Counts


def console(width=80):
    return Console(file=io.StringIO(), width=width)


def row(pair_id, **columns):
    required = {"run_id": "r", "pair_id": pair_id, "epoch": 1, "attempt": 1, "status": "ok"}
    return required | {"width_px": 40, "height_px": 30, "mg": 2.0, "floor_mg": 3.0} | columns


def shown(rows, width=80, **options):
    target = console(width)
    print_results(target, pa.Table.from_pylist(rows, schema=SCHEMA), **options)
    return target.file.getvalue()


def test_a_log_file_gets_plain_lines_and_not_one_per_second():
    target = console()
    with LiveProgress(target) as progress:
        for done in range(5):
            progress.moved(Counts(total=9, ok=done, running=2))
    assert target.file.getvalue() == "0 done, 0 failed, 2 running of 9\n"


def test_a_log_file_gets_no_line_twice(monkeypatch):
    monkeypatch.setattr(console_module, "LINE_EVERY_S", 0.0)
    target = console()
    with LiveProgress(target) as progress:
        for done in (0, 1, 1, 1, 3):
            progress.moved(Counts(total=4, ok=done))
    lines = target.file.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["0 done", "1 done", "3 done"]


def test_the_table_shows_psnr_only_where_there_is_a_reference():
    assert "PSNR" not in shown([row("a"), row("b")])
    text = shown([row("a", psnr_db=31.25, floor_psnr_db=30.5), row("b")])
    assert "31.25" in text
    assert "30.50" in text


def test_the_table_names_failures_and_is_cut_with_a_word():
    failed = row("bad", status="error", category="input", width_px=None, mg=None)
    text = shown([failed, *(row(f"p{k}") for k in range(30))], limit=10)
    assert "error: input" in text
    assert "first 10 of 31" in text
    assert "p9" not in text
    assert "mean of 30" in text


@pytest.mark.parametrize("width", [132, 80, 60, 40])
def test_long_ids_are_folded_and_what_matters_least_makes_room_for_them(width):
    names = [f"plate-0042/{number}/" * 12 for number in range(2)]
    numbers = {"psnr_db": 31.25, "floor_psnr_db": 30.5, "ssim": 0.987, "floor_ssim": 0.985}
    lines = shown([row(name, **numbers) for name in names], width).splitlines()
    assert max(map(len, lines)) <= width
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert "".join(cell[0] for cell in cells) == "".join(names) + "mean of 2"
    assert [cell for cell in cells[0][1:] if cell] == {
        132: ["40x30 px", "31.25", "30.50", "0.9870", "0.9850", "0.0"],
        80: ["40x30 px", "31.25", "30.50", "0.9870", "0.0"],
        60: ["40x30 px", "31.25", "30.50"],
        40: ["40x30 px"],
    }[width]


def test_ids_are_shown_as_they_are():
    assert "│ [red]a[/] 1 │" in shown([row("[red]a[/] 1")])


def test_the_report_is_named_where_there_is_one(tmp_path):
    target = console()
    print_places(target, str(tmp_path))
    (tmp_path / "report.html").touch()
    print_places(target, str(tmp_path))
    images = f"images   {tmp_path}/outputs/<pair>/fused.*"
    report = f"report   {tmp_path}/report.html"
    assert target.file.getvalue().splitlines() == [images, images, report]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (119.4, "119 s"), (720, "12 min"), (12_240, "3.4 h"), (181_440, "2.1 days")],
)
def test_times_are_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_no_dashboard_no_line():
    target = console()
    print_dashboard(target, "")
    assert target.file.getvalue() == ""


def test_estimated_kernels_are_put_together_for_the_archive():
    rows = [
        row(f"p{k}", scale=2, kernel_sigma_px=sigma, kernel_error_px=0.1)
        for k, sigma in enumerate((1.2, 1.3, 1.25))
    ]
    text = shown([*rows, row("flat", scale=2), row("bad", status="error")])
    line = "what 3 items say together, sigma 1.25 +- 0.06 px; --kernel sigma=1.16 takes it for all"
    assert text.endswith(f"kernel   sigma=1.16: {line}\n")
    assert "kernel" not in shown([row("a", scale=2)])
