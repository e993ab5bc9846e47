"""Training of the learned prior, from procedural scenes alone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.networks.int8 import ranges_of
from dfp_batch.networks.prior_network import ENLARGEMENTS, PriorNetwork, PriorSpec
from dfp_batch.networks.weights import grow, load_prior, save_prior
from dfp_batch.reconstruction.learned_prior import initial_enlargement
from dfp_batch.training import cards, loop
from dfp_batch.training.checkpoints import Row, Session, made_once
from dfp_batch.training.muon import Muon
from dfp_batch.training.patches import (
    KERNELS_PER_BATCH,
    Batch,
    Drawn,
    Pool,
    batch_of,
    captured,
    draw_from,
    scene_pool,
    smallest_scene_px,
)

HELD_OUT = 8  # scenes
GRADIENT_LIMIT = 1.0
AVERAGED_STEPS = 1000  # of the running mean of the weights, at most


@dataclass(frozen=True)
class PriorSettings:
    """What the weights depend on.

    Attributes:
        steps: Of the training.
        seed: Of all randomness.
        scenes: To learn from.
        side: Of a scene, in px.
        batch: Pieces per step.
        patch: Side of a piece, in px of the sources.
        width: Channels of the network.
        blocks: Of the network.
        grow: Weights of a network with no more blocks to begin with, or None.
        teacher: Weights of a better network, whose results are half of what is learnt, or None.
        rate: Of learning, of Adam.
        trunk_rate: Of learning, of Muon.
        log: Steps from one record to the next.

    Raises:
        ConfigError: if the pieces make no batch, or a scene is smaller than a piece.
    """

    steps: int = 18_000
    seed: int = 0
    scenes: int = 3000
    side: int = 256
    batch: int = 16
    patch: int = 24
    width: int = 64
    blocks: int = 8
    grow: Path | None = None
    teacher: Path | None = None
    rate: float = 1e-3
    trunk_rate: float = 0.01
    log: int = 500

    def __post_init__(self) -> None:
        if self.batch % KERNELS_PER_BATCH:
            raise ConfigError(
                f"--batch must be a multiple of {KERNELS_PER_BATCH}, got {self.batch}"
            )
        if self.side < (least := smallest_scene_px(self.patch)):
            raise ConfigError(
                f"--side must be at least {least} for --patch {self.patch}, got {self.side}"
            )

    @property
    def network(self) -> PriorSpec:
        """Size of the network."""
        return PriorSpec(self.width, self.blocks)


def train(settings: PriorSettings, session: Session, say: Callable[[str], None]) -> None:
    """Make scenes, weights, log and card; goes on from a checkpoint.

    Args:
        settings: What the weights depend on.
        session: The rest.
        say: Gets every record as a line of JSON.

    Raises:
        ConfigError: if the folder holds a training with other settings.
    """
    training, device = start(settings, session), torch.device(session.device)

    def lesson() -> loop.Lesson[PriorNetwork, Drawn]:
        scenes, kept_aside = scenes_of(settings, session), validation(settings)
        teacher = None if settings.teacher is None else load_prior(settings.teacher, device)
        return loop.Lesson(
            partial(draw_from, scenes, settings.batch, settings.patch),
            lambda network, drawn: loss_of(network, batch_of(drawn, device), teacher),
            lambda losses: measured(losses, gains_db(training.mean, kept_aside, device)),
            lambda rows: publish(training, rows, kept_aside, settings, session),
        )

    loop.run(training, lesson, settings, session, say)


def start(settings: PriorSettings, session: Session) -> loop.Training[PriorNetwork]:
    """Fresh weights of the seed; Muon for the trunk, Adam for the rest."""
    device = torch.device(session.device)
    network, mean = (
        settings.network.build(torch.Generator(device).manual_seed(settings.seed)) for _ in range(2)
    )
    if settings.grow is not None:
        grow(network, settings.grow)
        grow(mean, settings.grow)
    trunk = [weight for weight in network.trunk.parameters() if weight.ndim > 1]
    known = {id(weight) for weight in trunk}
    rest = [weight for weight in network.parameters() if id(weight) not in known]
    optimisers = (
        Muon(trunk, settings.trunk_rate),
        torch.optim.Adam(rest, settings.rate, betas=(0.9, 0.99), fused=True),
    )
    return loop.Training(network, mean, optimisers, GRADIENT_LIMIT, AVERAGED_STEPS)


def measured(losses: Tensor, gains: Row) -> Row:
    """Mean and largest of the last losses (log,), and the gains."""
    mean, worst = (round(float(loss), 6) for loss in (losses.mean(), losses.max()))
    return {"loss": mean, "worst_loss": worst, "gain_db": gains}


def loss_of(network: PriorNetwork, batch: Batch, teacher: PriorNetwork | None = None) -> Tensor:
    """Mean absolute error, half of it to what a teacher says.

    A teacher gives what can be known of the truth, which moves the weights less by chance.
    """
    made = predicted(network, batch)
    error = (made - batch.truth).abs().mean()
    if teacher is None:
        return error
    with torch.no_grad():
        taught = predicted(teacher, batch)
    return (error + (made - taught).abs().mean()) / 2


def predicted(network: PriorNetwork, batch: Batch) -> Tensor:
    """The network's result, with convolutions in bfloat16."""
    with torch.autocast(batch.low.device.type, torch.bfloat16):
        result: Tensor = network(batch.low, batch.projected, batch.code)
    return result


