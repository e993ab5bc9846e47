"""Record ``paper-figures``: the paper's Figs. 8 and 9, on a scene with exact truth.

Its MFI-WHU 29 may not be passed on, and its truth is not at hand; the scene is of a bundled
photograph, 128 px, at scale 2. Fig. 8 is `paper` by the parameters of DoubleReblur; Fig. 9 how
`paper` and the Deep Image Prior converge, from the estimates of every tenth iteration.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from record_methods import REBLUR, composition, reblur
from torch import Tensor, nn

from dfp_batch import fuse, metrics
from dfp_batch.core.image import luma
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.pipeline.fusion import FusionResult
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.synthetic import Scene, SceneSet

NAME = "paper-figures"
SCALE, EVERY = 2, 10
SCENE = 0
BLENDED = {"merge": "blend", "policy": "always", "align.model": "none", "exposure.model": "none"}
NEAR_DB = 1.0
_WIDTH_IN, _DPI = 8.0, 110
INTRODUCTION = """
## The paper's Figs. 8 and 9

Record `paper-figures`. On a scene of a bundled photograph, 128 px, at scale 2: the paper's MFI-WHU
29 may not be passed on, and its truth is not at hand.

![Decision, result and error of paper by the parameters of DoubleReblur](figures/fig-8.png)

Fig. 8: `paper` by [kg, kd, ke, t, f] of DoubleReblur; the first one without the weighted joint
gradient loss. As the paper says, that loss makes up for a wrong decision in part, and the best
decision gives the best result; which setting that is depends on the scene.
"""
CONVERGENCE = """
![PSNR and loss of paper and of the Deep Image Prior by iteration](figures/fig-9.png)

Fig. 9: how `paper` (DFP) and the Deep Image Prior converge.
"""

Curve = list[tuple[int, float]]


@dataclass(frozen=True)
class Run:
    """What came of one setting.

    Attributes:
        name: Of the setting.
        fused: (C, H, W), in [0, 1].
        decision: Weight of the first source, (h, w).
        psnr_db: Of luma against the truth.
        accuracy: Of the decision.
    """

    name: str
    fused: NDArray[np.float32]
    decision: NDArray[np.float32]
    psnr_db: float
    accuracy: float


@dataclass(frozen=True)
class WatchedNet(SkipNet):
    """A SkipNet whose every output is shown to somebody.

    Attributes:
        seen: Called with the logits (1, C, H, W).
    """

    seen: Callable[[Tensor], None] = field(default=lambda _logits: None)

    def build(self, channels: tuple[int, int], generator: torch.Generator) -> nn.Module:
        """The network itself, with a hook."""
        network = super().build(channels, generator)
        network.register_forward_hook(lambda _net, _inputs, logits: self.seen(logits.detach()))
        return network


@dataclass
class Watch:
    """Keeps the PSNR of every tenth estimate.

    Attributes:
        truth: (C, H, W), in [0, 1].
        curve: Iteration and dB.
    """

    truth: Tensor
    curve: Curve = field(default_factory=list)
    _count: int = 0

    def __call__(self, logits: Tensor) -> None:
        """Look at the next estimate."""
        if self._count % EVERY == 0:
            height, width = self.truth.shape[-2:]
            estimate = logits[..., :height, :width].float().sigmoid()
            self.curve.append((self._count, psnr_db(estimate, self.truth)))
        self._count += 1


def psnr_db(fused: Tensor, truth: Tensor) -> float:
    """Of luma; images (..., C, H, W)."""
    first, second = (luma(one.reshape(1, *one.shape[-3:]))[0, 0].numpy() for one in (fused, truth))
    return metrics.psnr_db(first, second)


@dataclass(frozen=True)
class Effort:
    """How much is done; the tests do less.

    Attributes:
        side_px: Of the truth.
        embedding: Iterations of the decision embedding.
        prior: Iterations of the prior in Fig. 8.
        converging: Iterations of both methods in Fig. 9.
    """

    side_px: int = 128
    embedding: int = 500
    prior: int = 1000
    converging: int = 3000


def make(folder: Path, figures: Path, effort: Effort | None = None) -> None:
    """Measure and draw both.

    Args:
        folder: For fig-8.csv and fig-9.csv.
        figures: For fig-8.png and fig-9.png.
        effort: None is that of the paper.
    """
    effort = effort or Effort()
    scene = SceneSet("bundled", side_px=effort.side_px, scale=SCALE).scene(SCENE)
    folder.mkdir(parents=True, exist_ok=True)
    figures.mkdir(parents=True, exist_ok=True)
    runs = [run(name, config, scene) for name, config in robustness(effort).items()]
    rows = [(one.name, f"{one.accuracy:.4f}", f"{one.psnr_db:.2f}") for one in runs]
    write(folder / "fig-8.csv", ("setting", "accuracy", "psnr_db"), rows)
    save(draw_robustness(scene, runs), figures / "fig-8.png")
    curves = {name: converging(name, scene, effort) for name in ("DFP", "DIP")}
    write(folder / "fig-9.csv", ("method", "iteration", "psnr_db", "loss"), lines(curves))
    save(draw_convergence(curves), figures / "fig-9.png")


def robustness(effort: Effort) -> dict[str, FusionConfig]:
    """The columns of Fig. 8."""
    fits = {"refinement.iterations": effort.embedding, "reconstruction.iterations": effort.prior}
    worst = list(REBLUR)[-1]
    without = {**fits, **reblur(*REBLUR[worst]), "reconstruction.joint_gradient_weight": 0.0}
    shown = {name: values for name, values in REBLUR.items() if name.startswith("[3,5,5")}
    return {
        f"{worst}, no joint gradient": composition("paper", without),
        **{
            name: composition("paper", {**fits, **reblur(*values)})
            for name, values in shown.items()
        },
    }


def run(name: str, config: FusionConfig, scene: Scene) -> Run:
    """Fuse the scene."""
    made = fused(config, scene)
    decision = made.decision.numpy()
    accuracy = metrics.decision_accuracy(decision, scene.labels, {})["accuracy"]
    quality = psnr_db(made.fused, torch.from_numpy(scene.truth))
    return Run(name, made.fused.numpy(), decision[0, 0], quality, float(accuracy or 0))


def fused(config: FusionConfig, scene: Scene) -> FusionResult:
    """The scene, enlarged."""
    return fuse(torch.from_numpy(scene.sources), replace(config, scale=SCALE))


def converging(name: str, scene: Scene, effort: Effort) -> tuple[Curve, list[float]]:
    """PSNR of every tenth estimate, and the loss of every iteration."""
    watch = Watch(torch.from_numpy(scene.truth))
    network = WatchedNet(seen=watch)
    if name == "DFP":
        prior = DeepFusionPrior(iterations=effort.converging, network=network)
        paper = composition("paper", {"refinement.iterations": effort.embedding})
        config = replace(paper, reconstruction=prior)
    else:
        alone = DeepImagePrior(iterations=effort.converging, network=network)
        config = replace(composition("classical", BLENDED), reconstruction=alone)
    made = fused(config, scene)
    return watch.curve, made.loss.tolist()


def lines(curves: dict[str, tuple[Curve, list[float]]]) -> Iterator[tuple[str, ...]]:
    """Of fig-9.csv: the last estimate has no loss of its own."""
    for name, (curve, losses) in curves.items():
        for iteration, decibel in curve:
            if iteration < len(losses):
                yield name, str(iteration), f"{decibel:.3f}", f"{losses[iteration]:.4g}"


def write(path: Path, columns: Sequence[str], rows: object) -> None:
    """A small table."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows(rows)  # type: ignore[arg-type]


