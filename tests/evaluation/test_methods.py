"""Names of methods, and the folders of results that others have made."""

import re
from dataclasses import replace

import numpy as np
import pytest

from conftest import texture, write_image
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, ImageError
from dfp_batch.evaluation import External, named_methods, split_externals, split_names
from dfp_batch.evaluation.methods import describe_method
from dfp_batch.focus.double_reblur import DoubleReblur
from dfp_batch.focus.undecided import Undecided
from dfp_batch.merging.blend import Blend
from dfp_batch.merging.laplacian_pyramid import LaplacianPyramid
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.presets import PRESETS
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.refinement.unrefined import Unrefined

CLASSICAL = FusionConfig.preset("classical")


def method(name, **externals):
    (found,) = named_methods([name], externals).values()
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_method(name):
    assert method(name) == FusionConfig.preset(name)


def test_settings_follow_the_name():
    found = method("classical focus=double-reblur  reconstruction.steps=3")
    assert found == replace(
        CLASSICAL, focus=DoubleReblur(), reconstruction=replace(CLASSICAL.reconstruction, steps=3)
    )
    assert list(named_methods(["classical   seed=3"], {})) == ["classical seed=3"]


@pytest.mark.parametrize(
    ("name", "enlargement"),
    [
        ("bicubic", BackProjection(steps=0)),
        ("lanczos", BackProjection(steps=0, kernel="lanczos")),
        ("back-projection", BackProjection()),
        ("dip", DeepImagePrior()),
    ],
)
@pytest.mark.parametrize(
    ("fusion", "merge"), [("average", Blend()), ("laplacian-pyramid", LaplacianPyramid())]
)
def test_baselines_without_a_decision(fusion, merge, name, enlargement):
    parts = {"merge": merge, "reconstruction": enlargement}
    assert method(f"{fusion}+{name}") == replace(
        CLASSICAL, focus=Undecided(), refinement=Unrefined(), **parts
    )


def test_mask_is_the_focus_and_refinement_of_classical():
    assert method("mask+lanczos") == replace(
        CLASSICAL, merge=Blend(), reconstruction=BackProjection(steps=0, kernel="lanczos")
    )


def test_fusion_alone_is_bicubic():
    for fusion in ("average", "laplacian-pyramid", "mask"):
        assert method(fusion) == method(f"{fusion}+bicubic")


def test_baselines_take_settings():
    assert method("average+dip reconstruction.iterations=5").reconstruction.iterations == 5
    found = method("laplacian-pyramid+lanczos merge.window_px=5")
    assert found.merge == LaplacianPyramid(5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("sharpest", "unknown method 'sharpest'; there are balanced, fast, best, classical, paper"),
        ("average+nearest", "average, laplacian-pyramid, mask and bicubic, lanczos"),
        ("classical+dip", "unknown method 'classical+dip'"),
        ("average+", "unknown method 'average+'"),
        ("classical focus.kernel=3", "unknown setting 'focus.kernel'"),
        ("classical scale=3", "the scales are given once for all methods"),
        ("classical steps", "key=value, got 'steps'"),
    ],
)
def test_what_is_unknown_is_named_with_what_there_is(name, text):
    with pytest.raises(ConfigError, match=re.escape(text)):
        method(name)


def test_no_method_or_one_twice_is_refused():
    with pytest.raises(ConfigError, match="no method to evaluate; name some of balanced"):
        named_methods([], {})
    with pytest.raises(ConfigError, match="'average' is given twice"):
        named_methods(["average", "classical", " average"], {})


def test_names_are_split_at_commas_outside_brackets():
    text = 'classical, mask+dip a=[1,2] b={"x":1,"y":2},,average '
    assert split_names(text) == ["classical", 'mask+dip a=[1,2] b={"x":1,"y":2}', "average"]
    assert split_names("") == []


