"""Series of scenes from one origin, and archives of them."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain, count
from string import ascii_uppercase

import cv2
import numpy as np
import skimage.data

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError, ImageError, ObjectMissingError
from dfp_batch.io import codec, storage, urls
from dfp_batch.io.codec.names import image_names
from dfp_batch.runs.manifest import Pair, id_problems, read_manifest, write_manifest
from dfp_batch.synthetic.camera import Image, Psf
from dfp_batch.synthetic.procedural import procedural_image
from dfp_batch.synthetic.scene import SMALLEST_PX, Scene, SceneSpec, make_scene

BUNDLED = (
    "astronaut",
    "coffee",
    "chelsea",
    "camera",
    "rocket",
    "coins",
    "brick",
    "grass",
    "gravel",
    "immunohistochemistry",
    "hubble_deep_field",
    "stereo_motorcycle",
)


@dataclass(frozen=True)
class SceneSet:
    """Scenes made from the images of one origin.

    Scene i takes image i, modulo the number of images. Every other scene takes all its layers from
    that one image, so that its depth edges do not follow edges in the image; the rest take them
    from the images i, i + 5 and i + 8.

    Attributes:
        origin: ``bundled`` (the photographs in ``BUNDLED``, which come with scikit-image),
            ``procedural``, or the path or URL of a folder of sharp images.
        spec: What every scene is like; without it the scenes differ in layers, PSF and defocus.
        scale: In place of that in ``spec``.
        side_px: Side of the square truth; what is above a multiple of ``scale`` is cut off. The
            images are resized to it by their shorter side, and cropped.
        count: Number of scenes.
        seed: Of all randomness, >= 0.
        kernel: In place of that in ``spec``.

    Raises:
        ConfigError: for a field out of its range.
    """

    origin: str
    spec: SceneSpec | None = None
    scale: int = 1
    side_px: int = 512
    count: int = 12
    seed: int = 0
    kernel: Kernel = field(default_factory=Lanczos2)

    def __post_init__(self) -> None:
        Degradation(self.scale, self.kernel)
        for name, low in (("side_px", SMALLEST_PX * self.scale), ("count", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} must be >= {low}, got {getattr(self, name)}")

    def names(self) -> list[str]:
        """A name for each scene, usable as a ``pair_id``; no two are the same.

        Raises:
            ConfigError: if the folder holds no image.
        """
        numbered = [f"scene-{index:03d}" for index in range(self.count)]
        if self.origin == "procedural":
            return numbered
        stems = [posixpath.splitext(file)[0] for file in self._files]
        wanted = [stems[index % len(stems)] for index in range(self.count)]
        usable = [not id_problems(f"{name}-{self.count}") for name in wanted]
        return _unique(np.where(usable, wanted, numbered).tolist())

    def scene(self, index: int) -> Scene:
        """Make one scene; origin, spec, size, seed and index determine it.

        Raises:
            ConfigError: if the folder holds no image.
            ImageError: if an image cannot be decoded.
            StorageError: if an image cannot be read.
        """
        numbers = (index,) if index % 2 == 0 else (index, index + 5, index + 8)
        images = [self.image(number) for number in numbers]
        return make_scene(images, self.spec_of(index), (self.seed, index))

    def spec_of(self, index: int) -> SceneSpec:
        """What the scene of that index is like."""
        if self.spec is not None:
            return replace(self.spec, scale=self.scale, kernel=self.kernel)
        psf: Psf = "gaussian" if index // 2 % 2 else "disc"
        kind = index % 4
        spec = SceneSpec(layers=2 + kind, psf=psf, defocus_px=3 + kind)
        return replace(spec, scale=self.scale, kernel=self.kernel)

    def image(self, number: int) -> Image:
        """Image (C, side_px, side_px) of that number, in [0, 1].

        Raises:
            ConfigError: if the folder holds no image.
            ImageError: if it cannot be decoded.
            StorageError: if it cannot be read.
        """
        if self.origin == "procedural":
            return procedural_image(self.side_px, (self.seed, number, 1))
        name = self._files[number % len(self._files)]
        if self.origin == "bundled":
            return _square(_photograph(name), self.side_px)
        url = urls.join(urls.absolute_url(self.origin), name)
        return _square(codec.to_unit(codec.decode(storage.read_bytes(url), url)), self.side_px)

    @cached_property
    def _files(self) -> tuple[str, ...]:
        if self.origin == "bundled":
            return BUNDLED
        folder = urls.absolute_url(self.origin)
        names = image_names(storage.list_folder(folder)[0])
        if not names:
            raise ConfigError(
                f"{folder}: holds no image; expected bundled, procedural or a folder of sharp "
                "images"
            )
        return tuple(names)


def write_scenes(url: str, scenes: SceneSet) -> tuple[list[Pair], list[str]]:
    """Write scenes as an archive that can be moved, with a manifest.

    ``sources/<name>_A.png`` and so on, ``reference/<name>.png`` (the truth),
    ``masks/<name>_A.png`` and so on (white where that source is in focus), ``manifest.parquet``.

    Args:
        url: URL or path of the folder.
        scenes: What to make.

    Returns:
        The pairs of the manifest; and for each scene that could not be made a line with the reason.

    Raises:
        ConfigError: if there is a manifest in the folder, or no image at the origin.
        ImageError: if no scene could be made.
        StorageError: if the store failed.
    """
    folder = urls.absolute_url(url)
    manifest_url = urls.join(folder, "manifest.parquet")
    if storage.exists(manifest_url):
        raise ConfigError(f"{manifest_url} exists already; choose another folder")
    pairs, problems = [], []
    for index, name in enumerate(scenes.names()):
        try:
            pairs.append(_write_scene(folder, name, scenes.scene(index)))
        except (ImageError, ObjectMissingError) as error:
            problems.append(f"{name}: {error}")
    if not pairs:
        raise ImageError(f"no scene could be made; {problems[0]}")
    write_manifest(manifest_url, pairs)
    return read_manifest(manifest_url), problems


def _write_scene(folder: str, name: str, scene: Scene) -> Pair:
    """The pair, with paths relative to the folder."""
    letters = ascii_uppercase[: len(scene.sources)]
    sources = tuple(f"sources/{name}_{letter}.png" for letter in letters)
    masks = tuple(f"masks/{name}_{letter}.png" for letter in letters)
    reference = f"reference/{name}.png"
    in_focus = [np.float32(scene.labels[None] == k) for k in range(len(letters))]
    images = (*scene.sources, *in_focus, scene.truth)
    for path, image in zip((*sources, *masks, reference), images, strict=True):
        data = codec.encode(codec.from_unit(image, np.uint8), "png")
        storage.write_bytes(urls.join(folder, path), data)
    return Pair(name, sources, reference, masks=masks)


def _unique(names: Sequence[str]) -> list[str]:
    """Add -2, -3... to a name that is taken; upper and lower case are one on some disks."""
    taken: set[str] = set()
    found = []
    for name in names:
        candidates = chain([name], (f"{name}-{number}" for number in count(2)))
        found.append(next(it for it in candidates if it.casefold() not in taken))
        taken.add(found[-1].casefold())
    return found


def _photograph(name: str) -> Image:
    """A photograph (C, H, W) in [0, 1] that comes with scikit-image."""
    loaded = getattr(skimage.data, name)()
    pixels = loaded[0] if isinstance(loaded, tuple) else loaded  # a stereo pair: the left one
    return codec.to_unit(codec.Frame(pixels.reshape(*pixels.shape[:2], -1)))


def _square(image: Image, side_px: int) -> Image:
    """Resize (C, H, W) so that the shorter side is ``side_px``, and keep the central square."""
    ratio = side_px / min(image.shape[1:])
    h, w = (round(side * ratio) for side in image.shape[1:])
    how = cv2.INTER_AREA if ratio < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.moveaxis(image, 0, -1), (w, h), interpolation=how).reshape(h, w, -1)
    top, left = (h - side_px) // 2, (w - side_px) // 2
    return np.ascontiguousarray(
        np.moveaxis(resized[top : top + side_px, left : left + side_px].clip(0, 1), -1, 0)
    )
