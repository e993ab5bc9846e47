"""The evaluations of record: what is shown, with which methods, on which scenes."""

from typing import Any

import record_methods as methods

from dfp_batch.degradation.kernels import Bicubic, Gaussian
from dfp_batch.evaluation.records import Record
from dfp_batch.synthetic import SceneSet, SceneSpec

INTRODUCTION = """
# Results of record

Made by `python jobs/record_results.py` from `tests/benchmarks/results/`; do not edit. Every method
sees the sources only, never the truth. Seconds are processor time of one thread.
`balanced` (the default), `fast` (a network of half the depth), `best` (fitted to every item),
`classical` (the floor) and `paper` (as published) are presets; a baseline is `FUSION+ENLARGER` (see
`dfp-batch evaluate --help`). Beside other programs: [speed](speed.md). What is not known:
[limits](limits.md).

![What enlarging twice costs, and how good it is, by method](figures/quality-x2.png)

What a method costs, and how good it is: record `scenes`, x2.

![Decibels over the floor, item by item, at three scales](figures/gain.png)

Decibels over the floor `classical`, item by item: record `scenes`. Below the line an item has
become worse than the floor.

On 2026-11-26 all records were made anew, but for `against-paper`, `paper` and `refinement`: fits of
many minutes, whose networks have not changed. In `against-paper` the rows of `balanced` and `best`
are of the weights that the large network had before that day (decision 0010), and those of `best`
were measured when it was called `balanced` (decision 0013). On 2026-11-27 `prior` and those of its
noise and JPEG were made anew, with weights of `fast` that had learnt further and with convolutions
in 8 bits (decisions 0010, 0014): elsewhere `fast` enlarges as before. `prior`, `fusion` and
`stacks` were made once more that day, with seams learnt further (decision 0012).
"""


def bundled(side_px: int = 512, count: int = 12, **spec: Any) -> SceneSet:  # noqa: ANN401
    """Scenes on the bundled photographs."""
    return SceneSet("bundled", SceneSpec(**spec) if spec else None, side_px=side_px, count=count)