def save(figure: Figure, path: Path) -> None:
    """As a small file."""
    figure.savefig(path, dpi=_DPI, pil_kwargs={"optimize": True})


def draw_robustness(scene: Scene, runs: Sequence[Run]) -> Figure:
    """Decision, result and error of every setting; the truth before them."""
    figure = Figure((_WIDTH_IN, 5.0), layout="constrained")
    grid = figure.subplots(3, 1 + len(runs))
    truth = scene.truth.transpose(1, 2, 0)
    firsts = [(scene.labels == 0), truth, scene.sources[0].transpose(1, 2, 0)]
    titles = ["first source in focus", "truth", "first source"]
    for axes, image, title in zip(grid[:, 0], firsts, titles, strict=True):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(title, fontsize=7)
    for column, one in zip(grid[:, 1:].T, runs, strict=True):
        error = one.fused.mean(0) - scene.truth.mean(0)
        column[0].imshow(one.decision, cmap="gray", vmin=0, vmax=1)
        column[1].imshow(one.fused.transpose(1, 2, 0).clip(0, 1))
        column[2].imshow(error, cmap="RdBu", vmin=-0.3, vmax=0.3)
        column[0].set_title(f"{one.name}\ndecision, {one.accuracy:.3f} right", fontsize=7)
        column[1].set_title(f"result, {one.psnr_db:.2f} dB", fontsize=7)
        column[2].set_title("result - truth, ±0.3", fontsize=7)
    for axes in grid.flat:
        axes.set_axis_off()
    return figure


def draw_convergence(curves: dict[str, tuple[Curve, list[float]]]) -> Figure:
    """PSNR, and the loss as a share of the first, by iteration."""
    figure = Figure((_WIDTH_IN, 3.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, (curve, losses) in curves.items():
        left.plot(*zip(*curve, strict=True), label=name, linewidth=0.9)
        right.semilogy(np.array(losses) / losses[0], label=name, linewidth=0.6)
    for axes, title in ((left, "PSNR, dB"), (right, "loss / first loss")):
        axes.set(xlabel="iteration", title=title)
        axes.legend()
        axes.grid(alpha=0.3)
    return figure


def shown(results: Path) -> list[str]:
    """What the page says of this record; nothing if it is not there."""
    if not (results / "fig-8.csv").is_file():
        return []
    return [INTRODUCTION.strip(), *_convergence(results / "fig-9.csv")]


def _convergence(path: Path) -> list[str]:
    """What is said of Fig. 9, which is made last."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [CONVERGENCE.strip(), " ".join(settled(name, rows) for name in ("DFP", "DIP"))]


def settled(name: str, rows: Sequence[Mapping[str, str]]) -> str:
    """From when on the PSNR of a method stays near its last value."""
    curve = [(int(r["iteration"]), float(r["psnr_db"])) for r in rows if r["method"] == name]
    last = sum(decibel for _, decibel in curve[-10:]) / len(curve[-10:])
    far = [iteration for iteration, decibel in curve if abs(decibel - last) > NEAR_DB]
    start = far[-1] + EVERY if far else 0
    near = f"within {NEAR_DB} dB of it from iteration {start} on"
    return f"{name} ends at {last:.2f} dB and stays {near}."
