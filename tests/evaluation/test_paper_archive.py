"""Images for the paper's tables: windows, votes, what is made smaller."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from conftest import write_image
from dfp_batch.core.degradation import Degradation
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ImageError
from dfp_batch.evaluation import External
from dfp_batch.evaluation.paper_archive import (
    Preparation,
    Window,
    by_set,
    most_even_window,
    voted_reference,
)
from dfp_batch.runs.manifest import Pair
from evaluation_parts import multi_focus, pixels


def unit(image):
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


@pytest.fixture
def given(tmp_path):
    """A pair of 51 x 58 px, two fusers of it and the truth."""
    truth, sources, _ = multi_focus((51, 58), seed=3)
    urls = [write_image(f"{tmp_path}/a_{n}.png", image) for n, image in enumerate(sources)]
    for name in ("CNN", "PMGI"):
        write_image(f"{tmp_path}/{name}/a.png", truth)
    results = {name: External(f"{tmp_path}/{name}") for name in ("CNN", "PMGI")}
    return Pair("a", tuple(urls)), results, truth


def test_results_are_made_smaller_as_sources_are(given, tmp_path):
    pair, results, truth = given
    scored = Preparation(f"{tmp_path}/out", results, (2, 4))(pair)
    assert scored == pair
    for scale, (height, width) in ((2, (50, 58)), (4, (48, 56))):
        even = torch.from_numpy(unit(truth)[None, :, :height, :width].copy())
        expected = Degradation(scale, Lanczos2())(even)[0].clamp(0, 1).numpy()
        found = unit(pixels(f"{tmp_path}/out/PMGI/x{scale}/a.png"))
        np.testing.assert_allclose(found, expected, atol=0.51 / 255)


def test_a_window_is_cut_out_of_everything(given, tmp_path):
    pair, results, truth = given
    prepare = Preparation(f"{tmp_path}/out", results, (2,), is_voted=True, side_px=32)
    scored = prepare(pair)
    window = most_even_window(np.stack([unit(pixels(url)) for url in pair.sources]), 32)
    assert Path(scored.reference).parent.name == "reference"
    assert np.mean(unit(pixels(scored.reference)) == window(unit(truth))) > 0.95
    for before, after in zip(pair.sources, scored.sources, strict=True):
        np.testing.assert_array_equal(unit(pixels(after)), window(unit(pixels(before))))
    assert pixels(f"{tmp_path}/out/CNN/x2/a.png").shape == (16, 16, 3)


def test_a_result_of_another_size_is_named(given, tmp_path):
    pair, results, truth = given
    write_image(f"{tmp_path}/CNN/a.png", truth[:-1])
    with pytest.raises(ImageError, match=r"CNN/a\.png is 58x50 px, expected 58x51 px"):
        Preparation(f"{tmp_path}/out", results, (2,))(pair)


def test_the_most_even_window_holds_the_border_of_focus():
    _, sources, _ = multi_focus((40, 160), seed=1)
    window = most_even_window(np.stack([unit(image) for image in sources]), 32)
    assert window.left < 80 < window.left + 32
    assert abs(window.left + 16 - 80) <= 8


def test_a_window_needs_room():
    with pytest.raises(ImageError, match="at least 32x32 px for a window of that size, got 40x31"):
        most_even_window(np.zeros((2, 3, 31, 40), np.float32), 32)


def test_a_window_cuts_rows_and_columns():
    image = np.arange(24).reshape(1, 4, 6)
    assert Window(1, 2, 2, 3)(image).tolist() == [[[8, 9, 10], [14, 15, 16]]]


def test_the_vote_finds_the_photograph_although_some_results_are_off():
    truth, sources, _ = multi_focus((48, 56), seed=5)
    soft = cv2.GaussianBlur(truth, (0, 0), 1.0)
    results = [unit(one) for one in (truth, truth, truth, soft, 255 - truth)]
    found = voted_reference(np.stack([unit(one) for one in sources]), results)
    assert np.mean(found == unit(truth)) > 0.97
    assert np.abs(found - unit(truth)).mean() < 0.002


def test_pairs_are_told_apart_by_the_name_of_their_set():
    pairs = [Pair(name, ("/a", "/b")) for name in ("MFI-WHU_01", "lytro_02", "MFI-WHU_02")]
    assert by_set(pairs) == {"mfi-whu": (pairs[0], pairs[2]), "lytro": (pairs[1],)}
