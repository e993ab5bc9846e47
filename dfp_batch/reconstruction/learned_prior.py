"""The learned prior: enlargement by a network that has seen procedural scenes only."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dfp_batch.core.contracts import Compute, Reconstruction, Solution
from dfp_batch.core.decision import weighted
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge, luma
from dfp_batch.core.part import CountOrNone
from dfp_batch.core.quality import blockiness, noise_level
from dfp_batch.core.tiling import Halo, Span, in_columns, spans, with_neighbours
from dfp_batch.networks.int8 import Int8Blocks
from dfp_batch.networks.prior_network import PriorNetwork
from dfp_batch.networks.weights import PRIORS, load_prior
from dfp_batch.reconstruction.back_projection import enlarged_rows, project_back, projected_back
from dfp_batch.reconstruction.round_trip import REACH_PX, reach_of

PROJECTION_STEPS = 10  # before the network; its weights are made for so many
_TILE_PX = 448  # more costs memory; less costs time in halos, most where the network is deep
_ACCELERATOR_COLOUR_PX = 1 << 22
_COLOUR_PX, _COLOUR_ROWS = 1 << 19, 32  # of the sources, that are in colour and enlarged at once
_ACCELERATOR_TILE_PX = 768  # an H200 waits for its host: 12 ms per output MP with 320, 4 with 1024
_LEAST_NOISE, _MOST_NOISE = 1 / 255, 2 / 255  # standard deviations
_LEAST_BLOCKS, _MOST_BLOCKS = 1.15, 1.35  # JPEG of quality 90, 80


def initial_enlargement(low: Tensor, degrade: Degradation) -> Tensor:
    """What the network adds to: ten steps of back projection, (N, C, scale * h, scale * w)."""
    return enlarge(projected_back(low, degrade, PROJECTION_STEPS)[0], degrade.scale)


def _trusted(low: Tensor) -> Tensor:
    """Share of the last steps that is taken: 1 for clean sources, 0 for noise or coarse JPEG."""
    noise = (_MOST_NOISE - noise_level(low)) / (_MOST_NOISE - _LEAST_NOISE)
    blocks = (_MOST_BLOCKS - blockiness(low)) / (_MOST_BLOCKS - _LEAST_BLOCKS)
    return torch.minimum(noise, blocks).clamp(0, 1)


@dataclass(frozen=True)
class LearnedPrior(Reconstruction):
    """Back projection, and the detail that a network adds to its luma.

    Grey stays grey: the detail is the same in all channels. At scale 1 nothing is added.

    Attributes:
        weights: "small" or "large", which come with the package, or a file of ``train_prior.py``.
            Large ones have twice the layers, and take twice the time.
        final_steps: Of back projection after the network. They bring back detail, and noise: what
            they change is taken less, the more noise is in the sources (from one to two levels of 8
            bits) and the more the blocks of JPEG show (from about quality 90 to 80).

    Raises:
        ConfigError: if final_steps is negative.
    """

    weights: str = "small"
    final_steps: CountOrNone = 1

    def build(self, device: torch.device) -> PriorNetwork:
        """The network, not to be changed.

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        return load_prior(PRIORS.get(self.weights) or Path(self.weights), device)

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; mean |u - D(x)| before each last step.

        Raises:
            ConfigError: if the file of the weights cannot be used.
        """
        rows = LearnedPrior.in_rows(self, sources, decision, degrade, compute)
        return Solution.joined(rows)

    def in_rows(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Solution]:
        """As a call, a row of tiles at a time."""
        low = weighted(sources, decision)
        return self.applied(self.build(low.device), low, degrade, compute)

    @torch.no_grad()
    def applied(
        self, network: PriorNetwork, low: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Solution]:
        """In rows, of the merged sources u (1, C, h, w) and with a network like the prior's."""
        scale = degrade.scale
        if scale == 1:
            for part in spans(low.shape[-2], _TILE_PX, 0):
                yield Solution(low[..., part.own(), :].clamp(0, 1), low.new_empty(0))
            return
        share, reach_px = _trusted(luma(low)), self.final_steps * reach_of(degrade)
        full_quality = self._with_detail(network, low, degrade, compute)
        height = scale * low.shape[-2]
        for rows, first, own in with_neighbours(full_quality, height, scale * reach_px):
            known = low[..., first // scale : (first + rows.shape[-2]) // scale, :]
            nearer, residuals = project_back(rows, known, degrade, self.final_steps)
            fused = rows[..., own, :] + share * (nearer - rows)[..., own, :]
            yield Solution(fused.clamp(0, 1), residuals)

    def _with_detail(
        self, network: PriorNetwork, low: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Tensor]:
        """The initial enlargement with the detail that the network adds to its luma, in rows."""
        code = degrade.kernel.code(degrade.scale)[None].to(low.device)
        blocks = Int8Blocks(network.trunk, network.ranges) if compute.int8 else None

        def restored(low: Tensor, projected: Tensor, halo: Halo) -> Tensor:
            here = blocks and partial(blocks, halo=halo, reach_px=network.tail_px)
            with compute.autocast():
                result: Tensor = network(low, projected, code, here)
            return result

        is_cpu = low.device.type == "cpu"
        usual_px = _TILE_PX if is_cpu else _ACCELERATOR_TILE_PX
        colour_px = _COLOUR_PX if is_cpu else _ACCELERATOR_COLOUR_PX
        tile, scale = (compute.side_px(usual_px), network.halo_px), degrade.scale
        back, _ = projected_back(low, degrade, PROJECTION_STEPS)
        few_rows = max(_COLOUR_ROWS, colour_px // low.shape[-1])
        for rows in spans(low.shape[-2], *tile):
            shown = _enlarged_luma(back, rows, scale)
            full = in_columns(restored, (luma(low[..., rows.read(), :]), shown), rows, *tile)
            detail = full.sub_(shown[..., rows.within(scale), :])
            for few in spans(rows.stop - rows.start, few_rows, 0):
                part = Span(rows.start + few.start, rows.start + few.stop, 0, 0)
                yield enlarged_rows(back, part, scale).add_(detail[..., few.own(scale), :])


def _enlarged_luma(back: Tensor, rows: Span, scale: int) -> Tensor:
    """Luma of ``enlarged_rows``, of which no more is made than of these rows."""
    first = max(0, rows.read().start - REACH_PX)
    near = luma(back[..., first : rows.read().stop + REACH_PX, :])
    there = replace(rows, start=rows.start - first, stop=rows.stop - first)
    return enlarged_rows(near, there, scale)
