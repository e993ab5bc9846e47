"""Batches to learn enlargement from: pieces of procedural scenes, as cameras give them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.reconstruction.learned_prior import initial_enlargement
from dfp_batch.synthetic.camera import Levels, levels, noisy, through_jpeg, unit
from dfp_batch.training.scenes import training_scene

Pool = Levels
Random = np.random.Generator

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


def scene_pool(count: int, side_px: int, seed: int) -> Pool:
    """Scenes (count, side_px, side_px) in 8 bits."""
    pool = np.empty((count, side_px, side_px), np.uint8)
    for index in range(count):
        pool[index] = levels(training_scene(side_px, (seed, index)))
    return pool


def smallest_scene_px(side_px: int) -> int:
    """Side that a scene needs for pieces of ``side_px`` at low resolution."""
    return max(_SCALES) * (side_px + 2 * _MARGIN_PX)


def draw_batch(pool: Pool, size: int, side_px: int, random: Random) -> Batch:
    """A batch at a scale drawn by chance.

    Args:
        pool: Scenes, of ``smallest_scene_px`` at least.
        size: N, a multiple of 4.
        side_px: p, of the pieces at low resolution.
        random: Source of all randomness.
    """
    scale = int(random.choice(_SCALES, p=_SCALE_SHARES))
    groups = [
        _group(pool, size // KERNELS_PER_BATCH, side_px, scale, random)
        for _ in range(KERNELS_PER_BATCH)
    ]
    return Batch(*(torch.cat(parts) for parts in zip(*groups, strict=True)))


def _group(
    pool: Pool, size: int, side_px: int, scale: int, random: Random
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fields of a batch with one kernel."""
    true, believed = draw_kernels(scale, random)
    truth = _pieces(pool, size, scale * (side_px + 2 * _MARGIN_PX), random)
    low = captured(Degradation(scale, true)(truth), random)
    projected = initial_enlargement(low, Degradation(scale, believed))
    inner = (..., *(slice(_MARGIN_PX, -_MARGIN_PX),) * 2)
    inner_high = (..., *(slice(scale * _MARGIN_PX, -scale * _MARGIN_PX),) * 2)
    code = believed.code(scale).expand(size, -1)
    return low[inner], projected[inner_high], code, truth[inner_high]


def _pieces(pool: Pool, count: int, side_px: int, random: Random) -> Tensor:
    """Pieces anywhere, turned and mirrored, (count, 1, side_px, side_px) in [0, 1]."""
    pieces = np.empty((count, 1, side_px, side_px), np.float32)
    for index in range(count):
        candidates = [_piece(pool, side_px, random) for _ in range(_CANDIDATES)]
        turned = np.rot90(max(candidates, key=_detail), int(random.integers(4)))
        pieces[index, 0] = turned[::-1] if random.random() < 0.5 else turned  # noqa: PLR2004
    return torch.from_numpy(pieces / np.float32(255))


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
    grain = random.standard_normal(low.shape, np.float32)
    is_noisy = random.random(len(low)) < _NOISY_SHARE
    sigmas = (is_noisy * random.uniform(0, _LARGEST_NOISE, len(low))).astype(np.float32)
    planes = levels(noisy(low.numpy(), sigmas[:, None, None, None], grain))
    for plane in planes[:, 0]:
        if random.random() < _JPEG_SHARE:
            plane[:] = _jpeg(plane, random)
    return torch.from_numpy(unit(planes))


def _jpeg(plane: Levels, random: Random) -> Levels:
    """Through JPEG, with blocks that begin anywhere."""
    top, left = random.integers(0, _JPEG_BLOCK_PX, 2)
    padded = np.pad(plane, ((top, 0), (left, 0)), "reflect")
    return through_jpeg(padded, int(random.integers(*_QUALITIES)))[top:, left:]
