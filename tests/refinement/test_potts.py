import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dfp_batch.core.sources import InMemory
from dfp_batch.errors import ConfigError
from dfp_batch.refinement.potts import Potts, onto_simplex_, planes_at_once, primal_dual
from method_parts import compute

COMPUTE = compute()


def labels_of(potts, sources, decision):
    return potts(InMemory(sources), decision, COMPUTE).argmax(0)[0]


def even(count, h, w):
    return torch.full((count, 1, h, w), 1 / count)


# The solver.


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(2, 5), st.just(2), st.just(3)), elements=st.floats(-3, 3)
    ),
    st.floats(-9, 9),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_onto_simplex_is_the_nearest_point_of_it(values, start):
    """By the condition of optimality: values - result is constant where the result is > 0."""
    given_values = torch.from_numpy(values)
    threshold = torch.full((2, 3), start, dtype=torch.float64)
    result = onto_simplex_(given_values.clone(), threshold)
    near = {"atol": 1e-5, "rtol": 0}
    assert (result >= 0).all()
    torch.testing.assert_close(result.sum(0), torch.ones(2, 3, dtype=torch.float64), **near)
    shift = given_values - result
    largest = shift.max(0).values
    kept = torch.where(result > 0, shift, largest)
    torch.testing.assert_close(kept, largest.expand_as(shift), **near)


def energy(labels, evidence, cost):
    """Of hard labels (h, w): a boundary is counted once for each of the two sources it parts."""
    across, down = cost
    taken = evidence.gather(0, labels[None])[0]
    parted = (labels.diff(dim=1) != 0) * across, (labels.diff(dim=0) != 0) * down
    return float(2 * (parted[0].sum() + parted[1].sum()) - taken.sum())


def every_labelling(count, h, w):
    flat = torch.cartesian_prod(*[torch.arange(count)] * (h * w))
    return flat.view(-1, h, w)


@pytest.mark.parametrize("seed", range(4))
def test_two_labels_reach_the_global_minimum(seed):
    """All 4096 labellings of 3x4 pixels; for two labels the relaxation is exact."""
    generator = torch.Generator().manual_seed(seed)
    evidence = torch.randn(2, 3, 4, generator=generator)
    cost = torch.rand(3, 3, generator=generator), torch.rand(2, 4, generator=generator)
    best = min(energy(labels, evidence, cost) for labels in every_labelling(2, 3, 4))
    weights = primal_dual(evidence.softmax(0), evidence, cost, 2000)
    assert energy(weights.argmax(0), evidence, cost) == pytest.approx(best, abs=1e-4)


def test_three_labels_without_boundary_cost_follow_the_evidence():
    evidence = torch.randn(3, 5, 6, generator=torch.Generator().manual_seed(0))
    free = torch.zeros(5, 5), torch.zeros(4, 6)
    weights = primal_dual(torch.full_like(evidence, 1 / 3), evidence, free, 200)
    assert torch.equal(weights.argmax(0), evidence.argmax(0))


@pytest.mark.parametrize("count", [2, 3, 9])
def test_all_planes_at_once_are_nearly_the_planes_in_turn(count):
    generator = torch.Generator().manual_seed(count)
    evidence = 3 * torch.randn(count, 12, 17, generator=generator)
    cost = torch.rand(12, 16, generator=generator), torch.rand(11, 17, generator=generator)
    expected, found = (
        solve(evidence.softmax(0), evidence, cost, 30) for solve in (primal_dual, planes_at_once)
    )
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


# The refinement.


@pytest.mark.parametrize("count", [2, 3])
def test_undecided_pixels_join_what_surrounds_them(count, texture):
    sources = texture(32, 32).expand(count, -1, -1, -1)
    decision = torch.zeros(count, 1, 32, 32)
    decision[0] = 1
    decision[:, :, 12:20, 12:20] = 1 / count
    assert (labels_of(Potts(), sources, decision) == 0).all()


