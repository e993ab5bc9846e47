"""The loop that the trainings share."""

import json

import pytest
import torch
from torch import nn

from dfp_batch.errors import ConfigError
from dfp_batch.networks.running_mean import approach, share_of_step
from dfp_batch.training import loop
from dfp_batch.training.checkpoints import Session
from dfp_batch.training.prior import PriorSettings

SETTINGS = PriorSettings(steps=5, log=2)


def fresh():
    torch.manual_seed(0)
    network, mean = nn.Linear(3, 2), nn.Linear(3, 2)
    mean.load_state_dict(network.state_dict())
    adam = torch.optim.Adam(network.parameters(), 0.1)
    return loop.Training(network, mean, (adam,), 1.0, 100)


def run(folder, settings=SETTINGS, **session):
    """Train a line; the weights, their mean, and what was said."""
    training, said, published = fresh(), [], []

    def lesson():
        return loop.Lesson(
            lambda random: torch.from_numpy(random.random((4, 3), "float32")),
            lambda network, batch: (network(batch) - batch[:, :2]).square().mean(),
            lambda losses: {"loss": float(losses.mean())},
            published.append,
        )

    folder.mkdir(exist_ok=True)
    loop.run(training, lesson, settings, Session(folder, **session), said.append)
    return training, [json.loads(line) for line in said]


def weights(training):
    return [*training.network.state_dict().values(), *training.mean.state_dict().values()]


def test_there_is_a_record_every_so_often_and_at_the_end(tmp_path):
    training, rows = run(tmp_path)
    assert training.step == 5
    assert [row["step"] for row in rows] == [2, 4, 5]
    assert rows[-1]["loss"] < rows[0]["loss"]


@pytest.mark.parametrize("stop", [2, 3, 4])
def test_an_interrupted_training_goes_on_to_the_same_weights(tmp_path, stop):
    straight, _ = run(tmp_path / "straight")
    run(tmp_path / "resumed", stop=stop)
    resumed, _ = run(tmp_path / "resumed")
    assert all(map(torch.equal, weights(straight), weights(resumed)))


def test_no_step_is_done_but_the_lesson_is_made_ready(tmp_path):
    training, rows = run(tmp_path, stop=0)
    assert (training.step, rows) == (0, [])


def test_a_checkpoint_with_one_optimiser_as_it_was_once_written_is_taken(tmp_path):
    run(tmp_path, stop=2)
    path = tmp_path / "checkpoint.pt"
    saved = torch.load(path, weights_only=True)
    saved["optimiser"] = saved.pop("optimisers")[0]
    torch.save(saved, path)
    resumed, _ = run(tmp_path)
    straight, _ = run(tmp_path / "straight")
    assert all(map(torch.equal, weights(straight), weights(resumed)))


def test_other_settings_need_another_folder(tmp_path):
    run(tmp_path, stop=2)
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: made with .*; choose another --out"):
        run(tmp_path, PriorSettings(steps=6, log=2))


def test_the_learning_rate_warms_up_and_ends_at_nothing():
    shares = [loop.schedule(step, 1000) for step in (0, 50, 100, 500, 999)]
    assert shares[0] == pytest.approx(0.01)
    assert shares[0] < shares[1] < shares[2] > shares[3] > shares[4] > 0
    assert loop.schedule(1000, 1000) == 0


def test_the_running_mean_approaches_by_its_share():
    mean, network = nn.Linear(2, 1), nn.Linear(2, 1)
    before = mean.weight.detach().clone()
    approach(mean, network, 0.25)
    torch.testing.assert_close(mean.weight, 0.75 * before + 0.25 * network.weight)
    approach(mean, network, 1.0)
    torch.testing.assert_close(mean.weight, network.weight)


def test_the_running_mean_is_over_more_and_more_steps():
    shares = [share_of_step(step, 100) for step in (1, 10, 100, 10_000)]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == pytest.approx(0.01)
