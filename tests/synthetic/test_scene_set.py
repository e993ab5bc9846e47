import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

from conftest import texture, write_image
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.io import codec, storage
from dfp_batch.runs.manifest import Pair, read_manifest
from dfp_batch.synthetic import BUNDLED, SceneSet, SceneSpec, make_scene, write_scenes

LEVEL = 1 / 255


def same(one, other):
    return all(np.array_equal(array, getattr(other, name)) for name, array in vars(one).items())


@pytest.fixture
def folder(tmp_path):
    """Five flat images, 20, 60, 100, 140, 180 in natural order of their names; and other files."""
    url = str(tmp_path / "sharp")
    for k, name in enumerate(("a_1.png", "a_2.jpg", "a_10.png", "b.tiff", "c.PNG")):
        extension = codec.extension_of(name)
        write_image(f"{url}/{name}", np.full((40, 60, 3), 20 + 40 * k, np.uint8), extension)
    for name in ("notes.txt", ".hidden.png", "inner/d.png"):
        storage.write_bytes(f"{url}/{name}", b"no image")
    return url


@pytest.mark.parametrize("origin", ["bundled", "procedural"])
def test_a_scene_depends_on_origin_spec_size_seed_and_index(origin):
    scenes = SceneSet(origin, side_px=32)
    first = scenes.scene(1)
    assert same(first, SceneSet(origin, side_px=32, count=40).scene(1))
    assert same(first, pickle.loads(pickle.dumps(scenes)).scene(1))
    assert not same(first, scenes.scene(3))
    assert not same(first, replace(scenes, seed=1).scene(1))
    assert not same(first, replace(scenes, spec=SceneSpec(layers=6)).scene(1))
    assert first.truth.shape == (3, 32, 32)


def test_the_bundled_photographs_come_in_their_order_and_need_no_network(monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    names = SceneSet("bundled", side_px=16).names()
    assert names == list(BUNDLED)
    assert len(names) == 12
    for number in range(12):
        image = SceneSet("bundled", side_px=16).image(number)
        assert image.shape[1:] == (16, 16)
        assert image.std() > 0.01


def test_procedural_images_differ_by_number_and_seed():
    scenes = SceneSet("procedural", side_px=16)
    images = [scenes.image(0), scenes.image(1), replace(scenes, seed=1).image(0)]
    assert len({image.tobytes() for image in images}) == 3


def test_the_mixture_varies_layers_psf_and_defocus():
    specs = [SceneSet("bundled", scale=2).spec_of(index) for index in range(8)]
    assert [spec.layers for spec in specs] == [2, 3, 4, 5] * 2
    assert [spec.defocus_px for spec in specs] == [3, 4, 5, 6] * 2
    assert [spec.psf for spec in specs] == ["disc", "disc", "gaussian", "gaussian"] * 2
    assert {spec.scale for spec in specs} == {2}
    assert len({replace(spec, layers=2, psf="disc", defocus_px=3) for spec in specs}) == 1


def test_the_scale_of_the_set_wins_and_the_side_is_cut_to_a_multiple():
    scene = SceneSet("procedural", SceneSpec(frames=3, scale=4), scale=3, side_px=50).scene(0)
    assert scene.truth.shape == (3, 48, 48)
    assert scene.sources.shape == (3, 3, 16, 16)


@pytest.mark.parametrize("spec", [None, SceneSpec(kernel=Gaussian(0.6))])
def test_the_kernel_of_the_set_wins(spec):
    scenes = SceneSet("procedural", spec, 2, side_px=48, kernel=Gaussian(1.2))
    assert scenes.spec_of(2) == replace(scenes.spec_of(2), kernel=Gaussian(1.2), scale=2)
    assert not same(scenes.scene(0), replace(scenes, kernel=Lanczos2()).scene(0))
    at_1 = replace(scenes, scale=1)
    assert same(at_1.scene(0), replace(at_1, kernel=Lanczos2()).scene(0))


def test_files_of_a_folder_in_natural_order_name_the_scenes(folder):
    scenes = SceneSet(folder, count=7)
    assert scenes.names() == ["a_1", "a_2", "a_10", "b", "c", "a_1-2", "a_2-2"]


def test_even_scenes_show_one_image_and_odd_ones_three(folder):
    scenes = SceneSet(folder, SceneSpec(layers=8, strokes=3), side_px=32, count=6)
    for index in range(6):
        levels = [20 + 40 * ((index + step) % 5) for step in (0, 5, 8)]
        shown = scenes.scene(index).truth * 255
        assert min(levels) - 2 <= shown.min()
        assert shown.max() <= max(levels) + 2
        assert (np.ptp(shown) > 4) == (index % 2 == 1)
        assert abs(shown - levels[0]).min() <= 2


@pytest.mark.parametrize(("h", "w"), [(40, 90), (90, 40), (24, 20), (32, 32)])
def test_images_are_resized_by_the_shorter_side_and_cropped_in_the_centre(tmp_path, h, w):
    y, x = np.mgrid[:h, :w]
    distance = np.hypot(y - (h - 1) / 2, x - (w - 1) / 2) / min(h, w)
    pixels = np.where(distance < 0.3, 200, 50).astype(np.uint8)[..., None]
    write_image(f"{tmp_path}/disc.png", pixels)
    [truth] = SceneSet(str(tmp_path), side_px=32).scene(0).truth
    assert truth.shape == (32, 32)
    share = ((truth - 50 / 255) / (150 / 255)).mean()
    assert share == pytest.approx(np.pi * 0.3**2, rel=0.06)
    np.testing.assert_allclose(truth, truth[::-1], atol=2 * LEVEL)
    np.testing.assert_allclose(truth, truth[:, ::-1], atol=2 * LEVEL)


def test_sixteen_bit_and_grey_images_are_taken(tmp_path):
    pixels = texture(32, 32, 1).astype(np.uint16) * 257
    write_image(f"{tmp_path}/deep.png", pixels)
    [truth] = SceneSet(str(tmp_path), side_px=32).scene(0).truth
    assert np.abs(truth - pixels[..., 0] / 65535).max() <= 0.51 * LEVEL


def test_names_that_are_equal_or_unusable_become_usable_and_differ(tmp_path):
    for name in ("IMG.png", "img.tiff", "x.png", "x.jpg", "x-2.png", "日" * 40 + ".png"):
        write_image(f"{tmp_path}/{name}", texture(16, 16), codec.extension_of(name))
    names = SceneSet(str(tmp_path), count=13).names()
    assert len({name.casefold() for name in names}) == 13
    assert "scene-005" in names
    assert not any("日" in name for name in names)


def test_a_folder_without_images_is_refused_by_name(tmp_path):
    storage.write_bytes(f"{tmp_path}/notes.txt", b"no image")
    scenes = SceneSet(str(tmp_path))
    for ask in (scenes.names, lambda: scenes.scene(0)):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert str(caught.value).startswith(f"{tmp_path}: holds no image; expected bundled, proc")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 5}, "scale must be 1, 2, 3 or 4, got 5"),
        ({"scale": 4, "side_px": 63}, "side_px must be >= 64, got 63"),
        ({"count": 0}, "count must be >= 1, got 0"),
        ({"seed": -1}, "seed must be >= 0, got -1"),
    ],
)
def test_a_field_out_of_its_range_is_refused(change, message):
    with pytest.raises(ConfigError) as caught:
        SceneSet("bundled", **change)
    assert str(caught.value) == message


