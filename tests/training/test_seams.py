import numpy as np
import pytest

from dfp_batch.training.seams import seam_example

SEEDS = range(8)


@pytest.fixture(scope="module")
def examples():
    return np.stack([seam_example(64, (0, seed)) for seed in SEEDS]).astype(np.float32)


def test_the_same_seed_gives_the_same_planes(examples):
    np.testing.assert_array_equal(seam_example(64, (0, 1)).astype(np.float32), examples[1])


def test_planes_are_in_range_and_differ_from_scene_to_scene(examples):
    assert examples.shape == (len(SEEDS), 14, 64, 64)
    assert np.isfinite(examples).all()
    assert examples[:, :11].min() > -0.01
    assert examples[:, :11].max() < 1.01
    assert len(np.unique(examples[:, 0].mean((1, 2)))) == len(SEEDS)


def test_the_merged_plane_lies_between_its_sources_and_near_the_truth(examples):
    merged, first, second = (examples[:, 3 * k : 3 * k + 3] for k in range(3))
    truth = examples[:, 11:]
    assert np.abs(merged - truth).mean() < np.abs(first - truth).mean()
    assert np.abs(merged - truth).mean() < np.abs(second - truth).mean()


def test_noise_belongs_to_the_truth_as_the_decision_chose_it(examples):
    """Where there is no seam, nothing but mistakes of the decision is left to learn."""
    merged, band, truth = examples[:, 0], examples[:, 10], examples[:, 11]
    away = band == 0
    assert away.any()
    assert np.median(np.abs(merged - truth)[away]) < 0.5 / 255


def test_most_scenes_have_colours(examples):
    spread = np.ptp(examples[:, :3], axis=1).mean((1, 2))
    assert (spread > 0.02).mean() > 0.5
