"""What the options of the command line mean."""

from datetime import datetime, timedelta, timezone

import pytest
import typer

from dfp_batch import cli
from dfp_batch.cli.options import resolve
from dfp_batch.cli.session import deadline
from dfp_batch.config.run_config import Reading
from dfp_batch.errors import ConfigError


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], Reading()),
        (["--stack-axis", "T", "--focus-channel", "2", "--fit", "crop"], Reading("T", 2, "crop")),
        (["--focus-channel", "sum"], Reading()),
        (["--set", "reading.focus_channel=3"], Reading(focus_channel=3)),
    ],
)
def test_options_say_how_files_are_read(words, expected):
    assert resolve(parsed(["m.parquet", *words])).reading == expected


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stack-axis", "C"], "stack_axis': Input should be 'Z' or 'T', got 'C'"),
        (
            ["--focus-channel", "red"],
            "must be sum, or the number of a channel from 0 on, got 'red'",
        ),
        (["--focus-channel", "-1"], "must be sum, or the number of a channel from 0 on, got '-1'"),
        (["--fit", "scale"], "fit': Input should be 'none' or 'crop', got 'scale'"),
    ],
)
def test_ways_to_read_that_are_none_are_refused(words, message):
    with pytest.raises(ConfigError) as caught:
        resolve(parsed(["m.parquet", *words]))
    assert message in str(caught.value)


def parsed(words):
    """Context of ``submit`` with these words."""
    return typer.main.get_command(cli.app).commands["submit"].make_context("submit", words)


NOW = datetime(2026, 11, 25, 22, 30, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("until", "max_hours", "expected"),
    [
        (None, None, None),
        ("23:00", None, "2026-11-25T23:00+01:00"),
        ("07:00", None, "2026-11-26T07:00+01:00"),
        ("22:30", None, "2026-11-26T22:30+01:00"),
        ("2026-12-01T07:00", None, "2026-12-01T07:00+01:00"),
        ("2026-12-01 06:00+00:00", None, "2026-12-01T06:00+00:00"),
        (None, 1.5, "2026-11-26T00:00+01:00"),
    ],
)
def test_the_end_of_a_run(until, max_hours, expected):
    assert deadline(until, max_hours, NOW) == (expected and datetime.fromisoformat(expected))


@pytest.mark.parametrize(
    ("until", "max_hours", "message"),
    [
        ("7 am", None, "--until must be a time like 07:00, or 2026-12-01T07:00, got '7 am'"),
        ("2026-11-25T07:00", None, "--until 2026-11-25T07:00 is past; now is 2026-11-25T22:30"),
        ("07:00", 8, "give --until or --max-hours, not both"),
    ],
)
def test_an_end_that_is_none(until, max_hours, message):
    with pytest.raises(ConfigError, match=message):
        deadline(until, max_hours, NOW)
