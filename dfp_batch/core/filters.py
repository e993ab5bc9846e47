"""Local filters of images, by OpenCV on a CPU and by PyTorch elsewhere, to the same result.

An image is (C, h, w), float32, best with the channels last in memory: then OpenCV takes it as it
is. The plain forms run on any device. They are what the others are tested against;
``plain_filters()`` asks for them on a CPU, too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Border = Literal["reflect_101", "reflect", "replicate"]  # dcb|abcd|cba, cba|abcd|dcb, aaa|abcd|ddd

_BORDERS: dict[Border, int] = {
    "reflect_101": cv2.BORDER_REFLECT_101,
    "reflect": cv2.BORDER_REFLECT,
    "replicate": cv2.BORDER_REPLICATE,
}
_PYRAMID_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_DOUBLING_TAPS = ((1 / 8, 6 / 8, 1 / 8), (0.0, 1 / 2, 1 / 2))  # of even and odd places
_REACH_SIGMAS = 4
_BLOCK_ROWS = 256  # that are worked on at once: what is made in between stays in the cache
_plain: ContextVar[bool] = ContextVar("plain_filters", default=False)


@contextmanager
def plain_filters() -> Iterator[None]:
    """Context in which the plain forms run on a CPU, as they do on a GPU."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def on_host(image: Tensor) -> bool:
    """Whether OpenCV filters this image."""
    return image.device.type == "cpu" and not _plain.get()


def as_array(image: Tensor) -> NDArray[np.float32]:
    """An image (C, h, w) on a CPU as OpenCV takes it, (h, w, C); no copy if channels come last."""
    image = image.float()
    if len(image) == 1:  # of strides that OpenCV takes
        return np.ascontiguousarray(image[0].numpy())[..., None]
    return np.ascontiguousarray(image.movedim(0, -1).numpy())


def as_image(array: NDArray[Any]) -> Tensor:
    """What OpenCV has made, (h, w, C) or (h, w), as an image (C, h, w)."""
    planes = array if array.ndim == 3 else array[..., None]  # noqa: PLR2004
    return torch.from_numpy(planes).movedim(-1, 0)


def gaussian_blur(
    image: Tensor, sigma_px: float, size_px: int | None = None, border: Border = "reflect_101"
) -> Tensor:
    """Gaussian of so many taps a side; None is as many as reach 4 sigma."""
    size = size_px or round(2 * _REACH_SIGMAS * sigma_px + 1) | 1
    if on_host(image):
        array = as_array(image)
        return as_image(
            cv2.GaussianBlur(array, (size, size), sigma_px, borderType=_BORDERS[border])
        )
    offsets = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    taps = torch.softmax(-(offsets**2) / (2 * sigma_px**2), 0)
    return _separable(image, tuple(taps.tolist()), border)


def box_blur(image: Tensor, size_px: int, border: Border) -> Tensor:
    """Mean over a square window of an odd side."""
    if on_host(image):
        size = (size_px, size_px)
        return as_image(cv2.blur(as_array(image), size, borderType=_BORDERS[border]))
    return _separable(image, (1 / size_px,) * size_px, border)


