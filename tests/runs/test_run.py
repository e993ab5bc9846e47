"""``Run``: what a run has made, read when it is asked for, from a folder and from a bucket."""

import numpy as np
import pytest

from conftest import texture
from dfp_batch import Run
from dfp_batch.config.run_config import run_config
from dfp_batch.errors import ConfigError, ObjectMissingError
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.runs.attempts import PairRecord
from dfp_batch.runs.ledger import Ledger
from dfp_batch.runs.manifest import Pair, folder_name

IDS = ("tray/1", "b", "c")
IMAGE = texture(20, 30)
PREVIEW = b"\xff\xd8\xff a JPEG"


def ok(pair_id, attempt=1):
    facts = {"output_url": f"/where/it/was/{folder_name(pair_id)}/fused.png", "mg": 2.5}
    return PairRecord(pair_id, attempt, "ok", "publish", 1.0, 2.0, facts=facts)


@pytest.fixture
def run(run_url):
    """One pair is done, one has failed, one is pending."""
    pairs = [Pair(name, (f"/{name}1.png", f"/{name}2.png")) for name in IDS]
    with Ledger.open(run_url, run_config("classical", None, {}), pairs) as ledger:
        ledger.append(ok("tray/1"))
        ledger.append(PairRecord("b", 1, "error", "prepare", 1.0, 2.0, "input", "E", "no image"))
    folder = f"{run_url}/outputs/{folder_name('tray/1')}"
    storage.write_bytes(f"{folder}/fused.png", codec.encode(Frame(IMAGE), "png"))
    storage.write_bytes(f"{folder}/preview.jpg", PREVIEW)
    return Run(run_url)


def test_a_run_tells_what_its_directory_says(run):
    table = run.table()
    assert table["pair_id"].to_pylist() == ["tray/1", "b"]
    assert table["mg"].to_pylist() == [2.5, None]
    status = run.status()
    assert (status.ok, status.failed, status.pending) == (1, 1, 1)
    (group,) = run.failures()
    assert (group.message, group.pair_ids) == ("no image", ["b"])


def test_an_item_is_its_image_where_the_run_is_now(run):
    item = run.item("tray/1")
    np.testing.assert_array_equal(item.image(), IMAGE)
    assert item.url == f"{run.url}/outputs/tray%2F1/fused.png"
    assert item.row["mg"] == 2.5
    assert item._repr_jpeg_() == PREVIEW
    assert run.item("b")._repr_jpeg_() is None
    assert repr(item) == f"Run({run.url!r}).item('tray/1')"


def test_what_has_no_image_says_why(run):
    with pytest.raises(ObjectMissingError) as caught:
        run.item("b").image()
    assert str(caught.value) == f"{run.url}: 'b' has no image (error, input: no image)"
    with pytest.raises(ConfigError, match="pair 'c' is pending, it has no row yet"):
        run.item("c").image()
    with pytest.raises(ConfigError, match="has no pair 'tray/2', but 'tray/1'"):
        run.item("tray/2").row  # noqa: B018 - it is read by being asked for


def test_nothing_is_read_before_it_is_asked_for(tmp_path):
    run = Run(tmp_path / "none")
    item = run.item("a")
    for ask in (run.table, run.status, run.failures, item.image):
        with pytest.raises(ConfigError, match="none is not a run directory"):
            ask()


def test_a_run_that_goes_on_is_read_anew(run):
    first = run.item("tray/1").row
    with pytest.raises(ConfigError, match="pending"):
        run.item("c").row  # noqa: B018 - likewise
    with Ledger.reopen(run.url) as ledger:
        ledger.append(ok("c"))
        ledger.append(ok("b", 2))
    assert run.item("c").row["status"] == "ok"
    assert run.item("b").row["status"] == "ok"
    assert run.item("tray/1").row == first


def test_items_read_the_table_once(run, monkeypatch):
    run.table()
    monkeypatch.setattr(storage, "list_files", None)  # of the parts
    assert [run.item(name).row["status"] for name in ("tray/1", "b")] == ["ok", "error"]


def test_a_path_is_as_good_as_a_url(run):
    if run.url.startswith("/"):
        from pathlib import Path  # noqa: PLC0415

        assert Run(Path(run.url)).status().total == 3
    assert Run(f"{run.url}/").url == run.url
