"""Multi-focus scenes with exact truth, from photographs or from procedural images.

A scene is a stack of layers at different depths. Layer l has a colour image C_l, a coverage A_l in
[0, 1] and a depth; frame k is focused at depth k. Frames are composed from the farthest layer to
the nearest, every layer blurred by the point spread function PSF(l, k) of its defocus::

    frame <- frame * (1 - PSF * A_l) + PSF * (A_l C_l)

so a blurred foreground spreads over the background behind it, as in a real photograph. The truth is
the same composition with the least blur that any frame has of a layer, which mostly is none. Sensor
effects come last, in the order of a camera: motion and breathing of the lens, down-sampling D,
exposure, noise, JPEG. Motion, breathing and exposure are relative to the reference, source
(N - 1) // 2, which has none.

The same images, specification and seed give the same scene.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dfp_batch.core.degradation import Degradation, Kernel
from dfp_batch.degradation.kernels import Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.synthetic import camera
from dfp_batch.synthetic.camera import Image
from dfp_batch.synthetic.procedural import draw_stroke

SMALLEST_PX = 16  # a side of the sources
MOST_FRAMES = len(ascii_uppercase)
_RANGES = {
    "frames": (2, MOST_FRAMES),
    "layers": (2, 8),
    "defocus_px": (0.1, 100),
    "edge_px": (0, 100),
    "strokes": (0, 100),
    "shift_px": (0, 100),
    "breathing": (0, 0.1),
    "exposure": (0, 0.9),
    "beyond": (0, 10),
    "noise": (0, 1),
    "jpeg_quality": (0, 100),
}
_DEPTH_OF_FIELD = 0.5  # in steps between frames, to either side: every depth is sharp in a frame
_DEPTH_SPREAD = 0.8  # of the layers that are sharp in one frame, in steps
_HARDEST_EDGE_PX = 0.4
_STROKE_PX = (1.5, 5.0)
_SHARE = (0.15, 0.4)  # of the image that a layer covers
_SHOT_NOISE = 0.9  # share of the noise variance at mid-grey


@dataclass(frozen=True)
class SceneSpec:
    """What a scene is like. Lengths are in pixels of the sources.

    Attributes:
        frames: N, 2 to 26.
        layers: Depths, 2 to 8. With more layers than frames, several are sharp in one frame; with
            fewer, some frames are sharp nowhere.
        psf: Of the defocus.
        defocus_px: Radius of the disc, or twice the standard deviation of the Gaussian, of a layer
            one frame out of focus; a layer n frames out of focus has 2 n - 1 times that.
        edge_px: Softest edge of a layer (standard deviation); each layer draws its own, between
            hard and this.
        strokes: Thin structures, 1.5 to 5 px wide, on every layer but the farthest.
        scale: The truth is this many times larger than the sources.
        kernel: Blur of the down-sampling D; at scale 1 there is none.
        shift_px: Largest motion between the reference and another frame, in x and in y.
        breathing: Magnification from one frame to the next, 0.004 = 0.4 %.
        beyond: Steps of focus by which the farthest layer lies beyond the first frame: it is in
            focus in none. Its truth is its least blurred rendering.
        exposure: Largest gain or loss of a frame against the reference, 0.05 = 5 %.
        noise: Standard deviation of the sensor noise at mid-grey; most of it is shot noise.
        jpeg_quality: 1 to 100; 0 is no JPEG.

    Raises:
        ConfigError: for a field out of its range.
    """

    frames: int = 2
    layers: int = 3
    psf: camera.Psf = "disc"
    defocus_px: float = 4.0
    edge_px: float = 1.0
    strokes: int = 2
    scale: int = 1
    shift_px: float = 0.0
    breathing: float = 0.0
    beyond: float = 0.0
    exposure: float = 0.0
    noise: float = 0.0
    jpeg_quality: int = 0
    kernel: Kernel = field(default_factory=Lanczos2)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"{name} must be {low} to {high}, got {getattr(self, name)}")
        if self.psf not in get_args(camera.Psf):
            raise ConfigError(f"psf must be disc or gaussian, got {self.psf!r}")
        Degradation(self.scale, self.kernel)

    @property
    def reference(self) -> int:
        """Index of the source that truth and labels are aligned with, (N - 1) // 2."""
        return (self.frames - 1) // 2