def test_description_leaves_out_the_scale_only():
    assert describe_method(replace(CLASSICAL, scale=4)) == describe_method(CLASSICAL)
    assert describe_method(replace(CLASSICAL, seed=1)) != describe_method(CLASSICAL)
    described = describe_method(method("CNN+lanczos", CNN="/there"))
    assert described["external"] == "/there"
    assert described["enlargement"]["kernel"] == "lanczos"


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("fast", Lanczos2()),
        ("fast kernel=sigma=1.2", Gaussian(1.2)),
        ("mask kernel=bicubic", Bicubic()),
    ],
)
def test_the_kernel_is_a_setting_like_others(name, kernel):
    assert method(name).kernel == kernel
    assert describe_method(method(name))["kernel"]["use"] in {"lanczos2", "gaussian", "bicubic"}


def test_results_of_others_take_the_kernel_too():
    found = method("CNN+back-projection kernel=sigma=1.2", CNN="/there")
    assert found.kernel == Gaussian(1.2)
    assert describe_method(found)["kernel"] == {"use": "gaussian", "sigma_px": 1.2}


# external results


def test_externals_are_added_unless_mentioned():
    folders = {"CNN": "/a", "GFF": "/b", "DSIFT": "/c"}
    found = named_methods(["average", "GFF+lanczos", "DSIFT"], folders)
    assert list(found) == ["average", "GFF+lanczos", "DSIFT", "CNN"]
    assert found["CNN"] == External("/a")
    assert found["GFF+lanczos"] == External("/b", BackProjection(steps=0, kernel="lanczos"))


def test_externals_of_the_command_line():
    assert split_externals(["CNN=/a b/c=d", "GFF=s3://x/y"]) == {
        "CNN": "/a b/c=d", "GFF": "s3://x/y"
    }  # fmt: skip
    for texts, message in [(["CNN"], "takes NAME=DIR, got 'CNN'"), (["A=x", "A=y"], "given twice")]:
        with pytest.raises(ConfigError, match=message):
            split_externals(texts)


@pytest.mark.parametrize("name", ["a b", "a+b", "a,b", "classical", "mask"])
def test_names_of_externals_that_cannot_be_told_apart_are_refused(name):
    with pytest.raises(ConfigError, match="external results must not"):
        named_methods([], {name: "/a"})


def test_flat_folder_is_scale_one(tmp_path):
    write_image(f"{tmp_path}/lake.jpg", texture(20, 30), "jpg")
    frame, url = External(str(tmp_path)).read("lake", 1)
    assert frame.pixels.shape == (20, 30, 3)
    assert url == f"{tmp_path}/lake.jpg"
    message = f"no folder {tmp_path}/x2 for scale 2; a flat folder holds results of scale 1"
    with pytest.raises(ImageError, match=re.escape(message)):
        External(str(tmp_path)).read("lake", 2)


def test_folders_of_scales(tmp_path):
    for folder, level in [("", 1), ("x1/", 10), ("x2/", 20)]:
        write_image(f"{tmp_path}/{folder}lake.png", np.full((20, 30, 1), level, np.uint8))
    for scale in (1, 2):
        assert External(str(tmp_path)).read("lake", scale)[0].pixels[0, 0, 0] == 10 * scale


def test_ids_are_found_as_they_are_or_encoded(tmp_path):
    for name in ("a%2Fb", "see.2", "Käse"):
        write_image(f"{tmp_path}/{name}.PNG", texture(20, 30))
    for item in ("a/b", "see.2", "Käse"):
        External(str(tmp_path)).read(item, 1)


def test_missing_or_ambiguous_result_is_named(tmp_path):
    write_image(f"{tmp_path}/lake.png", texture(20, 30))
    write_image(f"{tmp_path}/lake.jpg", texture(20, 30), "jpg")
    (tmp_path / "hill.txt").touch()
    with pytest.raises(ImageError, match=re.escape(f"{tmp_path}/hill.*: nothing is there")):
        External(str(tmp_path)).read("hill", 1)
    with pytest.raises(ImageError, match=re.escape("holds lake.jpg and lake.png, expected one")):
        External(str(tmp_path)).read("lake", 1)