def modified_laplacian(plane: Tensor) -> Tensor:
    """``|2 I - I(x-1) - I(x+1)| + |2 I - I(y-1) - I(y+1)|`` of an image (Nayar, Nakagawa, 1994)."""
    if not on_host(plane):
        padded = _padded(plane, 1, "reflect_101")
        middle = 2 * plane
        across = middle - padded[..., 1:-1, :-2] - padded[..., 1:-1, 2:]
        return across.abs() + (middle - padded[..., :-2, 1:-1] - padded[..., 2:, 1:-1]).abs()
    second, array = np.array([[-1.0, 2.0, -1.0]], dtype=np.float32), as_array(plane)
    across_, down_ = (
        cv2.filter2D(array, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        for kernel in (second, second.T)
    )
    detail = np.abs(across_, out=across_)
    detail += np.abs(down_, out=down_)
    return as_image(detail)


def largest_nearby(image: Tensor, size_px: int) -> Tensor:
    """Largest value within a square window of an odd side."""
    if on_host(image):
        return as_image(cv2.dilate(as_array(image), np.ones((size_px, size_px), np.uint8)))
    return functional.max_pool2d(image[None], size_px, 1, size_px // 2)[0]


def least_nearby(image: Tensor, size_px: int) -> Tensor:
    """Least value within a square window of an odd side."""
    if on_host(image):
        return as_image(cv2.erode(as_array(image), np.ones((size_px, size_px), np.uint8)))
    return -functional.max_pool2d(-image[None], size_px, 1, size_px // 2)[0]


def pyramid_down(image: Tensor) -> Tensor:
    """The next level of a Gaussian pyramid, (C, ceil(h / 2), ceil(w / 2)) (Burt, Adelson, 1983)."""
    if on_host(image):
        return as_image(cv2.pyrDown(as_array(image)))
    padded = _padded(image, 2, "reflect_101")
    rows = filter_and_sample(padded, _PYRAMID_TAPS, 2, -2)
    return filter_and_sample(rows, _PYRAMID_TAPS, 2, -1)


def pyramid_up(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The level before of a Gaussian pyramid, interpolated: (C, h, w) of ``size`` (h, w)."""
    if on_host(image):
        return as_image(cv2.pyrUp(as_array(image), dstsize=size[::-1]))
    return _doubled(_doubled(image, -2, size[0]), -1, size[1])


def _doubled(image: Tensor, dim: int, length: int) -> Tensor:
    """Along one dimension, by the taps of the pyramid: the border is that of OpenCV."""
    count, positive = image.shape[dim], dim % image.ndim
    last = image.narrow(dim, count - 1, 1)
    padded = torch.cat((image.narrow(dim, min(1, count - 1), 1), image, last), dim)
    if image.is_cuda and not image.requires_grad:
        even, odd = _correlated(padded, _DOUBLING_TAPS, 1, dim)
    else:
        even = (padded.narrow(dim, 0, count) + 6 * image + padded.narrow(dim, 2, count)) / 8
        odd = (image + padded.narrow(dim, 2, count)) / 2
    woven = torch.stack((even, odd), positive + 1).flatten(positive, positive + 1)
    return woven.narrow(dim, 0, length)


def resize_by_area(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Made smaller to ``size`` (h, w): the mean of what every pixel covers."""
    if on_host(image):
        array = as_array(image)
        return as_image(cv2.resize(array, size[::-1], interpolation=cv2.INTER_AREA))
    down, across = (
        _area_weights(old, new).to(image) for old, new in zip(image.shape[-2:], size, strict=True)
    )
    return down @ image @ across.mT


def reduce_by_area(image: Tensor, factor: int) -> Tensor:
    """``resize_by_area`` by a factor, height and width rounded up."""
    return resize_by_area(image, (-(-image.shape[1] // factor), -(-image.shape[2] // factor)))


def _area_weights(old: int, new: int) -> Tensor:
    """(new, old): the share of every old pixel in every new one."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    places = torch.arange(old, dtype=torch.float64)
    covered = torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)
    return covered.clamp_min(0) * new / old


def resize_linearly(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Interpolated to ``size`` (h, w)."""
    if on_host(image):
        return as_image(cv2.resize(as_array(image), size[::-1], interpolation=cv2.INTER_LINEAR))
    return functional.interpolate(image[None], size=size, mode="bilinear", align_corners=False)[0]


def strength(image: Tensor) -> Tensor:
    """Sum over the channels of the magnitude, (1, h, w)."""
    if not on_host(image):
        return image.abs().sum(0, keepdim=True)
    array = as_array(image)
    total = np.empty(array.shape[:2], np.float32)
    for top in range(0, len(array), _BLOCK_ROWS):
        rows = slice(top, top + _BLOCK_ROWS)
        cv2.transform(np.abs(array[rows]), np.ones((1, array.shape[2])), total[rows])
    return as_image(total)


def add_product_(total: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """``total += weight * image`` for a weight (1, h, w), in place."""
    if not on_host(total):
        return total.addcmul_(image, weight)
    totals, array = as_array(total), as_array(image)
    for top in range(0, len(array), _BLOCK_ROWS):
        rows = slice(top, top + _BLOCK_ROWS)
        weights = as_array(weight[:, rows])
        shares = cv2.merge([weights] * array.shape[2]).reshape(array[rows].shape)
        cv2.accumulateProduct(array[rows], shares, totals[rows])
    return total if totals.ctypes.data == total.data_ptr() else total.copy_(as_image(totals))


def copy_where_(total: Tensor, image: Tensor, mask: Tensor) -> Tensor:
    """``total`` becomes the image where a mask (h, w) or (1, h, w), bool, is true, in place."""
    if not on_host(total):
        return torch.where(mask, image, total, out=total)
    totals: NDArray[Any] = as_array(total)
    cv2.copyTo(as_array(image), mask.reshape(mask.shape[-2:]).numpy().view(np.uint8), totals)
    return total if totals.ctypes.data == total.data_ptr() else total.copy_(as_image(totals))


def claim_(labels: Tensor, most: Tensor, plane: Tensor, label: int) -> None:
    """Where a plane is larger than the most so far it is the most, and has the label: in place.

    Args:
        labels: (h, w), int16.
        most: (h, w), float32.
        plane: (h, w), any float.
        label: Of the plane.
    """
    if not on_host(plane):
        labels.masked_fill_(plane > most, label)
        torch.maximum(most, plane, out=most)
        return
    array, mosts = plane.float().numpy(), most.numpy()
    mask = cv2.compare(array, mosts, cv2.CMP_GT)
    cv2.copyTo(np.full(labels.shape, label, np.int16), mask, labels.numpy())
    cv2.max(array, mosts, mosts)


def median(plane: Tensor) -> Tensor:
    """Of all values, the mean of the two in the middle of an even number: (), on its device."""
    if on_host(plane):
        return torch.tensor(np.median(plane.numpy()))
    ordered = plane.flatten().sort().values
    last = len(ordered) - 1
    return (ordered[last // 2] + ordered[-(-last // 2)]) / 2


def filter_and_sample(images: Tensor, taps: tuple[float, ...], stride: int, dim: int) -> Tensor:
    """Correlate along one dimension and keep every ``stride``-th value, a weighted slice a tap.

    Ten times faster on a CPU than the one-channel convolution it replaces, and equal to it. A GPU
    does that convolution in one kernel.

    Args:
        images: Of any shape, already padded.
        taps: Weights.
        stride: Step between the values kept.
        dim: Dimension of length L; it becomes ``(L - len(taps)) // stride + 1``.
    """
    if images.is_cuda and not images.requires_grad:  # that kernel's gradient is of one plane only
        return _correlated(images, (taps,), stride, dim)[0]
    count = (images.shape[dim] - len(taps)) // stride + 1
    span = stride * (count - 1) + 1
    sampled = [slice(None)] * images.ndim
    result = images.new_zeros(())
    for offset, tap in enumerate(taps):
        sampled[dim] = slice(offset, offset + span, stride)
        result = torch.add(result, images[tuple(sampled)], alpha=tap)
    return result


def _correlated(
    images: Tensor, filters: tuple[tuple[float, ...], ...], stride: int, dim: int
) -> Tensor:
    """Several filters of one length along the last dimension or the one before, on a GPU.

    One kernel of PyTorch's own, in full precision, where cuDNN would take TF32.

    Returns:
        (filters, ..., h', w').
    """
    *lead, height, width = images.shape
    planes = images.reshape(1, -1, height, width)
    is_across = dim % images.ndim == images.ndim - 1
    size, steps = ((len(filters[0]), 1), (stride, 1))
    if is_across:
        size, steps = size[::-1], steps[::-1]
    weights = _filters_on(filters, images.dtype, images.device).view(-1, 1, *size)
    all_weights = weights.repeat(planes.shape[1], 1, 1, 1)
    sampled: Tensor = torch.ops.aten._conv_depthwise2d(
        planes, all_weights, size, None, steps, (0, 0), (1, 1)
    )
    split: Tensor = sampled.reshape(*lead, len(filters), *sampled.shape[-2:])
    return split.movedim(len(lead), 0)


@lru_cache(maxsize=64)
def _filters_on(
    filters: tuple[tuple[float, ...], ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """(filters, taps); kept, as to bring them to a device would block."""
    return torch.tensor(filters, dtype=dtype, device=device)


def _separable(image: Tensor, taps: tuple[float, ...], border: Border) -> Tensor:
    padded = _padded(image, len(taps) // 2, border)
    return filter_and_sample(filter_and_sample(padded, taps, 1, -2), taps, 1, -1)


def _padded(image: Tensor, margin: int, border: Border) -> Tensor:
    """Extended on all sides, beyond its own size if need be."""
    rows, columns = (_sources_of(side, margin, border, image.device) for side in image.shape[1:])
    return image[:, rows][:, :, columns]


@lru_cache(maxsize=256)
def _sources_of(length: int, margin: int, border: Border, device: torch.device) -> Tensor:
    """Index of the pixel that stands at every place from -margin to length + margin - 1.

    They are kept, as to bring them to a device would block.
    """
    place = torch.arange(-margin, length + margin, device=device)
    if border == "replicate":
        return place.clamp(0, length - 1)
    if border == "reflect":
        index = place % (2 * length)
        return torch.where(index < length, index, 2 * length - 1 - index)
    period = max(1, 2 * (length - 1))
    index = place % period
    return torch.where(index < length, index, period - index)
