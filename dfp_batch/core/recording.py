"""Steps of an optimisation on a GPU, recorded once and then replayed.

A step is many small kernels. To ask for them one by one takes the host longer than the GPU needs
for them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch", bound=tuple[Tensor, ...])  # a NamedTuple
Shapes = tuple[torch.Size, ...]

_WARM_UP = 3  # steps as they are, in which cuDNN chooses and optimisers make their state


def repeat(step: Callable[[], object], times: int, device: torch.device) -> None:
    """Do a step so often.

    Args:
        step: Works in place on tensors that it keeps, the same way every time, by kernels that
            need no warm-up; what it does must not wait for the device.
        times: How often.
        device: Of the tensors; on a GPU the step is recorded, and replayed.
    """
    if device.type != "cuda":
        for _ in range(times):
            step()
        return
    usual = torch.cuda.current_stream(device)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(usual)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="thread_local")
        step()
        graph.capture_end()
        for _ in range(times):
            graph.replay()
    usual.wait_stream(stream)


def recorded(
    step: Callable[[Any], Tensor],
    optimisers: Sequence[torch.optim.Optimizer],
    device: torch.device,
) -> Callable[[Any], Tensor]:
    """On a GPU a step that is recorded, else the step itself.

    Args:
        step: Gives the loss on a batch, a tuple of tensors; see ``Recorded``.
        optimisers: That it lets move weights; they are changed where they must be.
        device: Of the weights.
    """
    if device.type != "cuda":
        return step
    make_recordable(optimisers, device)
    return Recorded(step, device)


def make_recordable(optimisers: Sequence[torch.optim.Optimizer], device: torch.device) -> None:
    """Let the learning rates, and Adam's number of steps, lie on the device."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)
            if "capturable" in group:
                group["capturable"] = True


def set_rate(group: dict[str, Any], rate: float) -> None:
    """Set the learning rate of a group of weights where it lies."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class Recorded(Generic[Batch]):
    """A step that is recorded and replayed, of what it works upon in place."""

    def __init__(self, step: Callable[[Any], Tensor], device: torch.device) -> None:
        """A step gives its loss; it must not wait for the device, nor depend on other numbers."""
        self._step = step
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._seen: Counter[Shapes] = Counter()
        self._recordings: dict[Shapes, _Recording] = {}

    def __call__(self, batch: Batch) -> Tensor:
        """The loss on a batch, on the device, until the next call."""
        shapes = tuple(tensor.shape for tensor in batch)
        if self._seen[shapes] < _WARM_UP:
            self._seen[shapes] += 1
            return self._at_once(batch)
        if shapes not in self._recordings:
            self._recordings[shapes] = self._record(batch)
        return self._recordings[shapes].replay(batch)

    def _at_once(self, batch: Batch) -> Tensor:
        """On a stream of its own, as recording asks for."""
        usual = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            loss = self._step(batch)
        usual.wait_stream(self._stream)
        return loss

    def _record(self, batch: Batch) -> "_Recording":
        inputs = type(batch)(*(tensor.to(self._device) for tensor in batch))
        graph = torch.cuda.CUDAGraph()
        # Only this thread must keep still: another one pins the memory of batches meanwhile.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            loss = self._step(inputs)
        return _Recording(graph, inputs, loss)


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    loss: Tensor

    def replay(self, batch: tuple[Tensor, ...]) -> Tensor:
        for held, given in zip(self.inputs, batch, strict=True):
            held.copy_(given, non_blocking=True)
        self.graph.replay()
        return self.loss
