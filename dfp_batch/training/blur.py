"""Training of the blind estimate of the kernel, from procedural scenes alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfp_batch.core.degradation import SCALES, Degradation, Kernel
from dfp_batch.degradation.blur_features import features
from dfp_batch.degradation.kernel_estimation import SHARP
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.networks.blur_network import BlurNetwork
from dfp_batch.networks.weights import save_blur
from dfp_batch.synthetic.camera import defocused, levels, noisy, through_jpeg, unit
from dfp_batch.training import cards
from dfp_batch.training.checkpoints import Session
from dfp_batch.training.patches import captured
from dfp_batch.training.scenes import training_scene

SOFTEST = 1.0  # sigma in pixels of the sources
SHARP_SHARE = 0.35  # of Lanczos2 and bicubic
SMALLEST_PX = 96  # of a sample, at low resolution
SOFT_SHARE, SOFT_OBJECT_PX = 0.4, (0.3, 8.0)  # of objects, before they are made smaller
GRAIN_SHARE, MOST_GRAIN = 0.75, 0.025
JPEG_SHARE = 0.3
KEPT_ASIDE = 0.1
BATCH = 256
RATE = 5e-3
CLOSE_PX = 0.15  # at x2, in pixels of the result

Random = np.random.Generator


@dataclass(frozen=True)
class Samples:
    """Features (n, 41), sigma (n,) in pixels of the sources, and whether a Gaussian made them."""

    given: Tensor
    sigma: Tensor
    gaussian: Tensor


@dataclass(frozen=True)
class BlurSettings:
    """What the weights depend on.

    Attributes:
        scenes: To learn from.
        side: Of a scene, in px.
        samples: Parts of scenes.
        steps: Of the training.
        seed: Of all randomness.
    """

    scenes: int = 1000
    side: int = 512
    samples: int = 40_000
    steps: int = 4000
    seed: int = 0


def train(settings: BlurSettings, session: Session, _say: Callable[[str], None]) -> None:
    """Make scenes, samples of them, weights and their card.

    Args:
        settings: What the weights depend on.
        session: The rest; it is not gone on with after an interruption.
        _say: Nothing is said: it takes minutes.
    """
    seeds = [(settings.seed, 7, index) for index in range(settings.scenes)]
    scenes = [training_scene(settings.side, seed) for seed in seeds]
    samples = draw_samples(scenes, settings.samples, np.random.default_rng((settings.seed, 8)))
    network = fitted(samples, settings)
    save_blur(session.out / "blur.safetensors", network)
    (session.out / "blur.md").write_text(card(settings, network, samples))


def draw_samples(scenes: list[NDArray[np.float32]], count: int, random: Random) -> Samples:
    """Parts of scenes, made smaller with kernels drawn by chance, as a camera keeps them."""
    drawn = [sample(scenes[random.integers(len(scenes))], random) for _ in range(count)]
    given, sigma, gaussian = zip(*drawn, strict=True)
    return Samples(torch.from_numpy(np.stack(given)), torch.tensor(sigma), torch.tensor(gaussian))


def sample(scene: NDArray[np.float32], random: Random) -> tuple[NDArray[np.float32], float, bool]:
    """Features of one part of a scene, and what made it."""
    scale = int(random.choice(SCALES[1:]))
    kernel, sigma = draw_kernel(scale, random)
    side = scale * int(random.integers(SMALLEST_PX, max(SMALLEST_PX, len(scene) // scale) + 1))
    top, left = random.integers(0, len(scene) - side + 1, 2)
    pictured = photographed(scene[top : top + side, left : left + side], random)
    part = torch.from_numpy(pictured)[None, None]
    low = captured(Degradation(scale, kernel)(part).clamp(0, 1), random)[0, 0].numpy()
    return features(low), sigma, isinstance(kernel, Gaussian)


def photographed(part: NDArray[np.float32], random: Random) -> NDArray[np.float32]:
    """As a camera may have seen it before it was made smaller: soft, and with grain.

    The grain is what tells a soft object behind a sharp kernel from a sharp one behind a soft one.
    """
    if random.random() < SOFT_SHARE:
        sigma_px = float(np.exp(random.uniform(*np.log(SOFT_OBJECT_PX))))
        part = defocused(part, 2 * sigma_px, "gaussian")
    grain = random.uniform(0, MOST_GRAIN) * (random.random() < GRAIN_SHARE)
    part = noisy(part, np.float32(grain), random.standard_normal(part.shape, np.float32))
    if random.random() < JPEG_SHARE:
        part = unit(through_jpeg(levels(part), int(random.integers(80, 99))))
    return part.clip(0, 1)


def draw_kernel(scale: int, random: Random) -> tuple[Kernel, float]:
    """A kernel, and the sigma it counts as, in pixels of the sources."""
    if random.random() < SHARP_SHARE:
        return (Lanczos2() if random.random() < 0.5 else Bicubic()), SHARP  # noqa: PLR2004
    sigma = float(random.uniform(0.2, SOFTEST))
    return Gaussian(sigma * scale), max(SHARP, sigma)


def fitted(samples: Samples, settings: BlurSettings) -> BlurNetwork:
    """Train with the likelihood of a Laplace distribution, whose width is the expected error."""
    torch.manual_seed(settings.seed)
    network = BlurNetwork()
    count = kept(samples)
    network.mean.copy_(samples.given[:count].mean(0))
    network.deviation.copy_(samples.given[:count].std(0) + 1e-6)
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, settings.steps)
    for _ in range(settings.steps):
        chosen = torch.randint(count, (len(network.seen), BATCH))
        value, log_error = network(samples.given[chosen]).unbind(-1)
        far = (value - samples.sigma[chosen]).abs() * torch.exp(-log_error)
        loss = (log_error + far).mean(1).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return network


def kept(samples: Samples) -> int:
    """How many samples are trained with; the others are kept aside."""
    return math.ceil(len(samples.sigma) * (1 - KEPT_ASIDE))


@torch.no_grad()
def card(settings: BlurSettings, network: BlurNetwork, samples: Samples) -> str:
    """How the weights were made, and how good they are on samples kept aside."""
    rest = slice(kept(samples), None)
    values, log_errors = network(samples.given[rest]).unbind(-1)
    sigma, expected = values.median(0).values, log_errors.exp().mean(0)
    error = (sigma - samples.sigma[rest]).abs()
    gaussian = samples.gaussian[rest]
    sure = expected < expected.median()
    close = (2 * error <= CLOSE_PX).float()
    return f"""# Weights of the blind estimate of the kernel

`blur.safetensors`: made by `jobs/train_blur.py` of this project, from procedural scenes alone
(`training/scenes.py`): no photograph, and no data of anybody else, was used.

{cards.table("train_blur.py", settings, {})}

On {len(error)} samples kept aside, sigma in pixels of the sources, 0.2 to 1, with noise and JPEG:
mean error {error.mean():.3f}; of Gaussian ones {close[gaussian].mean():.0%} are within 0.15 px of
the result at x2, of the surer half {close[gaussian & sure].mean():.0%}.
"""
