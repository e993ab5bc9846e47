"""Training of what corrects the defocus spread along seams, from procedural scenes alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.errors import ConfigError
from dfp_batch.merging.defocus_spread import detail
from dfp_batch.networks.defocus_spread_network import COLOURS, PLANES, DefocusSpreadNetwork
from dfp_batch.networks.precision import number_formats
from dfp_batch.networks.weights import load_weights, save_defocus_spread
from dfp_batch.training import cards, loop
from dfp_batch.training.checkpoints import Row, Session, made_once
from dfp_batch.training.seams import Planes, seam_example
from dfp_batch.training.workers import Random, examples, opened

KEPT_ASIDE = 0.05
LEAST_BAND = 0.3  # mean of the band over a piece
SLOPES = 2.0  # weight of the error's slopes against the error: detail counts
SOFTEST = 1e-6
GRADIENT_LIMIT = 0.5
AVERAGED_STEPS = 500  # of the running mean of the weights, at most


@dataclass(frozen=True)
class SpreadSettings:
    """What the weights depend on.

    Attributes:
        steps: Of the training.
        seed: Of all randomness.
        scenes: To learn from, and to judge by.
        side: Of a scene, in px, even.
        batch: Pieces per step.
        patch: Side of a piece, in px, even.
        rate: Of learning.
        begin: Weights to begin with, or None.
        log: Steps from one record to the next.

    Raises:
        ConfigError: if a side is odd, or a piece larger than a scene.
    """

    steps: int = 20_000
    seed: int = 0
    scenes: int = 2400
    side: int = 192
    batch: int = 16
    patch: int = 64
    rate: float = 1e-3
    begin: Path | None = None
    log: int = 500

    def __post_init__(self) -> None:
        if self.patch % 2 or self.side % 2 or self.side < self.patch:
            raise ConfigError(
                "--side and --patch must be even and --patch at most --side, "
                f"got {self.side} and {self.patch}"
            )

    @property
    def kept_aside(self) -> int:
        """Number of scenes that are never learnt from."""
        return math.ceil(KEPT_ASIDE * self.scenes)


def train(settings: SpreadSettings, session: Session, say: Callable[[str], None]) -> None:
    """Make scenes, weights, log and card; goes on from a checkpoint.

    Args:
        settings: What the weights depend on.
        session: The rest.
        say: Gets every record as a line of JSON.

    Raises:
        ConfigError: if the folder holds a training with other settings.
    """
    training = start(settings)

    def lesson() -> loop.Lesson[DefocusSpreadNetwork, Tensor]:
        scenes = scenes_of(settings, session)
        aside = opened(scenes)[: settings.kept_aside]
        return loop.Lesson(
            partial(draw_from, scenes, settings),
            loss_of,
            lambda losses: measured(losses, gains_db(training.mean, aside)),
            lambda rows: publish(training, rows, settings, session),
        )

    loop.run(training, lesson, settings, session, say)


def start(settings: SpreadSettings) -> loop.Training[DefocusSpreadNetwork]:
    """Fresh weights of the seed."""
    torch.manual_seed(settings.seed)
    network, mean = DefocusSpreadNetwork(), DefocusSpreadNetwork()
    if settings.begin is not None:
        load_weights(network, settings.begin, "train_defocus_spread.py")
    mean.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), settings.rate, betas=(0.9, 0.99))
    return loop.Training(network, mean, (optimiser,), GRADIENT_LIMIT, AVERAGED_STEPS)


def measured(losses: Tensor, gains: Row) -> Row:
    """Mean of the last losses (log,), and the gains."""
    return {"loss": round(float(losses.double().mean()), 6), "gain_db": gains}


# Examples


def scenes_of(settings: SpreadSettings, session: Session) -> Path:
    """The file of all scenes, (count, 14, side, side), made once."""
    name = f"seams-{settings.scenes}-{settings.side}-{settings.seed}.npy"
    example = partial(seam_example, settings.side)
    make = partial(examples, example, settings.scenes, settings.seed, session.processes)
    return made_once(session.out / name, make)


def draw_from(scenes: Path, settings: SpreadSettings, random: Random) -> Tensor:
    """As ``draw_batch``, of the scenes in a file that are not kept aside."""
    return draw_batch(opened(scenes)[settings.kept_aside :], settings, random)


def draw_batch(pool: Planes, settings: SpreadSettings, random: Random) -> Tensor:
    """Pieces near seams, (batch, 14, patch, patch)."""
    side, patch = settings.side, settings.patch
    pieces: list[NDArray[np.float32]] = []
    while len(pieces) < settings.batch:
        top, left = random.integers(0, side - patch + 1, 2)
        rows, columns = slice(top, top + patch), slice(left, left + patch)
        piece = pool[random.integers(len(pool))][:, rows, columns].astype(np.float32)
        if piece[PLANES - 1].mean() > LEAST_BAND:
            pieces.append(turned(piece, random))
    return torch.from_numpy(np.stack(pieces))


def turned(piece: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """Another example of the same kind.

    It is turned and mirrored; sources, colours, light and dark are exchanged.
    """
    piece = np.rot90(piece, int(random.integers(4)), (1, 2))
    mirror, exchange, invert = random.random(3) < 0.5  # noqa: PLR2004
    if mirror:
        piece = piece[..., ::-1]
    colours = random.permutation(COLOURS)
    images = [piece[: 3 * COLOURS].reshape(3, COLOURS, *piece.shape[1:]), piece[None, PLANES:]]
    merged, first, second, truth = np.concatenate(images)[:, colours]
    weight, band = piece[3 * COLOURS : PLANES]
    if exchange:
        first, second, weight = second, first, 1 - weight
    shown = np.concatenate([merged, first, second, truth])
    merged, first, second, truth = np.split(1 - shown if invert else shown, 4)
    return np.concatenate([merged, first, second, weight[None], band[None], truth])


def loss_of(network: DefocusSpreadNetwork, batch: Tensor) -> Tensor:
    """Smoothed mean of the error and of its slopes, within the band."""
    band, merged, truth = _judged(batch)
    number_format = number_formats("auto", batch.device).dtype
    with torch.autocast("cpu", torch.bfloat16, number_format == torch.bfloat16):
        added = _added(network, batch)
    error = band * (merged + band * added - truth)
    down, across = error.diff(dim=2), error.diff(dim=3)
    return smooth_mean(error) + SLOPES * (smooth_mean(down) + smooth_mean(across))


def _judged(batch: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Band, merged image and truth."""
    return batch[:, PLANES - 1 : PLANES], batch[:, :COLOURS], batch[:, PLANES:]


