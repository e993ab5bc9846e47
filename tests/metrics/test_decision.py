"""Accuracy of decisions against maps drawn by hand."""

import re

import numpy as np
import pytest

from dfp_batch.errors import ImageError
from dfp_batch.metrics import decision_accuracy, near_boundary, regions


def halves(height=20, width=30, column=15):
    """Label 0 on the left of ``column``, 1 from there on."""
    return np.tile((np.arange(width) >= column).astype(np.int64), (height, 1))


def one_hot(labels, count=2):
    return (labels == np.arange(count)[:, None, None]).astype(np.float32)[:, None]


# regions


def test_boundary_is_four_pixels_on_either_side():
    expected = np.zeros((20, 30), bool)
    expected[:, 11:19] = True
    np.testing.assert_array_equal(regions(halves())["boundary"], expected)


def test_distance_is_euclidean_from_centre_to_centre():
    labels = np.zeros((21, 21), np.int64)
    labels[10, 10] = 1
    rows, columns = np.indices(labels.shape)
    for radius in (1, 3.5, 4):
        expected = np.hypot(rows - 10, columns - 10) <= radius
        np.testing.assert_array_equal(near_boundary(labels, radius), expected)


def test_one_label_has_no_boundary_and_nothing_thin():
    found = regions(np.full((20, 20), 3))
    assert not found["boundary"].any()
    assert not found["thin"].any()
    assert "flat" not in found


@pytest.mark.parametrize(("width", "is_thin"), [(3, True), (8, True), (9, False), (20, False)])
def test_a_stripe_is_thin_below_nine_pixels(width, is_thin):
    labels = np.zeros((40, 60), np.int64)
    labels[:, 20 : 20 + width] = 2
    np.testing.assert_array_equal(regions(labels)["thin"], (labels == 2) & is_thin)


def test_flat_has_less_contrast_than_two_levels_and_no_boundary():
    labels = halves(20, 60, 20)
    luma = np.full(labels.shape, 0.5)
    checks = np.indices(labels.shape).sum(0) % 2
    luma[:, 40:50] += np.where(checks, 1.5, -1.5)[:, 40:50] / 255
    luma[:, 50:] += np.where(checks, 2.5, -2.5)[:, 50:] / 255
    flat = regions(labels, luma)["flat"]
    assert flat[:, :16].all()
    assert not flat[:, 16:24].any()
    assert flat[:, 24:46].all()
    assert not flat[:, 54:].any()


def test_reference_of_another_size_is_refused():
    message = "reference must be as large as the labels, expected 30x20 px, found 31x20 px"
    with pytest.raises(ImageError, match=re.escape(message)):
        regions(halves(), np.zeros((20, 31)))


# accuracy


def test_accuracy_counts_pixels():
    truth = halves(20, 30, 15)
    taken = halves(20, 30, 18)  # three columns wrong, all of them near the boundary
    found = decision_accuracy(one_hot(taken), truth, regions(truth))
    assert found == {
        "accuracy": pytest.approx(27 / 30),
        "accuracy_boundary": pytest.approx(5 / 8),
        "accuracy_thin": None,
    }
    assert decision_accuracy(taken, truth, regions(truth)) == found


def test_soft_weights_count_as_the_largest_one():
    truth = halves()
    soft = 0.2 + 0.6 * one_hot(truth)
    assert decision_accuracy(soft, truth, {}) == {"accuracy": 1}
    assert decision_accuracy(1 - soft, truth, {}) == {"accuracy": 0}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_undecided_counts_as_guessing(count):
    truth = np.random.default_rng(0).integers(0, count, (20, 20))
    undecided = np.full((count, 1, 20, 20), 1 / count, np.float32)
    assert decision_accuracy(undecided, truth, {})["accuracy"] == pytest.approx(1 / count)


def test_two_of_three_alike_share_the_pixel():
    weights = np.array([0.4, 0.4, 0.2], np.float32).reshape(3, 1, 1, 1)
    for label, expected in [(0, 0.5), (1, 0.5), (2, 0)]:
        assert decision_accuracy(weights, np.array([[label]]), {}) == {"accuracy": expected}


def test_a_region_is_scored_alone():
    truth, taken = halves(), halves(column=10)
    left = truth == 0
    assert decision_accuracy(
        taken, truth, {"left": left, "right": ~left, "none": left & ~left}
    ) == {
        "accuracy": pytest.approx(25 / 30),
        "accuracy_left": pytest.approx(10 / 15),
        "accuracy_right": 1,
        "accuracy_none": None,
    }


def test_what_does_not_fit_is_refused():
    message = "decision must be as large as the labels, expected 30x20 px, found 15x10 px"
    with pytest.raises(ImageError, match=re.escape(message)):
        decision_accuracy(one_hot(halves(10, 15)), halves(), {})
    with pytest.raises(ImageError, match="below the number of sources 2, found 3"):
        decision_accuracy(one_hot(halves()), np.full((20, 30), 3), {})
