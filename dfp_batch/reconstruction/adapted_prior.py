"""Test-time fitting: the learned prior goes on learning, from the item itself."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from dfp_batch.core.contracts import Compute, Reconstruction, Solution, StopReason
from dfp_batch.core.decision import weighted
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import luma
from dfp_batch.core.part import Count, CountOrNone, NotNegative, Positive, Share
from dfp_batch.core.quality import blockiness, noise_level
from dfp_batch.errors import DivergedError
from dfp_batch.networks.prior_network import PriorNetwork
from dfp_batch.networks.running_mean import approach
from dfp_batch.reconstruction.learned_prior import LearnedPrior, initial_enlargement
from dfp_batch.reconstruction.losses import laplacian

SMALLEST_PX = 48  # of the item once more degraded: fewer pixels mislead
MOST_NOISE = 1 / 255  # standard deviation
MOST_BLOCKS = 1.05  # JPEG of quality 95; 9 of 10 images that never were JPEG are below
_PROBED = 10  # iterations
_PLATEAU = 0.001  # share of the loss that so many iterations must gain
_PROBES = 3  # times the patches of an iteration
_RIM_PX = 2  # of a patch, whose border is not one of u


@dataclass(frozen=True)
class AdaptedPrior(Reconstruction):
    """X = f(u; theta), Eq. (10), whose weights theta start from the learned prior and fit the item.

    With the merged sources u, patches of which are drawn in every iteration, and the prior's
    weights theta_0::

        theta = argmin  |f(D u) - u|  +  a |D f(u) - u|  +  b |lap D f(u) - lap u|
                        + c |theta - theta_0|^2

    The first term is the item across its own scales: degraded once more, it must be restored to
    what is known (Shocher et al., 2018). The others are Eq. (22) and (23) for merged sources, which
    alone leave the null space of D free. The result is the running mean of the weights. It ends
    when the first term, over patches that are always the same, no longer falls. It would learn to
    restore noise and the blocks of JPEG, too, so items that show them are left to the prior.

    Attributes:
        prior: What it starts from, and how it is applied.
        iterations: Of Adam, at most; 0 is the prior.
        learning_rate: Of Adam.
        content_weight: a.
        joint_gradient_weight: b.
        anchor_weight: c.
        averaging: Share of the running mean that every iteration keeps, in [0, 1).
        patch_px: Side of the patches, in pixels of the input of f.
        patches: In every iteration.

    Raises:
        ConfigError: for a field out of its range.
    """

    prior: LearnedPrior = field(default_factory=lambda: LearnedPrior("large"))
    iterations: CountOrNone = 10
    learning_rate: Positive = 5e-5
    content_weight: NotNegative = 0.1
    joint_gradient_weight: NotNegative = 0.1
    anchor_weight: NotNegative = 1.0
    averaging: Share = 0.8
    patch_px: Count = 48
    patches: Count = 6

    @property
    def checked_by(self) -> LearnedPrior:
        """The prior: the fit has seen what it would be checked with."""
        return self.prior

    def __call__(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Solution:
        """Fused (1, C, scale * h, scale * w) in [0, 1]; loss of every iteration.

        Raises:
            ConfigError: if the file of the weights cannot be used.
            DivergedError: if a loss is not finite.
        """
        rows = AdaptedPrior.in_rows(self, sources, decision, degrade, compute)
        return Solution.joined(rows)

    def in_rows(
        self, sources: Tensor, decision: Tensor, degrade: Degradation, compute: Compute
    ) -> Iterator[Solution]:
        """As a call, a row of tiles at a time."""
        low = weighted(sources, decision)
        network, losses = self.fit(low, degrade, compute)
        reason = self._stop_reason(len(losses), degrade.scale)
        for rows in self.prior.applied(network, low, degrade, compute):
            yield Solution(rows.image, losses, reason)

    def _stop_reason(self, done: int, scale: int) -> StopReason:
        if done == self.iterations or scale == 1:
            return "iterations"
        return "plateau" if done else "skipped"

    def fit(
        self, low: Tensor, degrade: Degradation, compute: Compute
    ) -> tuple[PriorNetwork, Tensor]:
        """The network for one item u (1, C, h, w), and the loss of every iteration."""
        prior = self.prior.build(low.device)
        smallest = min(low.shape[-2:]) // degrade.scale
        if self.iterations == 0 or degrade.scale == 1 or smallest < SMALLEST_PX:
            return prior, low.new_empty(0)
        grey = luma(low)
        if bool((noise_level(grey) > MOST_NOISE) | (blockiness(grey) > MOST_BLOCKS)):
            return prior, low.new_empty(0)
        item = _Item.of(grey, degrade, self, compute)
        return self._fitted(prior, item, compute)

    def _fitted(
        self, start: PriorNetwork, item: "_Item", compute: Compute
    ) -> tuple[PriorNetwork, Tensor]:
        network, mean = copy.deepcopy(start).requires_grad_(True), copy.deepcopy(start)
        optimiser = torch.optim.Adam(network.parameters(), lr=self.learning_rate, fused=True)
        probes = torch.cat([item.corners(item.across) for _ in range(_PROBES)])
        losses, least, best = [], item.loss_across(mean, probes), start
        for iteration in range(self.iterations):
            optimiser.zero_grad(set_to_none=True)
            loss = self.objective(network, item) + self.anchor_weight * _distance(network, start)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            approach(mean, network, 1 - self.averaging)
            losses.append(loss.detach())
            compute.on_iteration("fit", iteration + 1, self.iterations)
            if (iteration + 1) % _PROBED == 0 or iteration + 1 == self.iterations:
                probed = item.loss_across(mean, probes)
                if not probed < (1 - _PLATEAU) * least:
                    break
                least, best = probed, copy.deepcopy(mean)
        return best, _finite(torch.stack(losses))

    def objective(self, network: PriorNetwork, item: "_Item") -> Tensor:
        """All terms but the anchor, of patches that are drawn anew."""
        lower, known = item.across.patches(item.corners(item.across))
        loss = (item.restored(network, lower) - known).abs().mean()
        if self.content_weight or self.joint_gradient_weight:
            within, low = item.within.patches(item.corners(item.within))
            degraded = item.degrade(item.restored(network, within))
            inner = (..., slice(_RIM_PX, -_RIM_PX), slice(_RIM_PX, -_RIM_PX))
            content = (degraded - low)[inner].abs().mean()  # Eq. (22)
            edges = (laplacian(degraded) - laplacian(low))[inner].abs().mean()  # Eq. (23)
            loss = loss + self.content_weight * content + self.joint_gradient_weight * edges
        return loss


Patches = tuple[Tensor, Tensor]  # low (n, 1, p, p), projected (n, 1, scale * p, scale * p)


@dataclass(frozen=True, eq=False)
class _Level:
    """An image at one scale of the item.

    Attributes:
        low: (1, 1, h, w).
        projected: Its back-projected enlargement, (1, 1, scale * h, scale * w).
        known: What patches of it are compared to, as large as one of the two.
        patch_px: Side of the patches.
    """

    low: Tensor
    projected: Tensor
    known: Tensor
    patch_px: int

    def patches(self, corners: Tensor) -> tuple[Patches, Tensor]:
        """What the network gets and what is known, at corners (n, 2)."""
        low, projected, known = (
            self._cut(image, corners) for image in (self.low, self.projected, self.known)
        )
        return (low, projected), known

    def _cut(self, image: Tensor, corners: Tensor) -> Tensor:
        scale = image.shape[-1] // self.low.shape[-1]
        side = scale * self.patch_px
        places = [(scale * top, scale * left) for top, left in corners.tolist()]
        return torch.cat([image[..., y : y + side, x : x + side] for y, x in places])


@dataclass(frozen=True, eq=False)
class _Item:
    """The item at two of its scales.

    Attributes:
        within: u, of which only D f(u) can be compared, with u.
        across: D u, of which f(D u) can, with u.
        degrade: D.
        count: Patches to draw.
        compute: Precision.
        random: Draws their places; on the host, since for a device it would have to wait.
    """

    within: _Level
    across: _Level
    degrade: Degradation
    count: int
    compute: Compute
    random: torch.Generator

    @classmethod
    def of(cls, low: Tensor, degrade: Degradation, spec: AdaptedPrior, compute: Compute) -> "_Item":
        """The scales of a luma (1, 1, h, w)."""
        h, w = (side - side % degrade.scale for side in low.shape[-2:])
        low = low[..., :h, :w]
        lower = degrade(low)
        side = min(spec.patch_px, *lower.shape[-2:])
        return cls(
            _Level(low, initial_enlargement(low, degrade), low, side),
            _Level(lower, initial_enlargement(lower, degrade), low, side),
            degrade,
            spec.patches,
            compute,
            torch.Generator().manual_seed(compute.generator.initial_seed()),
        )

    def corners(self, level: _Level) -> Tensor:
        """Places (count, 2) of patches, on the host."""
        room = [side - level.patch_px + 1 for side in level.low.shape[-2:]]
        drawn = [torch.randint(most, (self.count,), generator=self.random) for most in room]
        return torch.stack(drawn, 1)

    def restored(self, network: PriorNetwork, patches: Patches) -> Tensor:
        """What the network makes of patches, (n, 1, scale * p, scale * p)."""
        low, projected = patches
        code = self.degrade.kernel.code(self.degrade.scale).to(low).expand(len(low), -1)
        with self.compute.autocast():
            restored: Tensor = network(low, projected, code)
        return restored

    @torch.no_grad()
    def loss_across(self, network: PriorNetwork, corners: Tensor) -> float:
        """|f(D u) - u| of the patches at these corners; waits for the device."""
        lower, known = self.across.patches(corners)
        return float((self.restored(network, lower) - known).abs().mean())


def _distance(network: nn.Module, start: nn.Module) -> Tensor:
    """Sum of squared differences of the weights."""
    pairs = zip(network.parameters(), start.parameters(), strict=True)
    return torch.stack([(now - then.detach()).square().sum() for now, then in pairs]).sum()


def _finite(losses: Tensor) -> Tensor:
    if not bool(losses.isfinite().all()):
        raise DivergedError(
            "fit: loss is not finite; lower the learning rate or use --precision fp32"
        )
    return losses
