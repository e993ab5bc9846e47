"""Where the pairs of a run come from: a manifest, or a folder that becomes one on the way."""

import uuid

import pytest

from archive_parts import fill
from dfp_batch.archive.cuts import Count, Names
from dfp_batch.engine.intake import first_pairs, pairs_of, run_beside
from dfp_batch.errors import ConfigError, ManifestError
from dfp_batch.io import storage
from dfp_batch.io.urls import join
from dfp_batch.runs.manifest import Pair, read_manifest, write_manifest
from dfp_batch.runs.origin import made_from
from microscope_parts import nd2, volume


@pytest.fixture(params=["file", "s3"])
def root(request, tmp_path):
    if request.param == "file":
        return str(tmp_path / "photos")
    return f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}/photos"


def test_a_folder_is_looked_through_once(root):
    fill(root, "x_A.png", "x_B.png", "alone.png")
    said, run = [], join(root, "manifest-x2")
    pairs = first_pairs(root, None, run, said.append)
    assert pairs == [Pair("x", (join(root, "x_A.png"), join(root, "x_B.png")))]
    assert read_manifest(join(run, "manifest.parquet")) == pairs
    assert said == [
        f"found: 1 stacks of 2 files in {root}",
        "not paired: alone.png: the name does not end in _A, _B...",
    ]
    fill(root, "y_A.png", "y_B.png")
    assert first_pairs(f"{root}/", None, run, said.append) == pairs
    assert len(said) == 2
    assert [pair.pair_id for pair in pairs_of(root)] == ["x", "y"]


def test_much_that_is_left_out_is_not_all_said(tmp_path):
    fill(str(tmp_path), "x_A.png", "x_B.png", *(f"{number}.png" for number in range(9)))
    said = []
    first_pairs(str(tmp_path), None, str(tmp_path / "run"), said.append)
    assert len(said) == 7
    assert said[-1] == ("not paired: 4 more; `dfp-batch manifest DIR --dry-run` names them")


def test_a_run_stays_what_it_began_as(tmp_path):
    root, run = str(tmp_path / "photos"), str(tmp_path / "run")
    fill(root, *(f"{number}.png" for number in range(6)))
    pairs = first_pairs(root, Count(3), run, print)
    assert [len(pair.sources) for pair in pairs] == [3, 3]
    again = "give the same again (more pairs are added by --append), or another --output"
    for url, how, told in [
        (root, Count(2), f"{root} --every 2"),
        (root, None, root),
        (str(tmp_path), Count(3), f"{tmp_path} --every 3"),
        (root, Names("(?P<pair>.)"), f"{root} --group (?P<pair>.)"),
    ]:
        with pytest.raises(ConfigError) as error:
            first_pairs(url, how, run, print)
        assert f"{run} began with {root} --every 3, not with {told}; {again}" in str(error.value)
    other = str(tmp_path / "other")
    write_manifest(join(other, "manifest.parquet"), pairs)
    with pytest.raises(ConfigError, match=f"{other} began with a manifest, not with {root}"):
        first_pairs(root, Count(3), other, print)


def test_a_manifest_is_read_as_ever(root):
    url, pair = join(root, "m.parquet"), Pair("x", (join(root, "1.png"), join(root, "2.png")))
    write_manifest(url, [pair])
    assert first_pairs(url, None, join(root, "run"), print) == pairs_of(url) == [pair]
    assert not storage.exists(join(root, "run/manifest.parquet"))
    assert made_from(url) is None
    with pytest.raises(ConfigError, match=r"--every cuts folders, .*m\.parquet is a manifest"):
        pairs_of(url, Count(3))
    with pytest.raises(ManifestError, match="nothing is there"):
        pairs_of(join(root, "none.parquet"))


def test_where_a_run_lies_if_nothing_is_said(root):
    fill(root, "x.png")
    write_manifest(join(root, "m.parquet"), [])
    assert run_beside(root, 2) == join(root, "manifest-x2")
    assert run_beside(f"{root}/", 2) == join(root, "manifest-x2")
    assert run_beside(join(root, "m.parquet"), 3) == join(root, "m-x3")


def test_the_run_of_a_file_of_stacks_lies_beside_it(root):
    url = join(root, "embryo.nd2")
    storage.write_bytes(url, nd2(volume(1), volume(1)))
    assert pairs_of(url) == [Pair(f"embryo/{k}", (f"{url}#{k}",)) for k in range(2)]
    assert run_beside(url, 2) == join(root, "embryo.nd2-x2")
    assert run_beside(join(root, "a.ome.zarr/"), 2) == join(root, "a.ome.zarr-x2")


def test_what_is_no_manifest_was_made_of_nothing(tmp_path):
    storage.write_bytes(str(tmp_path / "m.parquet"), b"no manifest")
    with pytest.raises(ManifestError, match="is not a whole Parquet file"):
        made_from(str(tmp_path / "m.parquet"))
    with pytest.raises(ManifestError, match="expected a Parquet manifest"):
        made_from(str(tmp_path / "none.parquet"))
