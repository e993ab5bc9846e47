"""Metrics against a true all-in-focus reference: PSNR and SSIM of luma in [0, 1]."""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from dfp_batch.errors import ImageError

_SSIM_SIGMA_PX = 1.5
_SSIM_WINDOW_PX = 11  # the Gaussian's support: 3.5 sigma to either side


def psnr_db(fused: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Peak signal-to-noise ratio, ``-10 lg mean((fused - reference)^2)``.

    Args:
        fused: Luma, (H, W), in [0, 1].
        reference: Luma of the truth, (H, W), in [0, 1].

    Returns:
        Decibels, >= 0; infinity if the images are identical.

    Raises:
        ImageError: The two differ in size.
    """
    _check_same_size(fused, reference)
    with np.errstate(divide="ignore"):  # no error at all is infinitely many decibels
        decibels = peak_signal_noise_ratio(reference, fused, data_range=1)  # type: ignore[no-untyped-call]
    return float(decibels)


def ssim(fused: NDArray[np.floating], reference: NDArray[np.floating]) -> float:
    """Mean structural similarity with the Gaussian window of Wang et al. (2004), sigma 1.5 px.

    The mean is over the pixels whose whole 11x11 px window lies inside the image.

    Args:
        fused: Luma, (H, W), in [0, 1]; H, W >= 11.
        reference: Luma of the truth, (H, W), in [0, 1].

    Returns:
        Similarity, in [-1, 1]; 1 if the images are identical.

    Raises:
        ImageError: The two differ in size, or are smaller than the window.
    """
    _check_same_size(fused, reference)
    if min(fused.shape) < _SSIM_WINDOW_PX:
        window = f"{_SSIM_WINDOW_PX}x{_SSIM_WINDOW_PX} px"
        raise ImageError(f"image must be at least {window} for SSIM, got {_size(fused)}")
    similarity = structural_similarity(  # type: ignore[no-untyped-call]
        reference,
        fused,
        data_range=1,
        gaussian_weights=True,
        sigma=_SSIM_SIGMA_PX,
        use_sample_covariance=False,
    )
    return float(similarity)


def _check_same_size(fused: NDArray[np.floating], reference: NDArray[np.floating]) -> None:
    if fused.shape != reference.shape:
        raise ImageError(
            f"fused image must be as large as the reference, expected {_size(reference)}, "
            f"found {_size(fused)}; enlarge or crop one to the size of the other"
        )


def _size(image: NDArray[np.floating]) -> str:
    height, width = image.shape
    return f"{width}x{height} px"
