"""Time `prepare` of a stack and measure its memory beyond the decision.

Usage: python jobs/benchmark_stack.py [IMAGE ...] [--preset classical] [--rounds 3]
       python jobs/benchmark_stack.py --frames 20 100 [--side 1024]

Takes a stack of your own, or makes stacks of so many frames. Every stack is prepared in a process
of its own, after two of its frames for warming up. Prints JSON: seconds of every round, and the
peak of the resident memory less what was there before and less the decision (4 bytes per pixel and
frame), in full frames (h * w * C in float32). Memory has a process of its own, in which freed
memory is given back at once; otherwise what the allocator keeps would count as used.
"""

import argparse
import json
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import psutil

from dfp_batch.config.run_config import RunConfig, run_config
from dfp_batch.engine.prepare import prepare
from dfp_batch.io import codec, storage, urls
from dfp_batch.runs.manifest import Pair
from dfp_batch.synthetic import procedural_image


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("images", nargs="*")
    parser.add_argument("--preset", default="classical")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, nargs="*", default=[])
    parser.add_argument("--side", type=int, default=1024)
    options = parser.parse_args()
    run = run_config(options.preset, None, {"scale": 1})
    with tempfile.TemporaryDirectory() as folder:
        stacks = [made(folder, count, options.side) for count in options.frames]
        stacks += [[urls.absolute_url(image) for image in options.images]] * bool(options.images)
        results = [measured(urls, run, options.rounds) for urls in stacks]
    print(json.dumps({"preset": options.preset, "results": results}, indent=1))


def made(folder: str, count: int, side: int) -> list[str]:
    """Frames of one scene, each sharp in its own rows and the less sharp the farther away."""
    sharp = procedural_image(side, 0).transpose(1, 2, 0)
    away = np.abs(np.arange(side) * count / side - 0.5 - np.arange(count)[:, None])
    blurs = ((1, 1.0), (3, 2.0), (8, 4.0))
    blurred = {sigma_px: cv2.GaussianBlur(sharp, (0, 0), sigma_px) for _, sigma_px in blurs}
    urls = []
    for index in range(count):
        frame = sharp.copy()
        for nearest, sigma_px in blurs:
            rows = away[index] >= nearest
            frame[rows] = blurred[sigma_px][rows]
        data = codec.encode(codec.from_unit(frame.transpose(2, 0, 1), np.uint8), "jpg")
        urls.append(f"{folder}/{count}-{index:03d}.jpg")
        storage.write_bytes(urls[-1], data)
    return urls


def measured(urls: Sequence[str], run: RunConfig, rounds: int) -> dict[str, Any]:
    """Time and memory of one stack, each in a new process."""
    timed = _in_new_process(_seconds, tuple(urls), run, rounds)
    os.environ["MALLOC_MMAP_THRESHOLD_"] = str(1 << 20)
    memory = _in_new_process(_memory, tuple(urls), run)
    del os.environ["MALLOC_MMAP_THRESHOLD_"]
    return {"frames": len(urls), "seconds": timed, **memory}


def _in_new_process(function: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _seconds(urls: tuple[str, ...], run: RunConfig, rounds: int) -> list[float]:
    prepare(Pair("warm", urls[:2]), run)
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        prepare(Pair("stack", urls), run)
        seconds.append(round(time.perf_counter() - start, 3))
    return seconds


def _memory(urls: tuple[str, ...], run: RunConfig) -> dict[str, Any]:
    prepare(Pair("warm", urls[:2]), run)
    before = psutil.Process().memory_info().rss
    prepared, facts = prepare(Pair("stack", urls), run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (h, w), channels = prepared.valid.shape, prepared.blank.pixels.shape[2]
    decision, frame = 4 * h * w * len(urls), 4 * h * w * channels
    return {
        "width_px": w,
        "height_px": h,
        "align_flags": sorted(set(facts["align_flags"])),
        "decision_mb": round(decision / 1e6),
        "beyond_decision_full_frames": round((peak - before - decision) / frame, 1),
    }


if __name__ == "__main__":
    main()