def _added(network: DefocusSpreadNetwork, batch: Tensor) -> Tensor:
    details = torch.stack([detail(sources) for sources in batch[:, COLOURS : 3 * COLOURS]])
    added: Tensor = network(batch[:, :PLANES], details)
    return added


def smooth_mean(error: Tensor) -> Tensor:
    """Mean of nearly the absolute values."""
    return (error.square() + SOFTEST).sqrt().mean()


@torch.no_grad()
def gains_db(network: DefocusSpreadNetwork, scenes: Planes) -> Row:
    """Mean and least gain in PSNR over the merge, of whole scenes."""
    gains = []
    for planes in scenes:
        batch = torch.from_numpy(planes[None].astype(np.float32))
        band, merged, truth = _judged(batch)
        after = merged + band * _added(network, batch)
        ratio = (merged - truth).square().mean() / (after - truth).square().mean()
        gains.append(10 * float(ratio.log10()))
    return {"mean": round(float(np.mean(gains)), 4), "least": round(float(np.min(gains)), 4)}


# Files


def publish(
    training: loop.Training[DefocusSpreadNetwork],
    rows: list[Row],
    settings: SpreadSettings,
    session: Session,
) -> None:
    """Write weights and card."""
    save_defocus_spread(session.out / "defocus-spread.safetensors", training.mean.state_dict())
    (session.out / "defocus-spread.md").write_text(card(training, rows, settings, session))


def card(
    training: loop.Training[DefocusSpreadNetwork],
    rows: list[Row],
    settings: SpreadSettings,
    session: Session,
) -> str:
    """How the weights were made."""
    gain = rows[-1]["gain_db"]
    facts = {
        "steps done": f"{training.step} of {settings.steps}",
        "device": cards.device_name(session),
        "seconds": f"{round(sum(row['seconds'] for row in rows))}, without the scenes",
    }
    return f"""# Weights that correct the defocus spread along seams

`defocus-spread.safetensors`: {cards.size(training.mean)}
parameters in float16, made by `jobs/train_defocus_spread.py` of this project, from procedural
scenes alone (`training/seams.py`): no photograph, and no data of anybody else, was used.

{cards.table("train_defocus_spread.py", settings, facts)}

PSNR over the merge at source size, on {settings.kept_aside} procedural scenes kept aside, with
noise and JPEG: mean {gain["mean"]:+.2f} dB, least {gain["least"]:+.2f} dB.
"""