def read(url):
    return codec.to_unit(codec.decode(storage.read_bytes(url), url))


@pytest.fixture(params=["file", "memory"])
def target(request, tmp_path):
    return f"{tmp_path}/scenes" if request.param == "file" else f"memory://scenes-{tmp_path.name}"


def test_what_is_written_is_what_was_made(target):
    scenes = SceneSet("procedural", SceneSpec(frames=3), scale=2, side_px=48, count=2)
    pairs, problems = write_scenes(target, scenes)
    assert problems == []
    assert read_manifest(f"{target}/manifest.parquet") == pairs
    for index, pair in enumerate(pairs):
        name, scene = f"scene-00{index}", scenes.scene(index)
        sources, masks = (
            tuple(f"{target}/{kind}/{name}_{letter}.png" for letter in "ABC")
            for kind in ("sources", "masks")
        )
        assert pair == Pair(name, sources, f"{target}/reference/{name}.png", masks=masks)
        np.testing.assert_array_equal([read(url) for url in sources], scene.sources)
        np.testing.assert_array_equal(read(pair.reference), scene.truth)
        shown = np.concatenate([read(url) for url in masks])
        assert set(np.unique(shown)) <= {0, 1}
        np.testing.assert_array_equal(shown.sum(0), 1)
        np.testing.assert_array_equal(shown.argmax(0), scene.labels)


def test_an_archive_can_be_moved(tmp_path):
    write_scenes(f"{tmp_path}/here", SceneSet("procedural", side_px=32, count=1))
    (tmp_path / "here").rename(tmp_path / "there")
    [pair] = read_manifest(f"{tmp_path}/there/manifest.parquet")
    for url in (*pair.sources, *pair.masks, pair.reference):
        assert url.startswith(f"{tmp_path}/there/")
        assert read(url).shape == (3 if "masks" not in url else 1, 32, 32)


def test_a_relative_folder_is_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [pair], _ = write_scenes("new", SceneSet("procedural", side_px=32, count=1))
    assert pair.reference == f"{tmp_path}/new/reference/scene-000.png"


def test_a_broken_file_costs_only_the_scenes_made_of_it(folder, tmp_path):
    storage.write_bytes(f"{folder}/b.tiff", b"")
    pairs, problems = write_scenes(f"{tmp_path}/scenes", SceneSet(folder, side_px=32, count=5))
    assert [pair.pair_id for pair in pairs] == ["a_1", "a_2", "a_10", "c"]
    assert problems == [f"b: {folder}/b.tiff: is empty (0 bytes), expected an image"]


def test_when_no_scene_can_be_made_nothing_is_written(tmp_path):
    storage.write_bytes(f"{tmp_path}/in/a.png", b"")
    with pytest.raises(ImageError, match=r"^no scene could be made; a: .*a\.png: is empty"):
        write_scenes(f"{tmp_path}/out", SceneSet(f"{tmp_path}/in", side_px=32, count=2))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_a_manifest_is_left_alone(target):
    storage.write_bytes(f"{target}/manifest.parquet", b"mine")
    with pytest.raises(ConfigError) as caught:
        write_scenes(target, SceneSet("procedural", side_px=32, count=1))
    assert str(caught.value) == f"{target}/manifest.parquet exists already; choose another folder"
    assert storage.list_folder(target) == (["manifest.parquet"], [])


def test_seeds_of_a_series_are_not_those_of_single_scenes():
    scenes = SceneSet("procedural", SceneSpec(), side_px=32)
    image = scenes.image(2)
    assert same(scenes.scene(2), make_scene([image], SceneSpec(), (0, 2)))
    assert not same(scenes.scene(2), make_scene([image], SceneSpec(), 2))
