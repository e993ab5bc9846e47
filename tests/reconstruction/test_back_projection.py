import pytest
import torch

from dfp_batch.core.contracts import Compute
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.filters import plain_filters
from dfp_batch.core.image import enlarge
from dfp_batch.degradation.kernels import AnisotropicGaussian, Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.reconstruction.back_projection import BackProjection, project_back, projected_back
from method_parts import both

LANCZOS2 = Lanczos2()


def compute(on_iteration=lambda *_: None):
    return Compute(torch.Generator(), on_iteration=on_iteration)


def restore(low, scale, steps=10, kernel=LANCZOS2):
    """Back projection of two equal sources, so that fused = low whatever the decision."""
    h, w = low.shape[-2:]
    sources, decision = low.expand(2, -1, -1, -1), torch.full((2, 1, h, w), 0.5)
    return both(BackProjection(steps)(sources, decision, Degradation(scale, kernel), compute()))


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [0, 3])
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_image_has_the_exact_size_and_range(scale, steps, size, texture):
    contrast = (3 * (texture(*size) - 0.5) + 0.5).clamp(0, 1)  # the cubic overshoots here
    fused, residuals = restore(contrast, scale, steps)
    assert fused.shape == (1, 3, scale * size[0], scale * size[1])
    assert ((fused >= 0) & (fused <= 1)).all()
    assert residuals.shape == (steps if scale > 1 else 0,)


def test_scale_1_returns_the_fused_sources(scene):
    fused, residuals = both(
        BackProjection()(scene.sources, scene.decision, Degradation(1, Lanczos2()), compute())
    )
    assert torch.equal(fused, scene.truth)
    assert not len(residuals)


@pytest.mark.parametrize("kernel", ["bicubic", "lanczos"])
def test_kernel_is_used(kernel, scene):
    fused, _ = both(
        BackProjection(0, kernel)(
            scene.sources, scene.decision, Degradation(2, Lanczos2()), compute()
        )
    )
    blended = (scene.decision * scene.sources).sum(0, keepdim=True)
    assert torch.equal(fused, enlarge(blended, 2, kernel).clamp(0, 1))


def test_unknown_kernel_is_refused():
    message = "reconstruction.kernel must be one of bicubic, lanczos, got 'box'"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        BackProjection(kernel="box")


def test_no_steps_are_plain_bicubic(texture):
    low = texture(16, 20)
    fused, _ = restore(low, 2, steps=0)
    torch.testing.assert_close(fused, enlarge(low, 2).clamp(0, 1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_every_step_brings_the_image_nearer_to_its_sources(scale, texture):
    low = Degradation(scale, Lanczos2())(texture(16 * scale, 18 * scale))
    fused, residuals = restore(low, scale, steps=8)
    assert (residuals.diff() < 0).all()
    assert residuals[-1] < 0.25 * residuals[0]
    assert (Degradation(scale, Lanczos2())(fused) - low).abs().mean() < residuals[0]


def test_result_degrades_to_the_sources(texture, blur):
    low = blur(texture(24, 24), 1.0)
    fused, _ = restore(low, 2, steps=20)
    assert (Degradation(2, Lanczos2())(fused) - low).abs().max() < 2e-3


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_beats_bicubic_on_a_degraded_texture(scale, texture, blur, psnr_db):
    truth = blur(texture(48, 48), 0.4 * scale)
    low = Degradation(scale, Lanczos2())(truth)
    bicubic = psnr_db(restore(low, scale, steps=0)[0], truth)
    assert psnr_db(restore(low, scale)[0], truth) > bicubic + 0.5


@pytest.mark.parametrize(
    "kernel",
    [Bicubic(), Gaussian(0.3), Gaussian(0.8), Gaussian(1.8), AnisotropicGaussian(1.8, 0.6, 30)],
)
def test_the_kernel_that_made_the_sources_is_undone(kernel, texture, blur, psnr_db):
    truth = blur(texture(48, 48), 0.8)
    low = Degradation(2, kernel)(truth)
    bicubic, wrong = restore(low, 2, steps=0)[0], restore(low, 2)[0]
    right, residuals = restore(low, 2, kernel=kernel)
    assert (residuals.diff() < 0).all()
    assert psnr_db(right, truth) > psnr_db(bicubic, truth) + 0.5
    if kernel != Bicubic():  # which is nearly Lanczos2
        assert psnr_db(right, truth) > psnr_db(wrong, truth) + 0.2


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("sigma_px", [1.8, 4.0, 16.0])
def test_strong_blur_does_not_make_it_diverge(scale, sigma_px):
    """White noise, which no blur can have left: the worst case."""
    noise = torch.rand(1, 1, 16, 20, generator=torch.Generator().manual_seed(0))
    _, residuals = restore(noise, scale, steps=50, kernel=Gaussian(sigma_px))
    assert residuals.max() < 1.01 * residuals[0]
    assert residuals[-1] < residuals[0]


KERNELS = (Lanczos2(), Gaussian(0.7), Gaussian(2.5), AnisotropicGaussian(1.8, 0.6, 30))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("up", ["bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(90, 71), (44, 90), (9, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_steps_at_source_size_are_those_of_the_enlargement(scale, kernel, up, size, channels):
    low = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(scale))
    degrade = Degradation(scale, kernel)
    back, residuals = projected_back(low, degrade, 7, up)
    with plain_filters():
        plain, _ = projected_back(low, degrade, 7, up)
    torch.testing.assert_close(back, plain, rtol=0, atol=3e-5)
    enlarged, theirs = project_back(enlarge(low, scale, up), low, degrade, 7, up)
    torch.testing.assert_close(enlarge(back, scale, up), enlarged, rtol=0, atol=3e-5)
    torch.testing.assert_close(residuals, theirs, rtol=0, atol=1e-6)


def test_progress_is_told_after_every_step(scene):
    told = []
    how = compute(lambda *event: told.append(event))
    both(BackProjection(3)(scene.sources, scene.decision, Degradation(2, Lanczos2()), how))
    assert told == [("back projection", k, 3) for k in (1, 2, 3)]


def test_negative_steps_are_refused():
    with pytest.raises(ConfigError, match=r"^reconstruction\.steps must be >= 0, got -1$"):
        BackProjection(-1)
