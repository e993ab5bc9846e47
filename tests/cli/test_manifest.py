"""``dfp-batch manifest``: a table to look at, or a file."""

from datetime import datetime, timedelta

import pytest
import s3fs

from archive_parts import fill, show
from codec_samples import exif_at, pillow, ramp
from command_line import run, said
from conftest import publish
from dfp_batch.cli import manifest as command
from dfp_batch.io.credentials import use_no_credentials
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join
from dfp_batch.runs.manifest import read_manifest
from store_parts import without_credentials


@pytest.fixture
def root(tmp_path):
    root = str(tmp_path / "photos")
    show(root, {"p_A.png": (1, 0.0), "p_B.png": (1, 1.0), "alone.png": (2, 0.0)})
    show(root, {f"deep/er/{number}.png": (3, float(number)) for number in (1, 2, 4, 5)})
    fill(root, "notes.txt")
    return root


def test_a_manifest_is_written_and_what_looks_wrong_is_said(root, tmp_path):
    done = run("manifest", root, "--output", tmp_path / "m.parquet")
    assert done.returncode == 0
    assert done.stdout == f"2 pairs -> {tmp_path}/m.parquet\n"
    assert done.stderr.splitlines() == [
        "warning: deep/er: gap in the numbers: 3 missing",
        "not paired: alone.png: the name does not end in _A, _B...",
    ]
    pairs = read_manifest(str(tmp_path / "m.parquet"))
    assert {pair.pair_id: len(pair.sources) for pair in pairs} == {"deep/er": 4, "p": 2}


def test_a_dry_run_shows_a_table_and_writes_nothing(root, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    text = said(0, "manifest", root, "--dry-run")
    assert sorted(tmp_path.rglob("*")) == before
    lines = [line.replace("│", " ").split() for line in text.splitlines()]
    assert ["deep/er", "4", "64x48", "PNG", "0.0", "!"] in lines
    assert ["p", "2", "64x48", "PNG", "0.0"] in lines
    assert text.splitlines()[-5:] == [
        "2 stacks of 6 frames (1 of 2, 1 of 4), 0.00 GB",
        "other files: 1 .txt",
        "left out: 1",
        "warning: deep/er: gap in the numbers: 3 missing",
        "not paired: alone.png: the name does not end in _A, _B...",
    ]


def test_much_is_not_all_shown(root, monkeypatch):
    monkeypatch.setattr(command, "SHOWN", 1)
    monkeypatch.setattr(command, "TOGETHER", 2)
    fill(root, *(f"{number}/x.jpg" for number in range(3)))
    text = said(0, "manifest", root, "--dry-run")
    assert "the first 1 of 2" in text
    assert " p " not in text
    assert text.splitlines()[-2:] == [
        "not paired: alone.png: the name does not end in _A, _B...",
        "and 1 more reasons",
    ]


def test_flat_folders_are_cut_as_asked(tmp_path):
    start = datetime(2026, 1, 1)
    for number in range(6):
        time = start + timedelta(seconds=number * 0.5 + 60 * (number > 3))
        data = pillow(ramp(20, 20, seed=number), "JPEG", exif=exif_at(time))
        write_bytes(join(str(tmp_path), f"IMG_{number}.jpg"), data)
    for how in (["--gap", "5s"], ["--every", "4"], ["--group", "(?P<pair>IMG)_(?P<z>.)"]):
        said(0, "manifest", tmp_path, *how, "--dry-run")
    target = tmp_path / "m.parquet"
    run("manifest", tmp_path, "--gap", "5s", "--output", target)
    assert [len(pair.sources) for pair in read_manifest(str(target))] == [4, 2]


def test_where_to_write_must_be_said(root):
    done = run("manifest", root)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: give --output FILE.parquet, or --dry-run to look only\n"


def test_a_public_bucket_is_read_without_credentials(s3_url, tmp_path, monkeypatch):
    root = f"{s3_url}/public/{tmp_path.name}"
    show(root, {"p_A.png": (1, 0.0), "p_B.png": (1, 1.0)})
    for name in ("p_A.png", "p_B.png"):
        publish(join(root, name))
    s3fs.S3FileSystem.clear_instance_cache()
    without_credentials(monkeypatch)
    try:
        done = run("manifest", root, "--dry-run")
        assert done.returncode == 4
        assert done.stderr.endswith("--anonymous reads a public bucket without\n")
        assert "1 stacks of 2 frames" in said(0, "manifest", root, "--dry-run", "--anonymous")
    finally:
        use_no_credentials(None)
        s3fs.S3FileSystem.clear_instance_cache()
    done = run("manifest", root, "--anonymous", "--output", f"{root}/m.parquet")
    assert done.returncode == 2
    assert "reads s3://archive without credentials, but" in done.stderr


def test_two_ways_to_cut_are_refused(root):
    done = run("manifest", root, "--gap", "5s", "--every", "3", "--dry-run")
    assert done.returncode == 2
    assert "give one of --gap, --every and --group, got --gap and --every" in done.stderr
