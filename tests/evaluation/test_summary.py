"""Statistics against closed forms and scipy; the tables that people read."""

import io
import math

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from dfp_batch.evaluation.scores import DIRECTIONS
from dfp_batch.evaluation.store import Evaluation
from dfp_batch.evaluation.summary import confidence_95, summarise, worst_mean
from dfp_batch.evaluation.tables import (
    Q_ABF_NOTE,
    RELATIVE_NOTE,
    UNEQUAL_NOTE,
    markdown,
    print_evaluation,
)
from dfp_batch.evaluation.work import SCHEMA

HEADER = {"date": "today", "seconds": 3, "cpu": "abacus", "cpus": 1, "versions": {"torch": "1"}}


def row(item, method, scale=1, status="ok", **columns):
    fixed = {"set": "lake", "item": item, "scale": scale, "method": method, "status": status}
    return dict.fromkeys(SCHEMA.names) | fixed | columns


def rows(method, values, metric="psnr_db", **columns):
    return [row(f"i{k}", method, **{metric: value}, **columns) for k, value in enumerate(values)]


def one(found, method, metric="psnr_db"):
    (match,) = [line for line in found if (line["method"], line["metric"]) == (method, metric)]
    return match


# statistics


def test_interval_of_two_values_by_hand():
    # t(0.975, 1) = tan(0.475 pi) = 12.7062; s / sqrt(2) of (1, 3) is 1.
    assert confidence_95(np.array([1.0, 3.0])) == pytest.approx(math.tan(0.475 * math.pi))


def test_interval_matches_scipy():
    values = np.random.default_rng(0).normal(30, 2, 17)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    half_width = confidence_95(values)
    assert values.mean() - half_width == pytest.approx(expected.low)
    assert values.mean() + half_width == pytest.approx(expected.high)


def test_one_value_has_no_interval():
    assert confidence_95(np.array([3.0])) is None


@pytest.mark.parametrize(("count", "worst"), [(1, [1]), (20, [1]), (21, [1, 2]), (60, [1, 2, 3])])
def test_worst_twentieth_has_at_least_one_item(count, worst):
    values = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert worst_mean(values, 1) == np.mean(worst)
    assert worst_mean(-values, -1) == -np.mean(worst)
    assert worst_mean(values, 0) is None


def test_paired_differences_by_hand():
    # i0: +1, i1: +3, i2: 0, i3: -2; i4 has no partner
    table = rows("a", [30.0, 30.0, 30.0, 30.0]) + rows("b", [31.0, 33.0, 30.0, 28.0, 99.0])
    found = one(summarise(table, ["a", "b"], "a"), "b")
    assert found["difference_mean"] == 0.5
    deviation = math.sqrt((0.5**2 + 2.5**2 + 0.5**2 + 2.5**2) / 3)
    assert found["difference_ci95"] == pytest.approx(stats.t.ppf(0.975, 3) * deviation / 2)
    assert (found["pairs"], found["wins"], found["losses"]) == (4, 2, 1)
    assert (found["values"], found["mean"]) == (5, pytest.approx(44.2))


def test_less_is_better_for_times():
    table = rows("a", [1.0, 1.0], "seconds") + rows("b", [0.5, 2.0], "seconds")
    found = one(summarise(table, ["a", "b"], "a"), "b", "seconds")
    assert (found["wins"], found["losses"], found["worst5_mean"]) == (1, 1, 2)


@pytest.mark.parametrize(
    "metric", ["mg", "ei", "ie", "mga", "eco", "rmg", "rei", "rie", "rmga", "reco"]
)
def test_nothing_is_ranked_by_the_metrics_of_the_paper(metric):
    table = rows("a", [1.0, 2.0], metric) + rows("b", [3.0, 3.0], metric)
    found = one(summarise(table, ["a", "b"], "a"), "b", metric)
    assert (found["mean"], found["difference_mean"]) == (3, 1.5)
    assert found["wins"] is found["losses"] is found["worst5_mean"] is None