def test_island_of_noise_is_dropped_and_a_region_is_kept():
    decision = torch.full((2, 1, 32, 32), 0.2)
    decision[0] = 0.8
    decision[:, 0, 4:6, 4:6] = torch.tensor([0.2, 0.8]).view(2, 1, 1)
    decision[:, 0, :, 16:] = torch.tensor([0.1, 0.9]).view(2, 1, 1)
    labels = labels_of(Potts(), torch.full((2, 3, 32, 32), 0.5), decision)
    assert (labels[:, :15] == 0).all()
    assert (labels[:, 17:] == 1).all()


def test_boundary_snaps_to_the_edge_of_the_content():
    columns = torch.arange(32).expand(1, 1, 32, 32)
    edge = torch.where(columns < 16, 0.2, 0.8)
    first = torch.where(columns < 12, 0.9, torch.where(columns < 20, 0.5, 0.1))
    labels = labels_of(Potts(), edge.expand(2, 3, 32, 32), torch.cat([first, 1 - first]))
    assert torch.equal(labels, (columns[0, 0] >= 16).long())


def test_more_evidence_makes_a_longer_boundary(texture):
    generator = torch.Generator().manual_seed(0)
    noisy = (2 * torch.randn(2, 1, 32, 32, generator=generator)).softmax(0)
    sources = texture(32, 32).expand(2, -1, -1, -1)
    lengths = [
        int((labels_of(Potts(evidence=weight), sources, noisy.clone()).diff(dim=1) != 0).sum())
        for weight in (0.02, 0.5, 20.0)
    ]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("size", [(64, 64), (47, 61)])
@pytest.mark.parametrize("count", [2, 3])
def test_labelled_at_a_fraction_of_its_size_it_is_nearly_the_same(count, size, texture):
    """Only along the boundary, which is where the weights are interpolated."""
    h, w = size
    rows, columns = torch.arange(h)[:, None], torch.arange(w)
    regions = (((rows - h / 2).square() + (columns - w / 2).square()) < (h / 3) ** 2).long()
    noise = torch.randn(count, 1, *size, generator=torch.Generator().manual_seed(0))
    truth = torch.nn.functional.one_hot(regions, count).movedim(-1, 0)[:, None]
    decision = (2 * truth + 0.5 * noise).softmax(0)
    sources = texture(*size).expand(count, -1, -1, -1)
    whole = labels_of(Potts(), sources, decision.clone())
    assert (whole == regions).float().mean() > 0.98
    for part in (2, 4, 16):
        limited = Potts(largest_px=-(-decision.numel() // part) + h + w)
        reduced = labels_of(limited, sources, decision.clone())
        assert reduced.shape == whole.shape
        assert (reduced == whole).float().mean() > 0.95
        assert not torch.equal(reduced, whole)
    assert torch.equal(labels_of(Potts(largest_px=decision.numel()), sources, decision), whole)


def test_every_limit_gives_a_decision():
    decision = torch.rand(3, 1, 17, 23, generator=torch.Generator().manual_seed(0)).softmax(0)
    labelled = Potts(largest_px=1)(InMemory(torch.full((3, 3, 17, 23), 0.5)), decision, COMPUTE)
    assert labelled.shape == (3, 1, 17, 23)
    torch.testing.assert_close(labelled.sum(0), torch.ones(1, 17, 23))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evidence": 0.0}, "refinement.evidence must be > 0, got 0.0"),
        ({"base_cost": float("nan")}, "refinement.base_cost must be > 0, got nan"),
        ({"contrast": -1.0}, "refinement.contrast must be >= 0, got -1.0"),
        ({"levels": 0}, "refinement.levels must be >= 1, got 0"),
        ({"fine_iterations": 0}, "refinement.fine_iterations must be >= 1, got 0"),
        ({"largest_px": 0}, "refinement.largest_px must be >= 1, got 0"),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        Potts(**fields)
