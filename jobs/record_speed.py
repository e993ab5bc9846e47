"""Make the records of speed: tests/benchmarks/results/speed/, docs/speed.md and its figure.

Usage: python jobs/record_speed.py [RECORD ...] [--rounds 3]
       python jobs/record_speed.py --docs | --check

Every record but ``quality`` is one ``dfp-batch bench`` on a stack that is made, in turn with
focus-stack and enfuse, which must be on the PATH. ``quality`` is what the same programs make of
scenes whose truth is known. ``--docs`` makes only the page anew; ``--check`` says whether it is
what the files give.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from records import RECORDS

from dfp_batch.benchmark.peers import PEERS
from dfp_batch.core.image import array_luma
from dfp_batch.engine.frames import read_frame
from dfp_batch.io import codec, storage
from dfp_batch.io.codec import Frame
from dfp_batch.metrics.reference import psnr_db
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import fuse

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "tests" / "benchmarks" / "results" / "speed"
PAGE = ROOT / "docs" / "speed.md"
FIGURE = PAGE.parent / "figures" / "speed.png"
QUALITY = "quality"
PRESETS = ("classical", "fast")  # at x1 `balanced` is `fast`
BENCHES: dict[str, tuple[str, str]] = {
    "x1-10-frames-3mp": ("10 frames of 3.1 MP, JPEG, x1", "--presets classical,fast"),
    "x1-5-frames-24mp": (
        "5 frames of 24 MP, TIFF of 16 bits, x1",
        "--presets classical,fast --frames 5 --megapixels 24 --kind tiff",
    ),
    "x1-pair": ("A pair of 3.1 MP, JPEG, x1", "--presets classical,fast --frames 2"),
    "x2-pair": (
        "A pair of .27 MP, PNG of 16 bits, x2",
        "--presets classical,fast,balanced --scale 2 --frames 2 --megapixels 0.27 --kind png",
    ),
}
_PAIRS = {1: "x1-pair", 2: "x2-pair"}  # by scale
_PRICED = ("classical", "fast", "balanced")
_LEVELS = 255
_SHOWN_S = 0.05
_MP = 1e6
_WRITTEN = {"focus-stack": "focus-stack.png", "enfuse": "enfuse.tif"}
_UNCUT = {"focus-stack": ["--align-keep-size"], "enfuse": []}

Image = NDArray[np.float32]


def main() -> None:
    """Command line."""
    options = _parse()
    if options.check:
        if PAGE.read_text() != page():
            raise SystemExit(f"{PAGE} is not what {RESULTS} gives: run --docs")
        return
    if not options.docs:
        RESULTS.mkdir(parents=True, exist_ok=True)
        for name in options.records or [*BENCHES, QUALITY]:
            _make(name, options.rounds)
    _draw()
    PAGE.write_text(page())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("records", nargs="*", metavar="RECORD")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--docs", action="store_true", help="only the page")
    parser.add_argument("--check", action="store_true", help="only whether the page is up to date")
    given = parser.parse_args()
    if unknown := sorted(set(given.records) - {*BENCHES, QUALITY}):
        parser.error(f"there is no record {', '.join(unknown)}")
    return given


def _make(name: str, rounds: int) -> None:
    if absent := [peer for peer in PEERS if not PEERS[peer].is_here]:
        raise SystemExit(f"not on the PATH: {', '.join(absent)}; losses belong beside wins")
    path = RESULTS / f"{name}.json"
    if name == QUALITY:
        path.write_text(json.dumps(quality(), indent=1) + "\n")
        return
    settings = [*BENCHES[name][1].split(), "--rounds", str(rounds), "--output", str(path)]
    subprocess.run([sys.executable, "-m", "dfp_batch", "bench", *settings], check=True)


def quality() -> dict[str, float]:
    """PSNR of the luma, mean over the scenes of record ``stacks``, in dB, by name."""
    scenes = RECORDS["stacks"].scenes
    assert scenes is not None
    found: dict[str, list[float]] = {name: [] for name in (*PRESETS, *PEERS)}
    for index in range(scenes.count):
        scene = scenes.scene(index)
        frames = [_stored(source) for source in scene.sources]
        truth = _stored(scene.truth)
        for name, values in found.items():
            made = _fused(name, frames)
            values.append(psnr_db(_luma(made), _luma(truth)))
    return {name: round(float(np.mean(values)), 2) for name, values in found.items()}


def _fused(name: str, frames: Sequence[NDArray[np.uint8]]) -> NDArray[Any]:
    """What a preset or another program makes of frames (h, w, C), (h, w, C) in 8 bits."""
    if name in PRESETS:
        fused = fuse(frames, FusionConfig.preset(name, scale=1)).fused
        return _stored(fused.numpy())
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{index}.png" for index in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            storage.write_bytes(path, codec.encode(Frame(frame), "png"))
        command = PEERS[name].commands(paths, folder, 1)[-1]
        if name == "enfuse":  # as they are: its aligner cuts borders off, and nothing has moved
            command = [*command[: -len(paths)], *paths]
        subprocess.run([*command, *_UNCUT[name]], check=True, capture_output=True)
        return read_frame(f"{folder}/{_WRITTEN[name]}").pixels


def _stored(image: Image) -> NDArray[np.uint8]:
    return np.rint(image.transpose(1, 2, 0) * _LEVELS).astype(np.uint8)


def _luma(pixels: NDArray[Any]) -> Image:
    unit = pixels.astype(np.float32) / _LEVELS
    return array_luma(unit)


# The page


_INTRODUCTION = """# Speed

