"""The terms of the objective of the Deep Fusion Prior, Eq. (21)-(24)."""

from torch import Tensor
from torch.nn import functional


def laplacian(images: Tensor) -> Tensor:
    """Signed 3x3 Laplacian [0 1 0; 1 -4 1; 0 1 0], borders replicated.

    Args:
        images: (N, 1, h, w).

    Returns:
        (N, 1, h, w).
    """
    padded = functional.pad(images, (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, :-2] + padded[..., 1:-1, 2:]
    down = padded[..., :-2, 1:-1] + padded[..., 2:, 1:-1]
    return across + down - 4 * images


def strongest_laplacian(sources: Tensor) -> Tensor:
    """Per pixel the signed source Laplacian of largest magnitude: the target of Eq. (23).

    Differs from the paper: Eq. (23) writes ``max``; the plain maximum loses every dark edge, so the
    sign is kept and the magnitude decides.

    Args:
        sources: Luma of the N sources, (N, 1, h, w), in [0, 1].

    Returns:
        (1, 1, h, w).
    """
    edges = laplacian(sources)
    winner = edges.abs().argmax(dim=0, keepdim=True)
    return edges.gather(0, winner)


def content_loss(degraded: Tensor, sources: Tensor, decision: Tensor) -> Tensor:
    """L1 distance of D(X) to each source where that source is in focus, Eq. (22).

    Args:
        degraded: D(X), (1, C, h, w), in [0, 1].
        sources: (N, C, h, w), in [0, 1].
        decision: (N, 1, h, w), >= 0, sums to 1 over N.

    Returns:
        Scalar >= 0; both lambdas of the paper are 1.
    """
    return (decision * (degraded - sources).abs()).sum(0).mean()  # Eq. (22)


def joint_gradient_loss(degraded: Tensor, target: Tensor) -> Tensor:
    """L1 distance of the Laplacian of D(X) to the strongest source Laplacian, Eq. (23).

    Args:
        degraded: Luma of D(X), (1, 1, h, w), in [0, 1].
        target: ``strongest_laplacian(sources)``, (1, 1, h, w).

    Returns:
        Scalar >= 0; zero where D(X) keeps every strongest edge.
    """
    return (laplacian(degraded) - target).abs().mean()  # Eq. (23)


def gradient_limit_loss(fused: Tensor) -> Tensor:
    """Mean absolute forward differences of X: anisotropic total variation, Eq. (24).

    Args:
        fused: X, (1, C, H, W), in [0, 1].

    Returns:
        Scalar >= 0; zero for a constant image.
    """
    dx = (fused[..., :, 1:] - fused[..., :, :-1]).abs().mean()
    dy = (fused[..., 1:, :] - fused[..., :-1, :]).abs().mean()
    return dx + dy  # Eq. (24)