@dataclass(frozen=True, eq=False)
class Scene:
    """Sources and their exact truth; truth and labels are aligned with source (N - 1) // 2.

    Attributes:
        sources: (N, C, h, w), float32, in [0, 1], 8-bit levels.
        truth: (C, scale * h, scale * w), float32, in [0, 1], 8-bit levels.
        labels: (h, w), the source in which each pixel is in focus.
        full_sources: (N, C, scale * h, scale * w), float32, in [0, 1]: the frames before D, with
            motion and breathing, without exposure, noise, levels and JPEG.
        unfocused: (h, w), where what is seen most is in focus in no source.
        warps: (N, 3, 3): ``warps[k]`` maps (x, y, 1) in the reference to (x, y, 1) in source k, in
            pixels of the sources, whose centres are integers; the identity for the reference.
    """

    sources: Image
    truth: Image
    labels: NDArray[np.int64]
    full_sources: Image
    unfocused: NDArray[np.bool_]
    warps: camera.Warp


@dataclass(frozen=True, eq=False)
class _Layer:
    colour: Image  # (H, W, C)
    coverage: Image  # (H, W)
    depth: float  # in frames


def make_scene(images: Sequence[Image], spec: SceneSpec, seed: int | tuple[int, ...]) -> Scene:
    """A scene whose farthest layer is the first image; nearer ones take the images in turn.

    Args:
        images: Sharp images (C, H, W) of one size, in [0, 1]. With one image, the truth is that
            image, and depth edges do not follow the edges in it.
        spec: What the scene is like.
        seed: Of all randomness, one or more numbers >= 0.

    Raises:
        ConfigError: if the images are too small or differ in size.
    """
    random = np.random.default_rng(seed)
    layers = _layers(_cropped(images, spec.scale), spec, random)
    blurless = _compose(layers, _least_defocus(spec))
    frames = [_compose(layers, _defocus(spec, focus)) for focus in range(spec.frames)]
    motions = _motions(frames[0].shape[:2], spec, random)
    moved = [camera.moved(frame, motion) for frame, motion in zip(frames, motions, strict=True)]
    full_sources = np.stack([_channels_first(frame) for frame in moved]).clip(0, 1)
    sampled = _sampled(full_sources, Degradation(spec.scale, spec.kernel))
    truth = camera.unit(camera.levels(_channels_first(blurless)))
    seen, warps = _seen(layers, spec), camera.at_source_size(motions, spec.scale)
    labels, unfocused = _labels(seen, layers, spec), _unfocused(seen, layers, spec)
    recorded = _recorded(sampled, spec, random)
    return Scene(recorded, truth, labels, full_sources, unfocused, warps)


