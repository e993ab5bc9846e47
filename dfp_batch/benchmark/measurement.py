"""The measurement: presets and other programs on one stack, in turn, round after round."""

import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import torch
from torch.utils.flop_counter import FlopCounterMode

from dfp_batch.benchmark.peers import Cost, run_peer
from dfp_batch.benchmark.stopwatch import DECODE, Stopwatch
from dfp_batch.config.run_config import RunConfig
from dfp_batch.engine.processes import fresh
from dfp_batch.engine.single import fuse_files
from dfp_batch.engine.stages import peak_rss_bytes

_WARM_UP = 2  # frames that are fused first


def _int8_flops(*given: Any, out_shape: Sequence[int]) -> int:  # noqa: ANN401 - shapes and values
    """Of a convolution of 8 bits."""
    _outputs, *taps = given[3]
    return int(2 * math.prod(out_shape) * math.prod(taps))


_ALSO_COUNTED = {torch.ops.onednn.qconv2d_pointwise: _int8_flops}


@dataclass(frozen=True)
class Steps:
    """What one item takes, by step.

    Attributes:
        seconds: Of processor time; "other" is what is no step.
        calls: How often each was done.
        read_bytes: Of files.
        flops: In convolutions and matrix products.
        decodes_per_frame: How often a frame was decoded.
    """

    seconds: Mapping[str, float]
    calls: Mapping[str, int]
    read_bytes: int
    flops: int
    decodes_per_frame: float


@dataclass(frozen=True)
class Measured:
    """Of one preset, or of one other program.

    Attributes:
        costs: Of every round.
        peak_bytes: Most resident memory of a process that fuses nothing else.
        start_s: Seconds from the start of a process until it is warm; 0 of another program, whose
            start is part of every round.
        steps: Of a preset.
    """

    costs: Sequence[Cost]
    peak_bytes: int
    start_s: float = 0.0
    steps: Steps | None = None


def measure(
    runs: Mapping[str, RunConfig],
    peers: Sequence[str],
    frames: Sequence[str],
    rounds: int,
    threads: int,
    done: Callable[[str], None] = lambda _: None,
) -> dict[str, Measured]:
    """Fuse a stack again and again.

    Every preset has a process of its own, which is warm: two frames were fused before. Its memory
    and its steps are measured in further ones.

    Args:
        runs: Presets, or other compositions, by name.
        peers: Names of other programs, see ``peers``.
        frames: Paths of the frames of the stack.
        rounds: Everybody's turns.
        threads: Of each.
        done: Told what was done.
    """
    with ExitStack() as ending:
        folder = ending.enter_context(tempfile.TemporaryDirectory())
        turns = {name: partial(run_peer, name, frames, folder, threads) for name in peers}
        starts = dict.fromkeys(peers, 0.0)
        for name, run in runs.items():
            process = ending.enter_context(fresh(1, _start, threads))
            starts[name] = _seconds(partial(process.submit, _warm_up, run, frames))
            turns[name] = partial(_result, partial(process.submit, _fuse, run, frames))
        costs = _in_turn(turns, rounds, done)
    found = {name: Measured(of, max(one.peak_bytes for one in of)) for name, of in costs.items()}
    for name, run in runs.items():
        with fresh(1, _start, threads) as process:
            peak_bytes = process.submit(_peak, run, frames).result()
        with fresh(1, _start, threads) as process:
            steps = process.submit(_steps, run, frames).result()
        found[name] = Measured(costs[name], peak_bytes, starts[name], steps)
        done(f"{name}: memory and steps")
    return found


def _in_turn(
    turns: Mapping[str, Callable[[], Cost]], rounds: int, done: Callable[[str], None]
) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in turns}
    for number in range(rounds):
        for name, turn in turns.items():
            costs[name].append(turn())
            done(f"{name}, round {number + 1} of {rounds}: {costs[name][-1].core_s:.1f} core-s")
    return costs


def _result(submit: Callable[[], Future[Cost]]) -> Cost:
    return submit().result()


def _seconds(submit: Callable[[], Future[None]]) -> float:
    start = time.perf_counter()
    submit().result()
    return time.perf_counter() - start


# In the processes


def _start(threads: int) -> None:
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)


def _warm_up(run: RunConfig, frames: Sequence[str]) -> None:
    fuse_files(tuple(frames[:_WARM_UP]), run)


def _fuse(run: RunConfig, frames: Sequence[str]) -> Cost:
    wall, core = time.perf_counter(), _core_s()
    fuse_files(tuple(frames), run)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Cost(time.perf_counter() - wall, _core_s() - core, 0)


def _core_s() -> float:
    used = os.times()
    return used.user + used.system


def _peak(run: RunConfig, frames: Sequence[str]) -> int:
    fuse_files(tuple(frames), run)
    return peak_rss_bytes()


def _steps(run: RunConfig, frames: Sequence[str]) -> Steps:
    _warm_up(run, frames)
    watch, start = Stopwatch(), time.process_time()
    with watch.running(run.fusion):
        fuse_files(tuple(frames), run)
    rest = time.process_time() - start - sum(watch.seconds.values())
    with FlopCounterMode(display=False, custom_mapping=_ALSO_COUNTED) as counter:
        fuse_files(tuple(frames), run)
    return Steps(
        {**watch.seconds, "other": rest},
        watch.calls,
        watch.read_bytes,
        counter.get_total_flops(),
        watch.calls[DECODE] / len(frames),
    )
