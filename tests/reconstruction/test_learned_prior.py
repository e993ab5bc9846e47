import re
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from dfp_batch.config.building import built, describe
from dfp_batch.core.contracts import Compute, Reconstruction
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import luma
from dfp_batch.degradation.kernels import Bicubic, Gaussian, Lanczos2
from dfp_batch.errors import ConfigError
from dfp_batch.networks.prior_network import ENLARGEMENTS, PriorSpec
from dfp_batch.networks.weights import PRIORS, grow, load_prior, save_prior
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.reconstruction.learned_prior import LearnedPrior, initial_enlargement
from dfp_batch.synthetic import procedural_image
from method_parts import both
from method_parts import compute as in_parts

CPU = torch.device("cpu")
SMALL = PriorSpec(width=8, blocks=2)


def compute(dtype=torch.float32):
    return Compute(torch.Generator(), dtype)


def uniform(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def trained(spec=SMALL, seed=0):
    """A network whose tails are not zero, as if it had learnt something."""
    network = spec.build(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for tail in network.tails.parameters():
            tail.uniform_(-0.1, 0.1, generator=torch.Generator().manual_seed(seed))
    return network


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_prior(path, SMALL, trained().state_dict())
    return str(path)


def alone(low, scale, part, dtype=torch.float32):
    """One source, everywhere in focus."""
    return both(
        part(low, torch.ones_like(low[:, :1]), Degradation(scale, Lanczos2()), compute(dtype))
    )


def inputs(size, scale):
    low = uniform(1, 1, *size)
    degrade = Degradation(scale, Lanczos2())
    return low, initial_enlargement(low, degrade), degrade.kernel.code(scale)[None]


# The network


@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_a_fresh_network_gives_back_its_enlargement(scale):
    network = SMALL.build(torch.Generator().manual_seed(0))
    low, projected, code = inputs((16, 19), scale)
    torch.testing.assert_close(network(low, projected, code), projected)


@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_every_weight_that_a_scale_uses_learns(scale):
    network = trained()
    low, projected, code = inputs((16, 16), scale)
    network(low, projected, code).square().mean().backward()
    used = [f"heads.x{scale}.", f"tails.x{scale}.", "trunk."]
    for name, weight in network.named_parameters():
        assert (weight.grad is not None and bool(weight.grad.any())) == name.startswith(
            tuple(used)
        ), name


@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_the_halo_is_what_a_pixel_depends_on(scale):
    network = trained()
    low, projected, code = inputs((32, 32), scale)
    low.requires_grad_()
    centre = network(low, projected, code)[..., 16 * scale, 16 * scale].sum()
    reached = torch.autograd.grad(centre, low)[0][0, 0].nonzero()
    assert (reached - 16).abs().max() == network.halo_px == 6


def test_the_code_of_the_kernel_matters():
    network = trained()
    low, projected, code = inputs((16, 16), 2)
    other = Gaussian(1.8).code(2)[None]
    assert not torch.allclose(network(low, projected, code), network(low, projected, other))


def test_same_seed_same_weights_and_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    first, same, other = (
        SMALL.build(torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("fields", [{"width": 0}, {"blocks": -1}])
def test_impossible_networks_are_refused(fields):
    spec = {"width": 64, "blocks": 8} | fields
    message = f"width and blocks must be >= 1, got {spec['width']} and {spec['blocks']}"
    with pytest.raises(ConfigError, match=f"^{message}$"):
        PriorSpec(**spec)


# The file


def test_weights_survive_the_file_and_are_fixed(weights):
    written, read = trained().state_dict(), load_prior(weights, CPU)
    for name, weight in read.named_parameters():
        assert not weight.requires_grad
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight.data, written[name], rtol=1e-3, atol=1e-6)


def test_the_network_is_built_once(weights):
    assert LearnedPrior(weights).build(CPU) is LearnedPrior(weights).build(CPU)


@pytest.mark.parametrize("content", [None, b"", b"no weights", b"\x08" + 7 * b"\x00" + b'{"a":{}}'])
def test_a_file_without_weights_is_refused(tmp_path, content):
    path = tmp_path / "broken.safetensors"
    if content is not None:
        path.write_bytes(content)
    message = f"^{re.escape(str(path))}: must be weights written by train_prior.py: "
    with pytest.raises(ConfigError, match=message):
        LearnedPrior(str(path)).build(CPU)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_prior(path, replace(SMALL, width=4), trained().state_dict())
    with pytest.raises(ConfigError, match="holds other weights than a prior's"):
        LearnedPrior(str(path)).build(CPU)


def test_a_deeper_network_can_begin_as_the_same(weights):
    deeper = replace(SMALL, blocks=4).build(torch.Generator())
    grow(deeper, weights)
    low, high, code = uniform(1, 1, 9, 7), uniform(1, 1, 18, 14, seed=1), uniform(1, 8, seed=2)
    expected = load_prior(weights, CPU)(low, high, code)
    torch.testing.assert_close(deeper(low, high, code), expected)
    deeper(low, high, code).sum().backward()
    assert all(block.second.weight.grad.any() for block in deeper.trunk)


@pytest.mark.parametrize("spec", [replace(SMALL, blocks=1), replace(SMALL, width=16)])
def test_a_network_does_not_grow_to_a_shallower_or_wider_one(weights, spec):
    with pytest.raises(ConfigError, match="has 2 blocks of 8 channels, which cannot grow to"):
        grow(spec.build(torch.Generator()), weights)


# The reconstruction


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (17, 23)])
def test_image_has_the_exact_size_and_range(weights, channels, scale, size):
    low = uniform(1, channels, *size).round()
    fused, residuals = alone(low, scale, LearnedPrior(weights, 2))
    assert fused.shape == (1, channels, scale * size[0], scale * size[1])
    assert ((fused >= 0) & (fused <= 1)).all()
    assert residuals.shape == (2 if scale > 1 else 0,)


def test_scale_1_is_the_blended_sources(weights, scene):
    fused, _ = both(
        LearnedPrior(weights)(scene.sources, scene.decision, Degradation(1, Lanczos2()), compute())
    )
    assert torch.equal(fused, (scene.decision * scene.sources).sum(0, keepdim=True))


@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_grey_stays_grey(weights, scale, texture):
    grey = texture(20, 22, channels=1)
    colour, _ = alone(grey.expand(-1, 3, -1, -1), scale, LearnedPrior(weights))
    expected, _ = alone(grey, scale, LearnedPrior(weights))
    torch.testing.assert_close(colour, expected.expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_detail_is_the_same_in_all_channels(weights, texture):
    low = 0.4 + 0.2 * texture(24, 24)
    fused, _ = alone(low, 2, LearnedPrior(weights, final_steps=0))
    plain, _ = alone(low, 2, BackProjection())
    added = fused - plain
    assert added.abs().max() > 1e-3
    torch.testing.assert_close(added, luma(added).expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("scale", ENLARGEMENTS)
@pytest.mark.parametrize("size", [(170, 30), (95, 167)])
def test_in_tiles_it_is_the_whole(weights, scale, size):
    """Of 320 px there is one, of a quarter of that there are several."""
    low, prior = uniform(1, 3, *size), LearnedPrior(weights)
    degrade, everywhere = Degradation(scale, Lanczos2()), torch.ones(1, 1, *size)
    whole, tiled = (
        prior(low, everywhere, degrade, how).image for how in (compute(), in_parts(halvings=2))
    )
    torch.testing.assert_close(tiled, whole, atol=5e-5, rtol=0)  # of places between pixels at x3


@pytest.mark.parametrize(("noise", "share"), [(0.0, 0.5), (0.02, 1.0)])
def test_the_final_steps_bring_it_nearer_to_its_sources_but_for_noise(noise, share, weights):
    shades = torch.from_numpy(procedural_image(128, 0))[None]
    low = functional.avg_pool2d(Degradation(2, Lanczos2())(shades), 3, 1)
    low = low + noise * torch.randn(low.shape, generator=torch.Generator().manual_seed(0))
    far, near = (
        (Degradation(2, Lanczos2())(alone(low, 2, LearnedPrior(weights, steps))[0]) - low)
        .abs()
        .mean()
        for steps in (0, 3)
    )
    assert near <= share * far
    assert (near == far) == (share == 1)


def test_bf16_is_nearly_the_same(weights, texture):
    low = texture(32, 32)
    exact, _ = alone(low, 2, LearnedPrior(weights))
    rough, _ = alone(low, 2, LearnedPrior(weights), torch.bfloat16)
    assert 0 < (rough - exact).abs().max() < 0.02


def test_it_can_be_named_in_a_configuration():
    part = built(
        Reconstruction,
        BackProjection(),
        {"use": "learned-prior", "final_steps": 2},
        "reconstruction",
    )
    assert part == LearnedPrior(final_steps=2)
    assert describe(part) == {"use": "learned-prior", "weights": "small", "final_steps": 2}


def test_negative_steps_are_refused():
    with pytest.raises(ConfigError, match=r"^reconstruction.final_steps must be >= 0, got -1$"):
        LearnedPrior(final_steps=-1)


# The weights that come with the package


def test_the_weights_are_small_and_say_how_they_were_made():
    assert sum(path.stat().st_size for path in PRIORS.values()) <= 4e6
    for path in PRIORS.values():
        card = path.with_suffix(".md").read_text()
        assert "python jobs/train_prior.py" in card
        assert "no\nphotograph" in card


@pytest.fixture(scope="module")
def shapes():
    """A disc and bars, (1, 1, 96, 96) in [0, 1]."""
    rows, columns = torch.meshgrid(torch.arange(192.0), torch.arange(192.0), indexing="ij")
    disc = ((rows - 80) ** 2 + (columns - 100) ** 2 < 3600).float()
    bars = ((rows + 2 * columns) % 120 < 28).float()
    return functional.avg_pool2d((0.2 + 0.4 * disc + 0.3 * bars)[None, None], 2)


@pytest.fixture(params=PRIORS)
def shipped(request):
    """One of the networks that come with the package."""
    return LearnedPrior(request.param).build(CPU)


def restored(network, low, degrade):
    """By back projection, and by the network."""
    projected = initial_enlargement(low, degrade)
    code = degrade.kernel.code(degrade.scale)[None]
    with torch.no_grad():
        return projected, network(low, projected, code)


@pytest.mark.parametrize("kernel", [Lanczos2(), Bicubic(), Gaussian(1.0)])
@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_they_beat_back_projection(shipped, scale, kernel, shapes, psnr_db):
    degrade = Degradation(scale, kernel)
    projected, learned = restored(shipped, degrade(shapes), degrade)
    assert psnr_db(learned, shapes) > psnr_db(projected, shapes) + 1


@pytest.mark.parametrize("scale", ENLARGEMENTS)
def test_they_do_not_sharpen_noise(shipped, scale):
    noise = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    low = 0.5 + 0.01 * noise
    projected, learned = restored(shipped, low, Degradation(scale, Lanczos2()))
    assert learned.std() < 0.5 * projected.std()
    assert learned.std() < low.std()