def _cropped(images: Sequence[Image], scale: int) -> list[Image]:
    """(H, W, C) of every image, H and W multiples of ``scale``, colour if one of them is."""
    if len({image.shape[1:] for image in images}) != 1:
        raise ConfigError("images of a scene must have one size; crop or resize them")
    channels = max(image.shape[0] for image in images)
    h, w = (side // scale * scale for side in images[0].shape[1:])
    if min(h, w) < SMALLEST_PX * scale:
        smallest_px = SMALLEST_PX * scale
        raise ConfigError(f"images must be at least {smallest_px} px a side, got {w}x{h} px")
    wide = [np.broadcast_to(image, (channels, *image.shape[1:])) for image in images]
    return [_channels_last(image[:, :h, :w]) for image in wide]


def _layers(planes: list[Image], spec: SceneSpec, random: np.random.Generator) -> list[_Layer]:
    size = planes[0].shape[:2]
    return [
        _Layer(planes[index % len(planes)], _coverage(size, index, spec, random), depth)
        for index, depth in enumerate(_depths(spec))
    ]


def _depths(spec: SceneSpec) -> list[float]:
    """Depth of every layer in frames; each is within the depth of field of one frame at most."""
    farthest, *others = _depths_in_focus(spec)
    return [farthest - spec.beyond, *others]


def _depths_in_focus(spec: SceneSpec) -> list[float]:
    if spec.layers < spec.frames:
        last = spec.frames - 1
        return [float(round(step * last / (spec.layers - 1))) for step in range(spec.layers)]
    frames = [layer * spec.frames // spec.layers for layer in range(spec.layers)]
    return [
        frame + _DEPTH_SPREAD * ((place + 0.5) / frames.count(frame) - 0.5)
        for frame in range(spec.frames)
        for place in range(frames.count(frame))
    ]


def _compose(layers: list[_Layer], blur: Callable[[Image, float], Image]) -> Image:
    frame = blur(layers[0].colour, layers[0].depth)
    for layer in layers[1:]:
        coverage = blur(layer.coverage, layer.depth)[..., None]
        covered = blur(layer.coverage[..., None] * layer.colour, layer.depth)
        frame = frame * (1 - coverage) + covered.reshape(frame.shape)
    return frame


def _defocus(spec: SceneSpec, focus: int) -> Callable[[Image, float], Image]:
    """Blur of a plane at a depth in the frame focused at ``focus``."""

    def blur(plane: Image, depth: float) -> Image:
        beyond = max(0.0, abs(depth - focus) - _DEPTH_OF_FIELD) / (1 - _DEPTH_OF_FIELD)
        return camera.defocused(plane, beyond * spec.defocus_px * spec.scale, spec.psf)

    return blur


def _least_defocus(spec: SceneSpec) -> Callable[[Image, float], Image]:
    """Blur of a plane at a depth in the frame that has least of it: mostly none."""

    def blur(plane: Image, depth: float) -> Image:
        return _defocus(spec, _nearest_frame(depth, spec))(plane, depth)

    return blur


def _nearest_frame(depth: float, spec: SceneSpec) -> int:
    return min(max(round(depth), 0), spec.frames - 1)


def _seen(layers: list[_Layer], spec: SceneSpec) -> Image:
    """Share of every layer in what is seen, at source size, (L, h, w)."""
    seen = np.zeros((len(layers), *layers[0].coverage.shape), np.float32)
    for index, layer in enumerate(layers):
        seen *= 1 - layer.coverage
        seen[index] = layer.coverage
    blocks = seen.reshape(len(layers), seen.shape[1] // spec.scale, spec.scale, -1, spec.scale)
    return np.asarray(blocks.mean((2, 4)), np.float32)


def _labels(seen: Image, layers: list[_Layer], spec: SceneSpec) -> NDArray[np.int64]:
    """The frame nearest in depth to what is seen most, (h, w)."""
    of_frames = np.zeros((spec.frames, *seen.shape[1:]), np.float32)
    for layer, share in zip(layers, seen, strict=True):
        of_frames[_nearest_frame(layer.depth, spec)] += share
    return np.asarray(of_frames.argmax(0), np.int64)


def _unfocused(seen: Image, layers: list[_Layer], spec: SceneSpec) -> NDArray[np.bool_]:
    """Where what is seen most is in focus in no frame, (h, w)."""
    distance = [abs(layer.depth - _nearest_frame(layer.depth, spec)) for layer in layers]
    return np.asarray(np.array(distance)[seen.argmax(0)] > _DEPTH_OF_FIELD)


# Shapes of the layers.


def _coverage(
    size: tuple[int, ...], index: int, spec: SceneSpec, random: np.random.Generator
) -> Image:
    """Coverage (H, W) in [0, 1] of a layer: everything, or a shape and thin strokes."""
    h, w = size
    if index == 0:
        return np.ones((h, w), np.float32)
    shape = _SHAPES[random.integers(len(_SHAPES))](h, w, random)
    for _ in range(spec.strokes):
        draw_stroke(shape, spec.scale * random.uniform(*_STROKE_PX), random)
    softness_px = random.uniform(_HARDEST_EDGE_PX, max(spec.edge_px, _HARDEST_EDGE_PX))
    soft = cv2.GaussianBlur(shape / np.float32(255), (0, 0), softness_px * spec.scale)
    return np.asarray(soft, np.float32)


def _blob(h: int, w: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Smooth noise above the level that leaves the wanted share."""
    coarse = random.standard_normal((6, 6)).astype(np.float32)
    noise = cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    level = np.quantile(noise, 1 - random.uniform(*_SHARE))
    return np.where(noise > level, 255, 0).astype(np.uint8)


def _ellipse(h: int, w: int, random: np.random.Generator) -> NDArray[np.uint8]:
    shape = np.zeros((h, w), np.uint8)
    centre = (int(w * random.uniform(0.2, 0.8)), int(h * random.uniform(0.2, 0.8)))
    axes = (int(w * random.uniform(0.15, 0.35)), int(h * random.uniform(0.15, 0.35)))
    cv2.ellipse(shape, centre, axes, random.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    return shape


def _polygon(h: int, w: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """A star-shaped polygon of 3 to 8 corners."""
    corners = int(random.integers(3, 9))
    angles = np.sort(random.uniform(0, 2 * np.pi, corners))
    reach = random.uniform(0.15, 0.5, corners) * min(h, w)
    centre = np.array([w * random.uniform(0.25, 0.75), h * random.uniform(0.25, 0.75)])
    points = centre + reach[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    shape = np.zeros((h, w), np.uint8)
    cv2.fillPoly(shape, [points.astype(np.int32)], 255, cv2.LINE_AA)
    return shape


_SHAPES = (_blob, _ellipse, _polygon)


# What the camera draws.


def _motions(size: tuple[int, ...], spec: SceneSpec, random: np.random.Generator) -> camera.Warp:
    """Warps (N, 3, 3) from the reference to every frame, in pixels of the truth (H, W).

    Every frame is magnified about its centre and shifted; the reference stays.
    """
    motions = np.tile(np.eye(3), (spec.frames, 1, 1))
    for index in range(spec.frames):
        shift = random.uniform(-1, 1, 2) * spec.shift_px * spec.scale
        if index != spec.reference:
            magnification = 1 + spec.breathing * (index - spec.reference)
            motions[index] = camera.magnified(size, magnification, shift)
    return motions


def _sampled(frames: Image, degrade: Degradation) -> Image:
    return degrade(torch.from_numpy(frames)).clamp(0, 1).numpy()


def _recorded(sources: Image, spec: SceneSpec, random: np.random.Generator) -> Image:
    """Exposure, sensor noise, 8-bit levels and JPEG of all sources (N, C, h, w)."""
    gains, grains = [1.0], []
    for index, source in enumerate(sources):
        if index:
            gains.append(1 + spec.exposure * random.uniform(-1, 1))
        grains.append(random.standard_normal(source.shape, np.float32))
    # One gain is drawn for every source but the first; the reference hands its own to the first.
    gains[0], gains[spec.reference] = gains[spec.reference], gains[0]
    frames = zip(sources, gains, grains, strict=True)
    return np.stack([_recorded_frame(*frame, spec) for frame in frames])


def _recorded_frame(source: Image, gain: float, grain: Image, spec: SceneSpec) -> Image:
    exposed = np.float32(gain) * source
    variance = spec.noise**2 * (1 - _SHOT_NOISE + 2 * _SHOT_NOISE * exposed)
    pixels = camera.levels(_channels_last(camera.noisy(exposed, np.sqrt(variance), grain)))
    if spec.jpeg_quality:
        pixels = camera.through_jpeg(pixels, spec.jpeg_quality)
    return _channels_first(camera.unit(pixels))


def _channels_first(image: Image) -> Image:
    return np.ascontiguousarray(np.moveaxis(image, -1, 0))


def _channels_last(image: Image) -> Image:
    return np.ascontiguousarray(np.moveaxis(image, 0, -1))
