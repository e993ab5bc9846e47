from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dfp_batch.core.contracts import Compute
from dfp_batch.core.degradation import Degradation
from dfp_batch.core.image import enlarge, luma
from dfp_batch.degradation.kernels import Gaussian, Lanczos2
from dfp_batch.errors import ConfigError, DivergedError
from dfp_batch.networks.fitting import Fit, Schedule, minimise
from dfp_batch.networks.skip_net import SkipNet
from dfp_batch.reconstruction.deep_fusion_prior import DeepFusionPrior
from dfp_batch.reconstruction.deep_image_prior import DeepImagePrior
from dfp_batch.reconstruction.losses import (
    content_loss,
    gradient_limit_loss,
    joint_gradient_loss,
    strongest_laplacian,
)
from dfp_batch.refinement.decision_embedding import DecisionEmbedding
from method_parts import both

SMALL = SkipNet(widths=(8, 16), skip_width=2)
# Reads of device values, and (lift_fresh) host values made into tensors: blocking copies on a GPU.
HOST_READS = (
    "_local_scalar_dense",
    "nonzero",
    "is_nonzero",
    "equal",
    "masked_select",
    "lift_fresh",
)
PRECISIONS = [torch.float32, torch.bfloat16]


def compute(seed=0, dtype=torch.float32, on_iteration=lambda *_: None):
    return Compute(torch.Generator().manual_seed(seed), dtype, on_iteration)


def prior(iterations=3, **fields):
    return DeepFusionPrior(**{"iterations": iterations, "network": SMALL, **fields})


@pytest.fixture(scope="module")
def crop(scene):
    """Sources (2, 3, 24, 20) around the border of the decision (2, 1, 24, 20)."""
    window = (..., slice(0, 24), slice(22, 42))
    return scene.sources[window], scene.decision[window]


