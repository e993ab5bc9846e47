import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfp_batch.reconstruction.losses import (
    content_loss,
    gradient_limit_loss,
    joint_gradient_loss,
    laplacian,
    strongest_laplacian,
)
from dfp_batch.refinement.decision_embedding import embedding_loss


def uniform(*shape, seed=0):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def image(rows):
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def dot(value):
    """5x5 grey image with one other pixel in the middle."""
    plane = torch.full((1, 1, 5, 5), 0.5, dtype=torch.float64)
    plane[..., 2, 2] = value
    return plane


def test_laplacian_of_a_dot():
    expected = image([[0, 1, 0], [1, -4, 1], [0, 1, 0]])
    point = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    point[..., 2, 2] = 1
    torch.testing.assert_close(laplacian(point)[..., 1:-1, 1:-1], expected)


def test_laplacian_is_zero_on_constants_everywhere_and_on_ramps_inside():
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    assert not laplacian(torch.full((1, 1, 4, 5), 0.7)).any()
    assert not laplacian(ramp)[..., 1:-1].any()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (0.9, 0.4, -1.6),  # bright dot wins: -4 * 0.4
        (0.6, 0.1, 1.6),  # dark dot wins: the plain maximum would do as well
        (0.9, 0.45, -1.6),  # the plain maximum would take +0.2, the weaker dark dot
    ],
)
def test_strongest_laplacian_keeps_the_sign(first, second, expected):
    sources = torch.cat([dot(first), dot(second)])
    assert strongest_laplacian(sources)[0, 0, 2, 2].item() == pytest.approx(expected)
    torch.testing.assert_close(strongest_laplacian(sources.flip(0)), strongest_laplacian(sources))


def test_content_loss_by_hand():
    sources = torch.cat([image([[0.0, 1.0]]), image([[0.5, 0.5]])])
    decision = torch.cat([image([[1.0, 0.25]]), image([[0.0, 0.75]])])
    # (1 * 0.2 + 0 * 0.3 + 0.25 * 0.4 + 0.75 * 0.1) / 2
    loss = content_loss(image([[0.2, 0.6]]), sources, decision)
    assert loss.item() == pytest.approx(0.1875)


@pytest.mark.parametrize("channels", [1, 3])
def test_content_loss_of_three_sources_sums_over_all(channels):
    sources, degraded = uniform(3, channels, 4, 5), uniform(1, channels, 4, 5, seed=1)
    decision = uniform(3, 1, 4, 5, seed=2).softmax(0)
    expected = sum(
        float(decision[k, 0, y, x] * abs(degraded[0, c, y, x] - sources[k, c, y, x]))
        for k in range(3)
        for c in range(channels)
        for y in range(4)
        for x in range(5)
    ) / (channels * 20)
    assert content_loss(degraded, sources, decision).item() == pytest.approx(expected)


def test_content_loss_is_zero_for_the_composite_of_the_sources():
    sources = uniform(3, 3, 4, 5)
    labels = torch.tensor([0, 1, 2, 0, 1] * 4).view(4, 5)
    decision = torch.stack([(labels == k).double() for k in range(3)]).unsqueeze(1)
    assert content_loss((decision * sources).sum(0, keepdim=True), sources, decision) == 0


def test_joint_gradient_loss_by_hand():
    target = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    # One dot of height 0.1 has |Laplacian| 0.4 and four times 0.1.
    assert joint_gradient_loss(dot(0.6), target).item() == pytest.approx(0.8 / 25)
    assert joint_gradient_loss(dot(0.6), strongest_laplacian(dot(0.6))) == 0


def test_gradient_limit_loss_is_the_sum_of_the_slopes():
    rows, columns = torch.arange(4.0)[:, None], torch.arange(7.0)
    ramp = (0.01 * rows - 0.03 * columns).expand(1, 3, 4, 7)
    assert gradient_limit_loss(ramp).item() == pytest.approx(0.04, rel=1e-5)
    assert gradient_limit_loss(torch.full((1, 3, 4, 7), 0.3)) == 0


@given(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_embedding_loss_of_two_sources_is_equation_20(channels, h, w, seed):
    front, back = sources = uniform(2, channels, h, w, seed=seed)
    m = uniform(1, h, w, seed=seed + 1)
    m_hat = uniform(1, h, w, seed=seed + 2).round()
    literal = (
        (m - m_hat).abs() + (m_hat * front - front).abs() + ((1 - m_hat) * back - back).abs()
    ).mean()
    loss = embedding_loss(torch.stack([m_hat, 1 - m_hat]), sources, torch.stack([m, 1 - m]))
    assert loss.item() == pytest.approx(literal.item())


def test_embedding_loss_pulls_every_binary_pixel_to_the_measured_decision():
    bright = 0.6 + 0.4 * uniform(2, 3, 9, 8)
    m, m_hat = uniform(9, 8, seed=1).round(), uniform(9, 8, seed=2).round().requires_grad_()
    stacked = torch.stack([m_hat, 1 - m_hat])[:, None]
    loss = embedding_loss(stacked, bright, torch.stack([m, 1 - m])[:, None])
    (slope,) = torch.autograd.grad(loss, m_hat)
    assert ((slope < 0) == (m == 1)).all()


def test_gradients():
    sources, degraded = uniform(3, 1, 4, 5), uniform(1, 1, 4, 5, seed=1).requires_grad_()
    decision = uniform(3, 1, 4, 5, seed=2).softmax(0)
    target = strongest_laplacian(sources)
    refined = uniform(3, 1, 4, 5, seed=3).softmax(0).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: content_loss(x, sources, decision), degraded)
    assert torch.autograd.gradcheck(lambda x: joint_gradient_loss(x, target), degraded)
    assert torch.autograd.gradcheck(gradient_limit_loss, degraded)
    assert torch.autograd.gradcheck(lambda x: embedding_loss(x, sources, decision), refined)
