"""Batches to learn enlargement from: pieces of procedural scenes, as cameras give them."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.reconstruction.learned_prior import PROJECTION_STEPS
from dfp_batch.synthetic.camera import Levels, levels, noisy, through_jpeg, unit
from dfp_batch.training.projection import matrices_of, projected
from dfp_batch.training.scenes import training_scene
from dfp_batch.training.workers import Random, examples, opened

Pool = Levels

KERNELS_PER_BATCH = 4
_MARGIN_PX = 4  # of low resolution, cut off so that borders are those of a piece, not of an image
_CANDIDATES = 3  # of which the piece with most detail is taken
_SCALES, _SCALE_SHARES = (2, 3, 4), (0.5, 0.2, 0.3)
_LANCZOS2, _BICUBIC, _GAUSSIAN = 0.35, 0.5, 0.9  # cumulative shares; the rest is anisotropic
_SIGMA = (0.25, 0.9)  # of Gaussians, in source px
_SIGMA_ERROR = 0.04  # relative, of the kernel that the network is told
_NOISY_SHARE, _LARGEST_NOISE = 0.5, 0.02
_JPEG_SHARE, _QUALITIES = 0.25, (70, 99)
_JPEG_BLOCK_PX = 8


class Drawn(NamedTuple):
    """N pieces as they are drawn, with a margin, in groups of N / 4 with one kernel each.

    Attributes:
        low: What the camera gives, (N, 1, q, q), in 8 bits.
        truth: Sharp and clean, (N, 1, scale * q, scale * q), in 8 bits.
        matrices: Of the kernels as they are believed to be, see ``matrices_of``.
        code: Of these kernels, (4, 8).
    """

    low: Tensor
    truth: Tensor
    matrices: Tensor
    code: Tensor


@dataclass(frozen=True)
class Batch:
    """N pieces at one scale, in groups of N / 4 with one kernel each.

    Attributes:
        low: What the camera gives, (N, 1, p, p), in [0, 1].
        projected: Its back-projected enlargement, (N, 1, scale * p, scale * p).
        code: Of the kernel as it is believed to be, (N, 8).
        truth: Sharp and clean, (N, 1, scale * p, scale * p), in [0, 1].
    """

    low: Tensor
    projected: Tensor
    code: Tensor
    truth: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(*(tensor.to(device) for tensor in vars(self).values()))


def scene_pool(count: int, side_px: int, seed: int, processes: int = 1) -> Pool:
    """Scenes (count, side_px, side_px) in 8 bits, made by so many processes."""
    return examples(partial(_scene, side_px), count, seed, processes)


def _scene(side_px: int, seed: tuple[int, int]) -> Levels:
    return levels(training_scene(side_px, seed))


def smallest_scene_px(side_px: int) -> int:
    """Side that a scene needs for pieces of ``side_px`` at low resolution."""
    return max(_SCALES) * (side_px + 2 * _MARGIN_PX)


def draw_from(scenes: Path, size: int, side_px: int, random: Random) -> Drawn:
    """As ``draw_pieces``, from a file of scenes that processes share."""
    return draw_pieces(opened(scenes), size, side_px, random)


def draw_pieces(pool: Pool, size: int, side_px: int, random: Random) -> Drawn:
    """Pieces at a scale drawn by chance: what a CPU does for a batch.

    Args:
        pool: Scenes, of ``smallest_scene_px`` at least.
        size: N, a multiple of 4.
        side_px: p, of the pieces at low resolution; q is the margins more.
        random: Source of all randomness.
    """
    scale = int(random.choice(_SCALES, p=_SCALE_SHARES))
    lows, truths, kernels = [], [], []
    for _ in range(KERNELS_PER_BATCH):
        true, believed = draw_kernels(scale, random)
        pieces = _pieces(
            pool, size // KERNELS_PER_BATCH, scale * (side_px + 2 * _MARGIN_PX), random
        )
        lows.append(_captured(Degradation(scale, true)(torch.from_numpy(unit(pieces))), random))
        truths.append(pieces)
        kernels.append(believed)
    low, truth = (torch.from_numpy(np.concatenate(parts)) for parts in (lows, truths))
    code = torch.stack([kernel.code(scale) for kernel in kernels])
    return Drawn(low, truth, matrices_of(kernels, scale, low.shape[-1]), code)


def batch_of(drawn: Drawn, device: torch.device) -> Batch:
    """The batch of pieces: what a GPU does for it, and never waits for the host."""
    low, truth, matrices, code = (tensor.to(device, non_blocking=True) for tensor in drawn)
    low, truth = low / 255, truth / 255
    count = len(low) // len(code)
    scale = truth.shape[-1] // low.shape[-1]
    enlargement = projected(low, matrices, scale, PROJECTION_STEPS)
    inner, inner_high = (
        (..., *(slice(margin_px, -margin_px),) * 2)
        for margin_px in (_MARGIN_PX, scale * _MARGIN_PX)
    )
    codes = code.repeat_interleave(count, 0)
    return Batch(low[inner], enlargement[inner_high], codes, truth[inner_high])


def _pieces(pool: Pool, count: int, side_px: int, random: Random) -> Levels:
    """Pieces anywhere, turned and mirrored, (count, 1, side_px, side_px)."""
    pieces = np.empty((count, 1, side_px, side_px), np.uint8)
    for index in range(count):
        candidates = [_piece(pool, side_px, random) for _ in range(_CANDIDATES)]
        turned = np.rot90(max(candidates, key=_detail), int(random.integers(4)))
        pieces[index, 0] = turned[::-1] if random.random() < 0.5 else turned  # noqa: PLR2004
    return pieces


def _piece(pool: Pool, side_px: int, random: Random) -> Levels:
    which = random.integers(len(pool))
    top, left = random.integers(0, pool.shape[1] - side_px + 1, 2)
    return pool[which, top : top + side_px, left : left + side_px]


def _detail(piece: Levels) -> float:
    """Mean difference of neighbours, in every other row: there is more to learn from detail."""
    return float(np.abs(np.diff(piece[::2].astype(np.int16), axis=1)).mean())


def draw_kernels(scale: int, random: Random) -> tuple[Kernel, Kernel]:
    """A kernel, and what it is believed to be: estimates are never exact."""
    kind = random.random()
    if kind < _BICUBIC:
        kernel = Lanczos2() if kind < _LANCZOS2 else Bicubic()
        return kernel, kernel
    sigmas_px = scale * random.uniform(*_SIGMA, 2)
    believed_px = sigmas_px * np.exp(random.normal(0, _SIGMA_ERROR))
    angle_deg = random.uniform(0, 180)
    (along, across), (believed_along, believed_across) = sigmas_px.tolist(), believed_px.tolist()
    if kind < _GAUSSIAN:
        return Gaussian(along), Gaussian(believed_along)
    return (
        AnisotropicGaussian(along, across, angle_deg),
        AnisotropicGaussian(believed_along, believed_across, angle_deg),
    )


def captured(low: Tensor, random: Random) -> Tensor:
    """Add what a camera adds to images (N, 1, h, w): noise to half, 8 bits, JPEG to a quarter."""
    return torch.from_numpy(unit(_captured(low, random)))


def _captured(low: Tensor, random: Random) -> Levels:
    grain = random.standard_normal(low.shape, np.float32)
    is_noisy = random.random(len(low)) < _NOISY_SHARE
    sigmas = (is_noisy * random.uniform(0, _LARGEST_NOISE, len(low))).astype(np.float32)
    planes = levels(noisy(low.numpy(), sigmas[:, None, None, None], grain))
    for plane in planes[:, 0]:
        if random.random() < _JPEG_SHARE:
            plane[:] = _jpeg(plane, random)
    return planes


def _jpeg(plane: Levels, random: Random) -> Levels:
    """Through JPEG, with blocks that begin anywhere."""
    top, left = random.integers(0, _JPEG_BLOCK_PX, 2)
    padded = np.pad(plane, ((top, 0), (left, 0)), "reflect")
    return through_jpeg(padded, int(random.integers(*_QUALITIES)))[top:, left:]