Made by `python jobs/record_speed.py` from `tests/benchmarks/results/speed/`; do not edit. Every
table is one `dfp-batch bench`: one thread each, in turn, round after round; medians. Seconds are of
processor time, of ours in a process that is warm, of the others with their start. Registration,
reading and writing are part of it. At x1 `balanced` is `fast`.
"""


def page() -> str:
    """The whole of it."""
    found = {
        name: _read(name) for name in (*BENCHES, QUALITY) if (RESULTS / f"{name}.json").exists()
    }
    parts = [_INTRODUCTION]
    if set(_PAIRS.values()) <= set(found):
        parts.append(_price_section({scale: found[name] for scale, name in _PAIRS.items()}))
    if QUALITY in found:
        parts.append(_quality_section(found.pop(QUALITY)))
    parts += [_section(BENCHES[name][0], content) for name, content in found.items()]
    return "\n".join(parts)


def _read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return content


def _price_section(pairs: dict[int, dict[str, Any]]) -> str:
    """What a megapixel costs with each preset, and what that buys."""
    better = _decibels_over_floor()
    rows = [
        f"| `{name}` | {_per_mp(pairs[1], name):.2f} | {_per_mp(pairs[2], name):.2f} | "
        + " | ".join(f"{better[name, scale]:+.1f}" for scale in (1, 2, 4))
        + " |"
        for name in _PRICED
    ]
    return f"""## What a megapixel costs

Core-seconds per megapixel of the result, of a pair, registration and files included (tables below,
with the machine); and what that buys: PSNR of the luma over `classical`, mean of the 12 bundled
scenes of record `scenes` ([results](results.md)).

| | s/MP at x1 | s/MP at x2 | dB at x1 | dB at x2 | dB at x4 |
|---|---:|---:|---:|---:|---:|
{chr(10).join(rows)}
"""


def _per_mp(content: dict[str, Any], name: str) -> float:
    stack, results = content["stack"], content["results"]
    known = results.get(name) or results["fast"]  # at x1 `balanced` is `fast`
    pixels = int(stack["width_px"] * stack["height_px"] * stack["scale"] ** 2)
    return float(known["core_s"]["median"]) * _MP / pixels


def _decibels_over_floor() -> dict[tuple[str, int], float]:
    with (RESULTS.parent / "scenes" / "summary.csv").open() as file:
        means = {
            (row["method"], int(row["scale"])): float(row["mean"])
            for row in csv.DictReader(file)
            if row["metric"] == "psnr_db" and row["set"] == "bundled"
        }
    return {(name, scale): mean - means[_PRICED[0], scale] for (name, scale), mean in means.items()}


def _quality_section(found: dict[str, float]) -> str:
    rows = "\n".join(f"| {_shown(name)} | {value:.2f} |" for name, value in found.items())
    return f"""![time and quality](figures/speed.png)

PSNR of the luma at x1, mean of the 12 scenes of record `stacks`, which did not move. enfuse takes
them as they are, the others register them all the same:

| | dB |
|---|---:|
{rows}
"""


def _section(title: str, content: dict[str, Any]) -> str:
    results, machine = content["results"], content["machine"]
    first = next(iter(results))
    lines = [
        f"| {_shown(name)} | {row['core_s']['median']:.2f} | {row['core_s']['iqr']:.2f} | "
        f"{_over(content, name, first)} | {row['peak_mb']} | {_count(row, 'decodes_per_frame')} | "
        f"{_count(row, 'gflop')} |"
        for name, row in results.items()
    ]
    ours = {name: row["steps_core_s"] for name, row in results.items() if "counts" in row}
    steps = dict.fromkeys(step for row in ours.values() for step in row)
    shown = [step for step in steps if max(row.get(step, 0) for row in ours.values()) >= _SHOWN_S]
    by_step = [
        f"| {step} | {' | '.join(f'{row.get(step, 0):.2f}' for row in ours.values())} |"
        for step in shown
    ]
    head = "\n".join(
        [
            f"| core-seconds of a step | {' | '.join(map(_shown, ours))} |",
            "|---|" + "---:|" * len(ours),
        ]
    )
    table = "\n".join(lines)
    torch_version = content["versions"]["torch"]
    where = f"{machine['cpu']} ({machine['capability']}), torch {torch_version}"
    return f"""## {title}

{where}, {content["measured_at"][:10]}.

| | core-seconds | IQR | over {first} | peak MB | decodes of a frame | GFLOP |
|---|---:|---:|---:|---:|---:|---:|
{table}

{head}
{chr(10).join(by_step)}
"""


def _shown(name: str) -> str:
    return name if name in PEERS else f"`{name}`"


def _over(content: dict[str, Any], name: str, first: str) -> str:
    ratio = content["core_s_over"][name].get(first)
    return "" if ratio is None else f"{ratio:.2f}"


def _count(row: dict[str, Any], name: str) -> str:
    return f"{row['counts'][name]:.1f}" if "counts" in row else ""


def _draw() -> None:
    """Time and quality of every preset and peer at x1."""
    if not all((RESULTS / f"{name}.json").exists() for name in (QUALITY, "x1-10-frames-3mp")):
        return
    good, results = _read(QUALITY), _read("x1-10-frames-3mp")["results"]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, row in results.items():
        seconds = row["core_s"]["median"]
        axes.scatter(seconds, good[name], marker="s" if name in PEERS else "o")
        axes.annotate(f" {name}", (seconds, good[name]))
    axes.set_xlim(0, 1.4 * max(row["core_s"]["median"] for row in results.values()))
    axes.set_xlabel("core-seconds for 10 frames of 3.1 MP, x1")
    axes.set_ylabel("PSNR of 12 stacks of 5, dB")
    axes.grid(alpha=0.3)
    figure.savefig(FIGURE, dpi=110)


if __name__ == "__main__":
    main()
