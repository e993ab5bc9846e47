"""Multi-focus scenes with exact truth: made one by one, as a series, or written as an archive."""

from dfp_batch.synthetic.camera import disc
from dfp_batch.synthetic.procedural import procedural_image
from dfp_batch.synthetic.scene import Scene, SceneSpec, make_scene
from dfp_batch.synthetic.scene_set import BUNDLED, SceneSet, write_scenes

__all__ = [
    "BUNDLED",
    "Scene",
    "SceneSet",
    "SceneSpec",
    "disc",
    "make_scene",
    "procedural_image",
    "write_scenes",
]
