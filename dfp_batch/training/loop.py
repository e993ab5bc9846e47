"""The loop of a training: steps, a running mean of the weights, a record every so often."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from dfp_batch.core.recording import recorded, set_rate
from dfp_batch.networks.running_mean import approach, share_of_step
from dfp_batch.training.checkpoints import Row, Session, Settings, keep, restored
from dfp_batch.training.workers import Random, drawn_ahead

WARM_UP_STEPS = 100
Network = TypeVar("Network", bound=nn.Module)
Batch = TypeVar("Batch")


@dataclass
class Training(Generic[Network]):
    """All that changes from step to step.

    Attributes:
        network: In training.
        mean: Running mean of its weights: what is kept in the end.
        optimisers: Of its weights, each at the full learning rate.
        gradient_limit: Largest norm of the gradient of all weights.
        averaged_steps: Of the running mean, at most.
        step: Steps done.
    """

    network: Network
    mean: Network
    optimisers: tuple[torch.optim.Optimizer, ...]
    gradient_limit: float
    averaged_steps: int
    step: int = 0

    def advance(self, move: Callable[[], Tensor], share: float) -> Tensor:
        """One step.

        Args:
            move: Moves the weights by ``descend``.
            share: Of the full learning rates.

        Returns:
            What ``move`` gives.
        """
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                set_rate(group, share * optimiser.defaults["lr"])
        loss = move()
        self.step += 1
        approach(self.mean, self.network, share_of_step(self.step, self.averaged_steps))
        return loss

    def descend(self, loss_of: Callable[[Network], Tensor]) -> Tensor:
        """Move the weights of the network at the learning rates that are set.

        Args:
            loss_of: Loss of the network on a batch.

        Returns:
            The loss before, on the device.
        """
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss = loss_of(self.network)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_limit)
        for optimiser in self.optimisers:
            optimiser.step()
        return loss.detach()

    def state(self) -> Row:
        """Everything, for a checkpoint."""
        return {
            "step": self.step,
            "network": self.network.state_dict(),
            "mean": self.mean.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }

    def restore(self, state: Row) -> None:
        """Go back to a checkpoint."""
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.mean.load_state_dict(state["mean"])
        saved = state["optimisers"] if "optimisers" in state else [state["optimiser"]]  # once one
        for optimiser, its_state in zip(self.optimisers, saved, strict=True):
            optimiser.load_state_dict(its_state)


@dataclass(frozen=True)
class Lesson(Generic[Network, Batch]):
    """What is learnt from, and how it is judged.

    Attributes:
        draw: Makes a batch of tensors; the random numbers are all that it depends on. Several
            processes pickle it.
        loss: Of a network on a batch, which it moves to the device.
        measured: What is recorded, of the last losses (log,) and of the mean of the weights.
        publish: Writes the weights and their card, given all records.
    """

    draw: Callable[[Random], Batch]
    loss: Callable[[Network, Batch], Tensor]
    measured: Callable[[Tensor], Row]
    publish: Callable[[list[Row]], None]


def schedule(step: int, steps: int) -> float:
    """Share of the full learning rate: a warm-up, then half a cosine."""
    return min(1, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))


def run(
    training: Training[Network],
    lesson: Callable[[], Lesson[Network, Batch]],
    settings: Settings,
    session: Session,
    say: Callable[[str], None],
) -> None:
    """From the checkpoint, if there is one, to the last step.

    Args:
        training: Fresh.
        lesson: Is asked for once the checkpoint is known to fit: to make scenes takes long.
        settings: What the result depends on.
        session: The rest.
        say: Gets every record as a line of JSON.

    Raises:
        ConfigError: if the checkpoint was made with other settings.
    """
    rows = restored(training, settings, session)
    course = lesson()
    move = _mover(training, course, torch.device(session.device))
    losses, started = torch.zeros(settings.log, device=session.device), time.perf_counter()
    last = settings.steps if session.stop is None else min(settings.steps, session.stop)
    for batch in drawn_ahead(course.draw, settings.seed, range(training.step, last), session):
        slot = training.step % settings.log
        share = schedule(training.step, settings.steps)
        losses[slot] = training.advance(partial(move, batch), share)
        if training.step % settings.log == 0 or training.step == settings.steps:
            row = {"step": training.step, **course.measured(losses)}
            seconds, started = time.perf_counter() - started, time.perf_counter()
            rows.append({**row, "seconds": round(seconds, 1)})
            say(json.dumps(rows[-1]))
            keep(training, rows, settings, session)
            course.publish(rows)


def _mover(
    training: Training[Network], lesson: Lesson[Network, Batch], device: torch.device
) -> Callable[[Any], Tensor]:
    """Moves the weights by a batch; on a GPU as it is recorded."""

    def move(batch: Batch) -> Tensor:
        return training.descend(lambda network: lesson.loss(network, batch))

    return recorded(move, training.optimisers, device)