class Operators(TorchDispatchMode):
    """Counts the operators that run, and keeps the dtypes of the batch norms."""

    def __init__(self):
        super().__init__()
        self.count = Counter()
        self.norm_inputs, self.norm_statistics = set(), set()

    def __torch_dispatch__(self, func, _types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.count[name] += 1
        if "batch_norm" in name and "backward" not in name:
            self.norm_inputs.add(args[0].dtype)
            self.norm_statistics |= {statistic.dtype for statistic in result[1:3]}
        return result

    @property
    def host_reads(self):
        return sum(self.count[name] for name in HOST_READS)


def operators_of(run):
    with Operators() as operators:
        run()
    return operators


# The loop.


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_loss_falls(crop, dtype):
    _, losses = both(
        prior(40, learning_rate=1e-2)(*crop, Degradation(2, Lanczos2()), compute(dtype=dtype))
    )
    assert losses.shape == (40,)
    assert losses.dtype == torch.float32
    assert losses[-5:].mean() < 0.5 * losses[0]


def test_same_seed_same_image_other_seed_other_image(crop):
    first, same, other = (
        both(prior()(*crop, Degradation(2, Lanczos2()), compute(seed)))[0] for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("network_input", ["average", "noise"])
def test_image_has_the_exact_size_and_range(crop, network_input, dtype, scale):
    reconstruction = prior(network_input=network_input)
    fused, losses = both(
        reconstruction(*crop, Degradation(scale, Lanczos2()), compute(dtype=dtype))
    )
    assert fused.shape == (1, 3, 24 * scale, 20 * scale)
    assert fused.dtype == torch.float32
    assert ((fused >= 0) & (fused <= 1)).all()
    assert losses.isfinite().all()
    assert not fused.requires_grad


def test_bf16_and_fp32_agree_roughly_but_not_exactly(crop):
    fp32, bf16 = (
        both(prior(10)(*crop, Degradation(2, Lanczos2()), compute(dtype=dtype)))[0]
        for dtype in PRECISIONS
    )
    assert 0 < (fp32 - bf16).abs().mean() < 0.03


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_weights_optimiser_statistics_and_losses_are_float32(crop, dtype, monkeypatch):
    optimisers, losses = [], []

    class Recorded(torch.optim.Adam):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            optimisers.append(self)

    def objective(logits):
        losses.append(logits.square().mean())
        return losses[-1]

    monkeypatch.setattr(torch.optim, "Adam", Recorded)
    how = compute(dtype=dtype)
    fit = Fit.start(SMALL, crop[0].mean(0, keepdim=True), 3, how)
    operators = operators_of(lambda: minimise(fit, objective, Schedule(2, 1e-3), how, "test"))
    (optimiser,) = optimisers
    state = [value for entry in optimiser.state.values() for value in entry.values()]
    assert {tensor.dtype for tensor in state} == {torch.float32}
    assert {p.dtype for p in fit.network.parameters()} == {torch.float32}
    assert {p.grad.dtype for p in fit.network.parameters()} == {torch.float32}
    assert {loss.dtype for loss in losses} == {torch.float32}
    assert operators.norm_statistics == {torch.float32}
    assert operators.norm_inputs == {dtype}  # and yet the layers ran in the precision asked for


@pytest.mark.parametrize(
    "run",
    [
        pytest.param(
            lambda crop, k, how: both(prior(k)(*crop, Degradation(2, Lanczos2()), how)),
            id="deep-fusion-prior",
        ),
        pytest.param(
            lambda crop, k, how: DecisionEmbedding(k, network=SMALL)(*crop, how),
            id="decision-embedding",
        ),
    ],
)
@pytest.mark.parametrize("dtype", PRECISIONS)
def test_iterations_never_wait_for_the_device(crop, run, dtype):
    few, many = (operators_of(lambda k=k: run(crop, k, compute(dtype=dtype))) for k in (2, 6))
    assert many.count["convolution"] > 2 * few.count["convolution"]  # the loop was seen
    assert many.host_reads == few.host_reads > 0  # the check at the end


def test_a_callback_that_reads_the_device_would_be_seen(crop):
    def reads(*_):
        torch.ones(1).item()

    few, many = (
        operators_of(
            lambda k=k: both(
                prior(k)(*crop, Degradation(1, Lanczos2()), compute(on_iteration=reads))
            )
        )
        for k in (1, 3)
    )
    assert many.host_reads == few.host_reads + 2


def test_progress_is_told_after_every_iteration(crop):
    told = []
    how = compute(on_iteration=lambda *event: told.append(event))
    DecisionEmbedding(2, network=SMALL)(*crop, how)
    both(prior(3)(*crop, Degradation(1, Lanczos2()), how))
    assert told == [
        *(("decision", k, 2) for k in (1, 2)),
        *(("fusion", k, 3) for k in (1, 2, 3)),
    ]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_loss_that_is_not_finite_is_reported_with_its_iteration(crop, bad):
    calls = []

    def objective(logits):
        calls.append(1)
        return logits.mean() * (bad if len(calls) >= 3 else 1)

    fit = Fit.start(SMALL, crop[0].mean(0, keepdim=True), 3, compute())
    message = (
        "^fusion: loss is not finite from iteration 3 of 5; "
        "lower the learning rate or use --precision fp32$"
    )
    with pytest.raises(DivergedError, match=message):
        minimise(fit, objective, Schedule(5, 1e-3), compute(), "fusion")


@pytest.mark.parametrize(
    ("stage", "run"),
    [
        (
            "fusion",
            lambda crop: both(
                prior(1, learning_rate=1e38)(*crop, Degradation(1, Lanczos2()), compute())
            ),
        ),
        ("decision", lambda crop: DecisionEmbedding(1, 1e38, SMALL)(*crop, compute())),
    ],
)
def test_divergence_in_the_last_step_is_reported(crop, stage, run):
    """The losses precede the steps: no loss shows what the last step did."""
    with pytest.raises(DivergedError, match=f"^{stage}: the result is not finite; lower the"):
        run(crop)


# The problem.


def test_network_sees_the_average_enlarged_and_padded(crop):
    sources, _ = crop
    average = enlarge(sources, 2).mean(0, keepdim=True)
    fit = Fit.start(SkipNet(widths=(4,) * 5), average, 3, compute())
    assert fit.inputs.shape == (1, 3, 64, 64)
    assert torch.equal(fit.inputs[..., :48, :40], average)
    assert fit.logits(compute()).shape == (1, 3, 48, 40)


@pytest.mark.parametrize("scale", [1, 2])
def test_deep_image_prior_fits_the_merged_sources(crop, scale):
    single = DeepImagePrior(iterations=150, learning_rate=5e-3, network=SMALL)
    sources = crop[0][:1]
    decision = torch.ones(1, 1, *sources.shape[-2:])
    generator = torch.Generator().manual_seed(0)
    degrade = Degradation(scale, Lanczos2())
    fused, losses = both(single(sources, decision, degrade, Compute(generator)))
    h, w = sources.shape[-2:]
    assert fused.shape == (1, 3, scale * h, scale * w)
    assert losses.shape == (150,)
    assert losses[-10:].mean() < 0.2 * losses[0]
    error = torch.nn.functional.mse_loss(Degradation(scale, Lanczos2())(fused), sources)
    assert error < 2 * losses[-10:].mean()


def test_the_kernel_is_part_of_the_objective(crop):
    images = [
        both(prior(10, learning_rate=1e-2)(*crop, Degradation(2, kernel), compute()))[0]
        for kernel in (Lanczos2(), Gaussian(1.5))
    ]
    assert not torch.equal(*images)
    single = DeepImagePrior(iterations=150, learning_rate=5e-3, network=SMALL)
    degrade = Degradation(2, Gaussian(1.5))
    sources = crop[0][:1]
    ones = torch.ones(1, 1, *sources.shape[-2:])
    fused, losses = both(single(sources, ones, degrade, compute()))
    assert torch.nn.functional.mse_loss(degrade(fused), sources) < 2 * losses[-10:].mean()


def test_noise_input_is_drawn_from_the_generator(crop):
    reconstruction = prior(1, network_input="noise")
    first, same, other = (
        both(reconstruction(*crop, Degradation(1, Lanczos2()), compute(seed)))[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first, both(prior(1)(*crop, Degradation(1, Lanczos2()), compute(1)))[0])


def test_objective_is_equation_21(crop):
    sources, decision = crop
    logits = torch.randn(1, 3, 24, 20, generator=torch.Generator().manual_seed(0))
    image = logits.sigmoid()
    edges = strongest_laplacian(luma(sources))
    expected = (
        1.0 * content_loss(image, sources, decision)
        + 0.5 * joint_gradient_loss(luma(image), edges)
        + 0.1 * gradient_limit_loss(image)
    )
    torch.testing.assert_close(
        prior().objective(sources, decision, Degradation(1, Lanczos2()))(logits), expected
    )


def test_objective_prefers_the_truth_to_either_source(scene):
    objective = prior().objective(scene.sources, scene.decision, Degradation(1, Lanczos2()))
    truth, first, second = (
        objective(torch.logit(image)).item()
        for image in (scene.truth, scene.sources[:1], scene.sources[1:])
    )
    assert truth < 0.7 * min(first, second)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iterations": 0}, "reconstruction.iterations must be >= 1, got 0"),
        ({"learning_rate": -1e-3}, "reconstruction.learning_rate must be > 0, got -0.001"),
        ({"content_weight": -1}, "reconstruction.content_weight must be >= 0, got -1"),
        (
            {"joint_gradient_weight": -1},
            "reconstruction.joint_gradient_weight must be >= 0, got -1",
        ),
        (
            {"gradient_limit_weight": -1},
            "reconstruction.gradient_limit_weight must be >= 0, got -1",
        ),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ConfigError, match=f"^{message}$"):
        DeepFusionPrior(**fields)
