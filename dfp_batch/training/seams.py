"""Examples to learn the correction of the defocus spread from: scenes, merged as the product does.

Noise and the blocks of JPEG are part of the truth, as the decision would choose them: the network
learns to take away what a blurred foreground spreads over the background, and to leave alone what
a camera adds.
"""

from dataclasses import replace
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.core.sources import InMemory
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.merging.defocus_spread import Watched
from dfp_batch.merging.seam_pyramid import SeamPyramid
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.steps import Workplace, choose_device, merge
from dfp_batch.synthetic.camera import Psf
from dfp_batch.synthetic.procedural import procedural_image
from dfp_batch.synthetic.scene import Scene, SceneSpec, make_scene
from dfp_batch.training.scenes import training_scene

Planes = NDArray[np.float16]
Colours = NDArray[np.float32]  # (3, h, w)
Random = np.random.Generator

_PAIRS = 0.6  # share of scenes with two sources
_FRAMES, _LAYERS, _IMAGES, _STROKES = (3, 8), (2, 6), (1, 5), (0, 4)
_DEFOCUS_PX, _EDGE_PX = (1.0, 10.0), (0.4, 1.5)  # of a pair; less of stacks
_GREY_SHARE = 0.15
_FULL_SHARE = 0.2  # of scenes at scale 1; the others are made smaller
_LANCZOS2, _BICUBIC, _SIGMA_PX = 0.6, 0.7, (0.8, 1.4)  # cumulative shares; the rest is Gaussian
_NOISY_SHARE, _LARGEST_NOISE = 0.4, 0.02
_JPEG_SHARE, _QUALITIES = 0.3, (70, 99)


def seam_example(side_px: int, seed: int | tuple[int, ...]) -> Planes:
    """Planes (14, side_px, side_px) of one scene; the same seed gives the same ones.

    The first eleven are what the network sees, the last three the truth: the colours that the
    merged image should have had.

    Args:
        side_px: Height and width.
        seed: Of all randomness, one or more numbers >= 0.
    """
    random = np.random.default_rng(seed)
    spec = _spec(random)
    images = _images(spec.scale * side_px, random)
    scene_seed = int(random.integers(2**31))
    scene, clean = (make_scene(images, one, scene_seed) for one in (spec, _without_camera(spec)))
    sharp = Degradation(spec.scale, spec.kernel)(torch.from_numpy(scene.truth)[None])[0]
    return _example(scene, clean, sharp)


def _example(scene: Scene, clean: Scene, sharp: torch.Tensor) -> Planes:
    config = FusionConfig.preset("fast", merge=SeamPyramid(), scale=1)
    images = torch.from_numpy(scene.sources)
    sources = InMemory(images)
    merged = merge(sources, config, Workplace(choose_device("cpu")))
    grain = (merged.decision * (images - torch.from_numpy(clean.sources))).sum(0)
    seams = Watched(sources, merged.decision, torch.ones(1, 1, 1)).seams(merged.sources[0])
    shown = (seams.merged, seams.first, seams.second, seams.weight, seams.band, sharp + grain)
    return torch.cat(shown).numpy().astype(np.float16)


def _images(side_px: int, random: Random) -> list[Colours]:
    """One to four images (3, side_px, side_px), which the layers take in turn."""
    images = []
    for _ in range(int(random.integers(*_IMAGES))):
        seed = int(random.integers(2**31))
        rich = random.random() < 0.5  # noqa: PLR2004
        image = _tinted(side_px, seed, random) if rich else procedural_image(side_px, seed)
        if random.random() < _GREY_SHARE:
            image = np.broadcast_to(image.mean(0), image.shape)
        images.append(np.ascontiguousarray(image, np.float32))
    return images


def _tinted(side_px: int, seed: int, random: Random) -> Colours:
    """A grey scene in colour: a curve for each channel, and other colours in places of its own."""
    grey = training_scene(side_px, seed)
    elsewhere = np.rot90(grey) - 0.5
    curves = 2 ** random.uniform(-1, 1, 3) * random.uniform(0.3, 1)
    return np.stack(
        [
            (grey**curve + strength * elsewhere).clip(0, 1)
            for curve, strength in zip(curves, random.normal(0, 0.15, 3), strict=True)
        ]
    )


def _spec(random: Random) -> SceneSpec:
    noisy, jpeg = random.random() < _NOISY_SHARE, random.random() < _JPEG_SHARE
    frames = 2 if random.random() < _PAIRS else int(random.integers(*_FRAMES))
    defocus_px = float(np.exp(random.uniform(*np.log(_DEFOCUS_PX))))
    return SceneSpec(
        frames=frames,
        layers=max(frames, int(random.integers(*_LAYERS))),
        psf=get_args(Psf)[int(random.integers(2))],
        defocus_px=defocus_px / (frames - 1) ** 0.5,
        edge_px=float(random.uniform(*_EDGE_PX)),
        strokes=int(random.integers(*_STROKES)),
        scale=1 if random.random() < _FULL_SHARE else 2,
        kernel=_kernel(random),
        noise=float(random.uniform(0, _LARGEST_NOISE)) if noisy else 0,
        jpeg_quality=int(random.integers(*_QUALITIES)) if jpeg else 0,
    )


def _kernel(random: Random) -> Kernel:
    kind = random.random()
    if kind < _BICUBIC:
        return Lanczos2() if kind < _LANCZOS2 else Bicubic()
    return Gaussian(float(random.uniform(*_SIGMA_PX)))


def _without_camera(spec: SceneSpec) -> SceneSpec:
    """The same scene without noise and JPEG."""
    return replace(spec, noise=0.0, jpeg_quality=0)
