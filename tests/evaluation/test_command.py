"""``dfp-batch evaluate`` as a user gives it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from conftest import texture, write_image
from dfp_batch.cli import app
from dfp_batch.errors import ConfigError
from evaluation_parts import multi_focus, write_archive

QUICK = ("--workers", "1")


def evaluate(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def archive(tmp_path):
    return write_archive(tmp_path / "archive", 2)


def test_tables_per_scale_and_exit_0(archive, tmp_path):
    done = evaluate(
        archive, "--methods", "classical, average+lanczos", "--output", tmp_path / "out", *QUICK
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.index("Scale 1") < done.stdout.index("Scale 2")
    assert "PSNR vs classical" in done.stdout
    assert "average+lanczos" in done.stdout
    assert f"{tmp_path}/out/items.csv" in done.stdout
    assert "done, 0 failed, 0 running of 4" in done.stderr
    header = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert list(header["methods"]) == ["classical", "average+lanczos"]
    assert header["scales"] == [1, 2]


def test_errors_are_named_and_exit_3(archive, tmp_path):
    write_image(f"{tmp_path}/CNN/p0.png", multi_focus()[0])
    write_image(f"{tmp_path}/GFF/p0.png", texture(48, 56))
    write_image(f"{tmp_path}/GFF/p1.png", texture(48, 56))
    done = evaluate(
        archive, "--external", f"CNN={tmp_path}/CNN", "--external", f"GFF={tmp_path}/GFF",
        "--methods", "average", "--versus", "GFF", "--scales", "1",
        "--output", tmp_path / "out", *QUICK,
    )  # fmt: skip
    assert done.exit_code == 3
    assert "1 error:" in done.stdout
    assert f"p1 x1 CNN: ImageError: {tmp_path}/CNN/p1.*: nothing is there" in done.stdout
    assert "PSNR vs GFF" in done.stdout


def test_scenes_take_their_flags(tmp_path):
    done = evaluate(
        "procedural", "--methods", "average", "--scales", "2", "--side", "48", "--limit", "2",
        "--seed", "5", "--images", "--output", tmp_path / "out", *QUICK,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    header = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert (header["side_px"], header["limit"], header["seed"]) == (48, 2, 5)
    assert len(list(Path(tmp_path / "out/images/x2/average").iterdir())) == 2
    assert len(list(Path(tmp_path / "out/sources/x2").iterdir())) == 4


def test_the_kernel_of_the_sources_is_asked_for_and_recorded(archive, tmp_path):
    done = evaluate(
        archive, "--methods", "average, average kernel=sigma=1.2", "--scales", "2",
        "--degrade", "sigma=1.2", "--output", tmp_path / "out", *QUICK,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    header = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert header["degrade"] == "sigma=1.2"
    assert header["methods"]["average kernel=sigma=1.2"]["kernel"]["sigma_px"] == 1.2
    assert "sigma=1.2" in (tmp_path / "out/items.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no method to evaluate"),
        (["--methods", "sharpest"], "unknown method 'sharpest'"),
        (["--methods", "average", "--scales", "1,x"], "scales must be like 1,2, got '1,x'"),
        (["--methods", "average", "--scales", "5"], "scales must be 1, 2, 3 or 4, got 5"),
        (["--methods", "average", "--limit", "0"], "limit must be >= 1, got 0"),
        (["--methods", "average", "--workers", "0"], "workers must be >= 1, got 0"),
        (["--methods", "average", "--versus", "x"], "versus must be one of average, got 'x'"),
        (["--methods", "average", "--degrade", "box"], "kernel: no component 'box'; known: lanc"),
        (["--external", "CNN"], "--external takes NAME=DIR, got 'CNN'"),
        (["--external", "CNN=/nowhere"], "CNN: /nowhere holds nothing"),
    ],
)
def test_bad_usage_is_told_before_anything_runs(archive, tmp_path, arguments, text):
    done = evaluate(archive, "--output", tmp_path / "out", *arguments)
    assert isinstance(done.exception, ConfigError)
    assert text in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_the_process_exits_with_2_and_one_line(archive, tmp_path):
    command = [
        sys.executable,
        "-m",
        "dfp_batch",
        "evaluate",
        archive,
        "--output",
        f"{tmp_path}/out",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: no method to evaluate; name some of balanced, fast")
    assert len(done.stderr.splitlines()) == 1
