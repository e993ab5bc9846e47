import pytest
import torch
from torch import nn

from dfp_batch.core.image import round_up
from dfp_batch.errors import ConfigError
from dfp_batch.networks.skip_net import SkipNet, doubled

SMALL = SkipNet(widths=(4, 8), skip_width=2)


def build(spec, channels=(3, 3), seed=0):
    return spec.build(channels, torch.Generator().manual_seed(seed))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


def uniform(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (6, 4)])
def test_doubled_is_bilinear_and_so_is_its_gradient(size):
    features = uniform(2, 3, *size).requires_grad_()
    upstream = uniform(2, 3, *(2 * side for side in size)) - 0.5
    bilinear = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    (found, its_gradient), (expected, gradient) = (
        (image := enlarge(features), torch.autograd.grad(image, features, upstream)[0])
        for enlarge in (doubled, bilinear)
    )
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(its_gradient, gradient)


def test_size_of_the_paper():
    assert parameters(build(SkipNet())) == pytest.approx(2.07e6, rel=0.005)


def test_two_3x3_kernels_are_fewer_parameters_than_one_5x5():
    assert parameters(build(SkipNet(two_3x3=True))) < 0.75 * parameters(build(SkipNet()))


@pytest.mark.parametrize("two_3x3", [False, True])
@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 64)])
def test_output_has_the_size_of_the_input(size, two_3x3):
    network = build(SkipNet(two_3x3=two_3x3), (32, 2))
    with torch.no_grad():
        assert network(uniform(1, 32, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(
    ("kernel_px", "two_3x3"),
    [(1, False), (3, False), (5, False), (5, True), (9, False), (13, False)],
)
def test_smallest_size_it_names_is_enough(kernel_px, two_3x3, depth):
    spec = SkipNet(kernel_px, two_3x3, widths=(4,) * depth)
    size = round_up(1, spec.size_multiple, spec.minimum_px)
    output = build(spec)(uniform(1, 3, size, size))
    assert output.shape == (1, 3, size, size)
    assert output.isfinite().all()
    assert output.std() > 0


def test_same_generator_seed_same_weights():
    first, same, other = (build(SMALL, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_second_network_of_one_generator_is_another():
    generator = torch.Generator().manual_seed(0)
    first, second = (SMALL.build((3, 3), generator).state_dict() for _ in range(2))
    assert not torch.equal(first["1.weight"], second["1.weight"])


def test_global_random_state_is_neither_read_nor_moved():
    with torch.random.fork_rng(devices=[]):
        weights = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            weights.append(build(SMALL).state_dict())
            assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_every_weight_is_initialised_as_pytorch_does():
    network = build(SMALL)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            bound = module.weight[0].numel() ** -0.5
            assert module.weight.abs().max() <= bound
            assert module.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.5)
        elif isinstance(module, nn.BatchNorm2d):
            assert (module.weight == 1).all()
            assert (module.bias == 0).all()
        else:
            assert not list(module.parameters(recurse=False))


def test_norms_keep_no_statistics():
    network = build(SMALL)
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.track_running_stats or m.running_mean is not None for m in norms)
    assert not list(network.buffers())
    image = uniform(1, 3, 16, 16)
    assert torch.equal(network(image), network(image))


def test_every_weight_has_a_gradient():
    network = build(SMALL)
    target = uniform(1, 3, 16, 16)
    (network(target) - target).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_facts_follow_from_the_depth_and_the_kernel():
    assert (SkipNet().size_multiple, SkipNet().minimum_px) == (32, 64)
    assert (SMALL.size_multiple, SMALL.minimum_px) == (4, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kernel_px": 4}, "network.kernel_px must be >= 1 and odd, got 4"),
        ({"kernel_px": -1}, "network.kernel_px must be >= 1 and odd, got -1"),
        (
            {"kernel_px": 3, "two_3x3": True},
            "network.two_3x3 replaces 5x5 kernels, got kernel_px 3",
        ),
        ({"widths": ()}, "network.widths must name one channel count or more, got none"),
        ({"widths": (8, 0)}, "network.widths must be >= 1, got 0"),
        ({"skip_width": 0}, "network.skip_width must be >= 1, got 0"),
    ],
)
def test_impossible_networks_are_refused(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        SkipNet(**fields)