# Validation


def validation(settings: PriorSettings) -> dict[str, Batch]:
    """Scenes that are never learnt from, by name of scale and kernel."""
    scenes = scene_pool(HELD_OUT, settings.side, settings.seed + 1)
    random = np.random.default_rng(settings.seed)
    return {
        f"x{scale} {kernel}": held_out(scenes, scale, kernel, random)
        for scale in ENLARGEMENTS
        for kernel in (Lanczos2(), *(Gaussian(round(s * scale, 2)) for s in (0.35, 0.7)))
    }


def held_out(scenes: Pool, scale: int, kernel: Kernel, random: np.random.Generator) -> Batch:
    """Whole scenes as a camera gives them, some with noise and JPEG."""
    side_px = scenes.shape[1] // scale * scale
    truth = torch.from_numpy(scenes[:, None, :side_px, :side_px] / np.float32(255))
    degrade = Degradation(scale, kernel)
    low = captured(degrade(truth), random)
    code = kernel.code(scale).expand(len(low), -1)
    return Batch(low, initial_enlargement(low, degrade), code, truth)


@torch.no_grad()
def gains_db(network: PriorNetwork, batches: dict[str, Batch], device: torch.device) -> Row:
    """Mean PSNR over back projection."""
    return {name: _gain_db(network, batch.to(device)) for name, batch in batches.items()}


def _gain_db(network: PriorNetwork, batch: Batch) -> float:
    before, after = (
        (image.clamp(0, 1) - batch.truth).square().mean((1, 2, 3)).log10()
        for image in (batch.projected, predicted(network, batch))
    )
    return round(10 * float((before - after).mean()), 4)


@torch.no_grad()
def measure_ranges(network: PriorNetwork, batches: dict[str, Batch], device: torch.device) -> None:
    """Set the ranges by what the blocks see."""

    def run() -> None:
        for batch in batches.values():
            on_device = batch.to(device)
            network(on_device.low, on_device.projected, on_device.code)

    network.ranges.copy_(ranges_of(network.trunk, run))


# Files


def scenes_of(settings: PriorSettings, session: Session) -> Path:
    """The file of the scenes, made once."""
    name = f"scenes-{settings.scenes}-{settings.side}-{settings.seed}.npy"
    make = partial(scene_pool, settings.scenes, settings.side, settings.seed, session.processes)
    return made_once(session.out / name, make)


def publish(
    training: loop.Training[PriorNetwork],
    rows: list[Row],
    kept_aside: dict[str, Batch],
    settings: PriorSettings,
    session: Session,
) -> None:
    """Write weights, with the ranges of what they make of scenes kept aside, and card."""
    out = session.out
    measure_ranges(training.mean, kept_aside, torch.device(session.device))
    save_prior(out / "prior.safetensors", settings.network, training.mean.state_dict())
    (out / "prior.md").write_text(card(training, rows, settings, session))


_CARD = """# Weights of the learned prior

{parameters} parameters in float16, for x2, x3 and x4 together. Made by
`jobs/train_prior.py` of this project, from procedural scenes alone (`training/scenes.py`): no
photograph, and no data of anybody else, was used.

{table}

Mean gain in PSNR over ten steps of back projection on {held_out} procedural scenes kept aside, some
with noise and JPEG:

| scale and kernel | dB |
| --- | ---: |
{gains}
"""


def card(
    training: loop.Training[PriorNetwork],
    rows: list[Row],
    settings: PriorSettings,
    session: Session,
) -> str:
    """How the weights were made."""
    facts = {
        "steps done": f"{training.step} of {settings.steps}",
        "device": cards.device_name(session),
        "seconds": round(sum(row["seconds"] for row in rows)),
    }
    return _CARD.format(
        parameters=cards.size(training.mean),
        table=cards.table("train_prior.py", settings, facts),
        held_out=HELD_OUT,
        gains="\n".join(f"| {name} | {gain:+.2f} |" for name, gain in rows[-1]["gain_db"].items()),
    )
