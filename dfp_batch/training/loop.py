"""The loop of a training: steps, a running mean of the weights, a record every so often."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

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

    def advance(self, loss_of: Callable[[Network], Tensor], share: float) -> Tensor:
        """One step.

        Args:
            loss_of: Loss of the network on a batch.
            share: Of the full learning rates.

        Returns:
            The loss before the step, on the device.
        """
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = share * optimiser.defaults["lr"]
        loss = loss_of(self.network)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.gradient_limit)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        approach(self.mean, self.network, share_of_step(self.step, self.averaged_steps))
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
    losses, started = torch.zeros(settings.log, device=session.device), time.perf_counter()
    last = settings.steps if session.stop is None else min(settings.steps, session.stop)
    for batch in drawn_ahead(course.draw, settings.seed, range(training.step, last), session):
        slot = training.step % settings.log
        losses[slot] = _step(training, course, settings, batch)
        if training.step % settings.log == 0 or training.step == settings.steps:
            row = {"step": training.step, **course.measured(losses)}
            seconds, started = time.perf_counter() - started, time.perf_counter()
            rows.append({**row, "seconds": round(seconds, 1)})
            say(json.dumps(rows[-1]))
            keep(training, rows, settings, session)
            course.publish(rows)


def _step(
    training: Training[Network], lesson: Lesson[Network, Batch], settings: Settings, batch: Batch
) -> Tensor:
    share = schedule(training.step, settings.steps)
    return training.advance(lambda network: lesson.loss(network, batch), share)
