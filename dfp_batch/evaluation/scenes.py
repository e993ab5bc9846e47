"""Items that are scenes with exact truth, made at every scale."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dfp_batch.evaluation.items import Case, Item, last_part
from dfp_batch.synthetic import SceneSet


@dataclass(frozen=True)
class Scenes:
    """Scenes with exact truth, made anew for every scale: the truth has always the same size.

    Attributes:
        scenes: Of any scale.
    """

    scenes: SceneSet

    @property
    def label(self) -> str:
        """bundled, procedural or the name of the folder."""
        return last_part(self.scenes.origin)

    def items(self, scales: Sequence[int]) -> list[Item]:
        """All scenes at all scales."""
        found: list[Item] = []
        for scale in scales:
            scenes = replace(self.scenes, scale=scale)
            found += [SceneItem(name, scenes, k) for k, name in enumerate(scenes.names())]
        return found

    def describe(self) -> dict[str, Any]:
        """Everything that the scenes depend on but the scale."""
        spec = self.scenes.spec
        return {
            "set": self.scenes.origin,
            "side_px": self.scenes.side_px,
            "limit": self.scenes.count,
            "seed": self.scenes.seed,
            "scene": None if spec is None else {**vars(spec), "scale": None, "kernel": None},
            "degrade": str(self.scenes.kernel),
        }


@dataclass(frozen=True)
class SceneItem:
    """One scene.

    Attributes:
        name: Of the scene.
        scenes: The set at this scale.
        index: In the set.
    """

    name: str
    scenes: SceneSet
    index: int

    @property
    def scale(self) -> int:
        """Of the set."""
        scale: int = self.scenes.scale
        return scale

    def load(self) -> Case:
        """Make the scene."""
        scene = self.scenes.scene(self.index)
        return Case(
            scene.sources,
            np.dtype(np.uint8),
            scene.full_sources,
            scene.truth,
            scene.labels,
            scene.unfocused if scene.unfocused.any() else None,
            self.scenes.kernel if self.scale > 1 else None,
        )
