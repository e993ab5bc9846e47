"""``dfp_batch.submit``: an archive in one call."""

import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from dfp_batch import submit
from dfp_batch.engine.driver import Observer
from dfp_batch.errors import ConfigError, ManifestError


def test_an_archive_is_done_and_resumed(make_archive, local_ray, caplog):
    manifest = make_archive(3)
    caplog.set_level(logging.INFO, "dfp_batch.engine.submit")
    run = submit(manifest, preset="classical", scale=1, limit=2)
    assert run.url == manifest.removesuffix(".parquet") + "-x1"
    assert run.table()["pair_id"].to_pylist() == ["p00", "p01"]
    assert run.item("p00").image().shape == (24, 20, 3)
    assert "2 of 2 done, 0 failed" in caplog.text

    counts = []
    observer = Observer(lambda _: None, lambda now: counts.append((now.total, now.ok)))
    with ThreadPoolExecutor(1) as pool:  # as a server or a notebook may do it
        settings = {"focus.use": "sum-modified-laplacian"}
        arguments = (manifest, run.url, "classical", 1, settings, None, observer)
        again = pool.submit(submit, *arguments).result()
    assert again.status().ok == 3
    assert counts[-1] == (3, 3)


def test_a_folder_is_submitted_as_it_is(make_archive, local_ray, tmp_path):
    make_archive(1, folder=f"{tmp_path}/photos")
    (tmp_path / "photos" / "manifest.parquet").unlink()
    run = submit(tmp_path / "photos", tmp_path / "out", preset="classical", scale=1)
    assert run.url == f"{tmp_path}/out"
    assert run.status().ok == 1


def test_what_cannot_be_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ManifestError):
        submit(tmp_path / "none.parquet", tmp_path / "run")
    with pytest.raises(ConfigError, match="preset"):
        submit(tmp_path, preset="fastest")
    assert list(tmp_path.iterdir()) == []
