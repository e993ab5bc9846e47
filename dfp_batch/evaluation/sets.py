"""The set that a command line names: scenes, or the pairs of a manifest."""

from dataclasses import replace

from dfp_batch.core.degradation import Kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.evaluation.archive import Archive
from dfp_batch.evaluation.scenes import Scenes
from dfp_batch.io import urls
from dfp_batch.synthetic import SceneSet


def item_set(
    origin: str,
    limit: int | None = None,
    side_px: int = 512,
    seed: int = 0,
    kernel: Kernel | None = None,
) -> Scenes | Archive:
    """The set that the command line names.

    Args:
        origin: "bundled", "procedural", a folder of sharp images, or a manifest, ``*.parquet``.
        limit: Number of scenes (default 12), or of the first pairs of the manifest (default all).
        side_px: Of the truth of a scene.
        seed: Of the scenes.
        kernel: Of the D that makes the sources smaller; None is Lanczos2.

    Raises:
        ConfigError: if there is nothing to score.
        ManifestError: if the manifest is wrong or empty.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be >= 1, got {limit}; there would be nothing to score")
    kernel = kernel or Lanczos2()
    if urls.without_version(origin).endswith(".parquet"):
        return replace(Archive.read(origin, limit), kernel=kernel)
    named = origin in ("bundled", "procedural")
    url = origin if named else urls.absolute_url(origin)
    scenes = SceneSet(url, side_px=side_px, seed=seed, kernel=kernel)
    return Scenes(scenes if limit is None else replace(scenes, count=limit))
