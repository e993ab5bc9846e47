"""What processes make beside a training does not depend on them."""

from functools import partial

import numpy as np
import pytest
import torch

from dfp_batch.training.checkpoints import Session
from dfp_batch.training.workers import drawn_ahead, examples, opened


def example(side, seed):
    return np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)


def pair(side, random):
    return torch.from_numpy(random.random((side, side))), torch.tensor([side])


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_examples_are_the_same_and_in_the_same_order(processes):
    made = examples(partial(example, 4), 5, 3, processes)
    np.testing.assert_array_equal(made, np.stack([example(4, (3, k)) for k in range(5)]))


@pytest.mark.parametrize("processes", [1, 2])
def test_every_step_gets_the_batch_of_its_number(tmp_path, processes):
    steps = range(7, 12)
    session = Session(tmp_path, processes=processes)
    drawn = list(drawn_ahead(partial(pair, 3), 1, steps, session))
    assert len(drawn) == len(steps)
    for step, (numbers, side) in zip(steps, drawn, strict=True):
        assert torch.equal(numbers, pair(3, np.random.default_rng((1, step)))[0])
        assert side.item() == 3


def test_no_process_is_started_for_no_step(tmp_path):
    session = Session(tmp_path, processes=2)
    assert list(drawn_ahead(lambda random: random, 0, range(3, 3), session)) == []


def test_drawing_leaves_the_random_numbers_of_others_alone(tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    list(drawn_ahead(partial(pair, 2), 0, range(3), Session(tmp_path)))
    assert torch.equal(torch.rand(1), expected)


def test_an_opened_file_is_shared_and_cannot_be_written(tmp_path):
    np.save(tmp_path / "numbers.npy", np.arange(6))
    numbers = opened(tmp_path / "numbers.npy")
    assert numbers is opened(tmp_path / "numbers.npy")
    assert numbers.sum() == 15
    with pytest.raises(ValueError, match="read-only"):
        numbers[0] = 1
