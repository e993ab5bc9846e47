"""Multi-focus scenes with exact truth: made one by one, as a series, or written as an archive.

The names load on first use: who needs only the camera loads no archive.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfp_batch.synthetic.camera import disc as disc
    from dfp_batch.synthetic.procedural import procedural_image as procedural_image
    from dfp_batch.synthetic.scene import Scene as Scene
    from dfp_batch.synthetic.scene import SceneSpec as SceneSpec
    from dfp_batch.synthetic.scene import make_scene as make_scene
    from dfp_batch.synthetic.scene_set import BUNDLED as BUNDLED
    from dfp_batch.synthetic.scene_set import SceneSet as SceneSet
    from dfp_batch.synthetic.scene_set import write_scenes as write_scenes

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

_PLACES = {
    "camera": {"disc"},
    "procedural": {"procedural_image"},
    "scene": {"Scene", "SceneSpec", "make_scene"},
    "scene_set": {"BUNDLED", "SceneSet", "write_scenes"},
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    for module, names in _PLACES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