def test_infinite_psnr_counts_as_a_hundred():
    table = rows("a", [math.inf, 50.0]) + rows("b", [math.inf, math.inf])
    summary = summarise(table, ["a", "b"], "a")
    assert one(summary, "a")["mean"] == 75
    found = one(summary, "b")
    assert (found["mean"], found["difference_mean"], found["wins"], found["losses"]) == (
        100,
        25,
        1,
        0,
    )


def test_errors_are_counted_and_left_out():
    table = [*rows("a", [30.0, 40.0]), row("i2", "a", status="error"), row("i2", "b", psnr_db=1.0)]
    summary = summarise(table, ["a", "b"], "b")
    found = one(summary, "a")
    assert (found["n"], found["errors"], found["mean"], found["pairs"]) == (2, 1, 35, 0)
    assert found["difference_mean"] is found["wins"] is None


def test_there_is_a_row_per_scale_method_and_metric():
    table = rows("a", [1.0]) + rows("a", [2.0], scale=2)
    found = summarise(table, ["a", "gone"], "a")
    assert len(found) == 2 * 2 * len(DIRECTIONS)
    assert [line["mean"] for line in found if line["metric"] == "psnr_db"] == [1, None, 2, None]
    assert one(summarise(rows("a", [1.0]), ["a"], "a"), "a")["pairs"] == 0


# tables


def full_rows():
    values = dict.fromkeys(DIRECTIONS, 0.5)
    better = values | {"psnr_db": 32.25}
    return [
        *[row(f"i{k}", "a", **values | {"psnr_db": 30.0 + k}) for k in range(3)],
        *[row(f"i{k}", "b|c", **better) for k in range(2)],
        row("i2", "b|c", status="error", error_type="ImageError", error_message="is broken"),
    ]


def report(table, methods=("a", "b|c")):
    return markdown(HEADER, table, summarise(table, list(methods), "a"))


def test_markdown_has_the_numbers_and_the_caveats():
    text = report(full_rows())
    assert "| a | 3 | 0 | 31.00 ± 2.48 | 30.00 | - | 0.5000 |" in text
    assert "| b/c | 2 | 1 | 32.25 ± 0.00 | 32.25 | +1.75 ± 6.35 (2:0) |" in text
    assert "PSNR vs a" in text
    assert RELATIVE_NOTE in text
    assert Q_ABF_NOTE.replace("*", "\\*") in text
    assert UNEQUAL_NOTE in text
    assert "- i2 x1 b|c: ImageError: is broken" in text


def test_markdown_tables_are_whole():
    lines = [line for line in report(full_rows()).splitlines() if line.startswith("|")]
    assert len(lines) == 3 * 4
    assert [line.count("|") for line in lines] == [lines[k // 4 * 4].count("|") for k in range(12)]


def test_columns_and_caveats_without_values_are_left_out():
    table = rows("a", [0.5, 0.6], "scd") + rows("b", [0.7, 0.7], "scd")
    text = report(table, ["a", "b"])
    assert "PSNR vs" not in text
    assert "| b | 2 | 0 | 0.700 | +0.150 ± 0.635 (2:0) |" in text
    assert "SCD vs a" in text
    for absent in ("RMG", "Q^AB/F", "accuracy", "details", "Errors"):
        assert absent not in text.replace("of luma", "")


def test_terminal_shows_tables_errors_and_files():
    table = full_rows()
    console = Console(file=io.StringIO(), width=160)
    summary = summarise(table, ["a", "b|c"], "a")
    print_evaluation(console, Evaluation("/there", table, summary))
    text = console.file.getvalue()
    assert "+1.75 ± 6.35 (2:0)" in text
    assert Q_ABF_NOTE[:60] in text
    assert "1 error:" in text
    assert "i2 x1 b|c: ImageError: is broken" in text
    assert "/there/items.csv" in text


def test_only_five_errors_are_shown():
    table = [row(f"i{k}", "a", status="error", error_type="E", error_message="m") for k in range(9)]
    text = report(table, ["a"])
    assert "9 errors:" in text
    assert text.count("E: m") == 5
    assert "and 4 more in items.csv" in text
