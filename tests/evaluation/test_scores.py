"""Scores of one result: what they are, and which are None."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from dfp_batch import metrics
from dfp_batch.core.image import luma
from dfp_batch.errors import ImageError
from dfp_batch.evaluation.items import Case
from dfp_batch.evaluation.scores import Scorer
from dfp_batch.metrics import names
from evaluation_parts import multi_focus

PAPER, RELATIVE, FUSION = set(names.PAPER), set(names.RELATIVE), set(names.FUSION)
REFERENCE = {*names.REFERENCE, *names.COLOUR, "edge_psnr_db"}
ACCURACY = set(names.ACCURACY)


def unit(pixels):
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)


def plane(image):
    return luma(torch.from_numpy(image)[None])[0, 0].numpy()


def make(channels=3, scale=1, size=(48, 56)):
    """A case whose sources are the full ones, reduced by taking every pixel ``scale`` apart."""
    truth, sources, _ = multi_focus(size, channels)
    full = np.stack([unit(source) for source in sources])
    labels = np.tile((np.arange(size[1]) >= size[1] // 2).astype(np.int64), (size[0], 1))
    return Case(
        np.ascontiguousarray(full[..., ::scale, ::scale]),
        np.dtype(np.uint8),
        full,
        unit(truth),
        np.ascontiguousarray(labels[::scale, ::scale]),
    )


def decision(labels, count=2):
    return (labels == np.arange(count)[:, None, None]).astype(np.float32)[:, None]


def test_scores_are_those_of_the_metrics():
    case = make()
    fused = np.clip(case.reference + np.float32(0.01), 0, 1)
    found = Scorer(case, 1).score(fused, decision(case.labels))
    y, truth = plane(fused), plane(case.reference)
    sources = np.stack([plane(source) for source in case.full_sources])
    assert found["psnr_db"] == metrics.psnr_db(y, truth)
    assert found["ssim"] == metrics.ssim(y, truth)
    error = np.mean((fused.astype(np.float64) - case.reference) ** 2)
    assert found["psnr_colour_db"] == pytest.approx(-10 * math.log10(error), abs=1e-4)
    per_channel = [metrics.ssim(a, b) for a, b in zip(fused, case.reference, strict=True)]
    assert found["ssim_colour"] == pytest.approx(np.mean(per_channel))
    paper = metrics.paper_metrics(y * 255)
    truths = tuple(metrics.paper_metrics(source * 255) for source in sources)
    expected = paper | metrics.relative_metrics(paper, truths)
    expected |= metrics.fusion_metrics(y * 255, sources * 255)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["accuracy"] == found["accuracy_boundary"] == 1
    assert found["accuracy_thin"] is None
    assert set(found) == set(names.OF_AN_EVALUATION) - {*names.TIMES, "unfocused_psnr_db"}


def test_where_no_source_is_in_focus_away_from_edges_has_a_psnr_of_its_own():
    case = make()
    case = replace(case, unfocused=case.labels == 0)
    fused = case.reference.copy()
    fused[..., 30:] = 0  # in focus on the right
    assert Scorer(case, 1).score(fused, None)["unfocused_psnr_db"] == math.inf
    fused[..., 22:] = 0  # and near the edge
    assert Scorer(case, 1).score(fused, None)["unfocused_psnr_db"] == math.inf
    fused[..., :10] = 0
    assert Scorer(case, 1).score(fused, None)["unfocused_psnr_db"] < 20


@pytest.mark.parametrize("scale", [1, 2])
def test_edge_psnr_sees_only_the_band_around_depth_edges(scale):
    case = make(scale=scale)
    fused = case.reference.copy()
    middle, reach = 28, 8 * scale
    fused[:, :, : middle - reach] = 0
    fused[:, :, middle + reach :] = 0
    assert Scorer(case, scale).score(fused, None)["edge_psnr_db"] == math.inf
    fused[:, :, middle - reach] = 0
    assert Scorer(case, scale).score(fused, None)["edge_psnr_db"] < 40


def test_identical_images_are_infinitely_alike():
    case = make()
    found = Scorer(case, 1).score(case.reference, None)
    assert found["psnr_db"] == found["psnr_colour_db"] == math.inf
    assert found["ssim"] == found["ssim_colour"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("absent", "expected"),
    [
        ({"reference": None, "labels": None}, PAPER | RELATIVE | FUSION),
        ({"reference": None, "full_sources": None, "labels": None}, PAPER),
        ({"full_sources": None, "labels": None}, PAPER | REFERENCE - {"edge_psnr_db"}),
        ({"reference": None}, PAPER | RELATIVE | FUSION | ACCURACY - {"accuracy_flat"}),
    ],
)
def test_what_cannot_be_said_is_not_there(absent, expected):
    case = make()
    found = Scorer(replace(case, **absent), 1).score(case.reference, decision(case.labels))
    assert set(found) == expected


def test_relative_metrics_need_two_sources():
    case = make()
    three = replace(case, full_sources=np.concatenate([case.full_sources, case.full_sources[:1]]))
    found = Scorer(three, 1).score(case.reference, None)
    assert not RELATIVE & set(found)
    assert set(found) >= FUSION


def test_no_decision_no_accuracy():
    assert not ACCURACY & set(Scorer(make(), 1).score(make().reference, None))


@pytest.mark.parametrize(("own", "others"), [(1, 3), (3, 1), (1, 1)])
def test_colour_is_scored_only_where_both_have_it(own, others):
    found = Scorer(make(others), 1).score(make(own).reference, None)
    assert not {"psnr_colour_db", "ssim_colour"} & set(found)
    assert found["psnr_db"] > 0


def test_small_images_have_no_viff():
    found = Scorer(make(size=(40, 56)), 1).score(make(size=(40, 56)).reference, None)
    assert set(found) & FUSION == FUSION - {"viff"}


def test_result_of_another_size_is_refused():
    case = make(scale=2)
    message = "the result is 55x48 px, expected 56x48 px"
    with pytest.raises(ImageError, match=re.escape(message)):
        Scorer(case, 2).score(case.reference[:, :, 1:], None)


def test_flat_regions_are_those_of_the_truth_at_the_size_of_the_sources():
    case = make(scale=2)
    half = case.reference.copy()
    half[:, :, :14] = 0.5
    wrong = decision(1 - case.labels)
    found = Scorer(replace(case, reference=half), 2).score(half, wrong)
    assert found["accuracy_flat"] == 0
    assert Scorer(case, 2).score(half, wrong)["accuracy_flat"] is None