RECORDS: dict[str, Record] = {
    "prior": Record(
        "The learned prior",
        "The presets on 12 scenes of 512 px on bundled photographs, none of which the prior has "
        "seen, at scales 2 and 4.",
        methods.priors,
        bundled(),
        (2, 4),
    ),
    "defocus-spread": Record(
        "Defocus spread along seams",
        "What its correction brings, on the same scenes at scales 2 and 4. At scale 1: records "
        "`fusion` and `stacks`.",
        methods.defocus_spread,
        bundled(),
        (2, 4),
    ),
    "against-paper": Record(
        "The learned prior and the method as published",
        "4 scenes of 192 px on bundled photographs, at scales 2 and 4; `paper` with 500 + 1000 "
        "iterations.",
        methods.against_the_paper,
        bundled(192, 4),
        (2, 4),
    ),
    **{
        f"prior-{name}": Record(
            f"The learned prior with {what}",
            f"12 scenes of 512 px on bundled photographs at scale 2, whose sources have {what}.",
            methods.priors,
            bundled(**spec),
            (2,),
        )
        for name, what, spec in (
            ("noise-1", "noise of 1 % at mid-grey", {"noise": 0.01}),
            ("noise-2", "noise of 2 % at mid-grey", {"noise": 0.02}),
            ("jpeg-90", "JPEG of quality 90", {"jpeg_quality": 90}),
            ("jpeg-75", "JPEG of quality 75", {"jpeg_quality": 75}),
        )
    },
    "kernel-sigma-1.2": Record(
        "An unknown kernel: Gaussian, 1.2 px",
        "The scenes of record `prior`, made smaller with that kernel.",
        methods.kernels_believed,
        SceneSet("bundled", kernel=Gaussian(1.2)),
        (2,),
    ),
    "kernel-bicubic": Record(
        "An unknown kernel: bicubic",
        "The scenes of record `prior`, made smaller with that kernel.",
        methods.with_auto,
        SceneSet("bundled", kernel=Bicubic()),
        (2, 4),
    ),
    "scenes": Record(
        "Presets and baselines on scenes with exact truth",
        "12 scenes of 512 px (the truth) on bundled photographs; sources are 512, 256, 171 and "
        "128 px.",
        methods.grid,
        bundled(),
        (1, 2, 3, 4),
    ),
    "fusion": Record(
        "Fusion alone, scale 1",
        "The same scenes. Compared with the Laplacian pyramid.",
        methods.fusion_only,
        bundled(),
    ),
    "noise": Record(
        "Fusion alone, scale 1, noisy sources",
        "12 scenes with sensor noise of 0.02 at mid-grey (5 of 255 levels) and JPEG quality 90.",
        methods.fusion_only,
        bundled(noise=0.02, jpeg_quality=90),
    ),
    "stacks": Record(
        "Fusion alone, scale 1, stacks of 5",
        "12 scenes of 5 frames, 5 layers.",
        methods.fusion_only,
        bundled(frames=5, layers=5, defocus_px=3.0),
    ),
    "beyond": Record(
        "A background beyond focus",
        "12 scenes of 3 frames whose background lies two steps of focus beyond the first; noise "
        "of 0.4 %, JPEG of quality 95. Its truth is its least blurred rendering.",
        methods.nothing_in_focus,
        bundled(frames=3, defocus_px=3.0, beyond=2.0, noise=0.004, jpeg_quality=95),
        column="unfocused_psnr_db",
    ),
    "partly-covered": Record(
        "A background beyond focus, and frames that see a part of the view",
        "The same scenes with shifts of up to 24 px of the sources and breathing of 1 %.",
        methods.nothing_in_focus,
        bundled(
            frames=3,
            defocus_px=3.0,
            beyond=2.0,
            noise=0.004,
            jpeg_quality=95,
            shift_px=24.0,
            breathing=0.01,
        ),
        column="unfocused_psnr_db",
    ),
    "noisy-stacks": Record(
        "Every frame counts",
        "12 scenes of 8 frames, 8 layers, 1 px of defocus from frame to frame, noise of 2 %.",
        methods.every_frame,
        bundled(frames=8, layers=8, defocus_px=1.0, noise=0.02),
    ),
    "moved": Record(
        "Stacks that moved",
        "12 scenes of 2 frames with shifts of up to 2 px of the sources, breathing of 0.4 % and "
        "exposure drift of up to 5 %.",
        methods.held_still,
        bundled(shift_px=2.0, breathing=0.004, exposure=0.05),
        (1, 2),
    ),
    "moved-stacks": Record(
        "Stacks of 5 that moved",
        "12 scenes of 5 frames, 5 layers, with the same motion and drift.",
        methods.held_still,
        bundled(frames=5, layers=5, defocus_px=3.0, shift_px=2.0, breathing=0.004, exposure=0.05),
        (1, 2),
    ),
    "unmoved": Record(
        "The same stacks unmoved",
        "The scenes of record `moved` without motion and drift.",
        methods.held_still,
        bundled(layers=3),
        (1, 2),
    ),
    "unmoved-stacks": Record(
        "The same stacks of 5 unmoved",
        "The scenes of record `moved-stacks` without motion and drift.",
        methods.held_still,
        bundled(frames=5, layers=5, defocus_px=3.0),
        (1, 2),
    ),
    "focus-x1": Record(
        "Focus measures, scale 1",
        "Accuracy of the decision; 512 px. The scenes of record `scenes`, with thin strokes.",
        methods.focus_measures,
        bundled(),
        column="accuracy",
    ),
    "focus-x1-solid": Record(
        "Focus measures, scale 1, without thin strokes",
        "12 scenes of 2 layers, disc of 4 px; 512 px.",
        methods.focus_measures,
        bundled(strokes=0, layers=2),
        column="accuracy",
    ),
    "focus-x2": Record(
        "Focus measures at the low resolution of scale 2",
        "The scenes with thin strokes; the sources are 256 px, so that boundaries take twice the "
        "share of the image.",
        methods.focus_measures,
        bundled(),
        (2,),
        column="accuracy",
    ),
    "focus-x2-solid": Record(
        "Focus measures at the low resolution of scale 2, without thin strokes",
        "12 scenes of 2 layers, disc of 4 px; the sources are 256 px.",
        methods.focus_measures,
        bundled(strokes=0, layers=2),
        (2,),
        column="accuracy",
    ),
    "refinement": Record(
        "Refinements alone and combined, scale 1",
        "12 scenes of 128 px, because the embedding takes 500 iterations of a network per item. "
        "Made before `votes` existed.",
        methods.refinements,
        bundled(128),
        column="accuracy",
    ),
    "double-reblur": Record(
        "Sensitivity of DoubleReblur (the paper's Fig. 8), scale 1",
        "Its parameters [kg, kd, ke, t, f]: accuracy and the image selected by the raw decision.",
        methods.reblur_settings,
        bundled(),
        column="accuracy",
    ),
    "double-reblur-paper": Record(
        "Sensitivity of the preset paper to DoubleReblur (the paper's Fig. 8), scale 2",
        "4 scenes of 128 px; embedding 500 and prior 1000 iterations, as published.",
        methods.reblur_priors,
        bundled(128, 4),
        (2,),
    ),
    "paper": Record(
        "The method as published, and single-image Deep Image Prior",
        "12 scenes of 128 px (the truth), because paper and dip optimise a network per item "
        "(1000 and 2500 iterations). Older than the learned prior: here `fast` is enlarged by back "
        "projection alone, and `classical` and `mask` still clean up by area.",
        methods.with_the_paper,
        bundled(128),
        (2,),
    ),
    "real-pairs": Record(
        "Real pairs",
        "14 photographed pairs of public research sets (Lytro and others), in the paper's "
        "protocol: sources down-scaled, enlarged, compared with the full-size sources. There is no "
        "true all-in-focus image.",
        methods.grid,
        None,
        (1, 2, 4),
        column="scd",
    ),
    "real-pairs-fusion": Record(
        "Real pairs, fusion alone, scale 1",
        "The same pairs.",
        methods.fusion_only,
        None,
        column="scd",
    ),
}
