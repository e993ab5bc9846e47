"""The paper's decision embedding, Eq. (20) and Algorithm 2."""

from dataclasses import dataclass, field

from torch import Tensor

from dfp_batch.core.contracts import Compute, NetworkSpec, Refinement, Sources
from dfp_batch.core.decision import one_hot
from dfp_batch.core.part import Count, Positive
from dfp_batch.core.sources import whole
from dfp_batch.networks.fitting import Fit, Schedule, minimise
from dfp_batch.networks.skip_net import SkipNet


def embedding_loss(refined: Tensor, sources: Tensor, decision: Tensor) -> Tensor:
    """Distance of a refined decision to the measured one and to the source content, Eq. (20).

    For N = 2 this is the paper's ``|m - m_hat| + |m_hat I_f - I_f| + |(1 - m_hat) I_b - I_b|``.

    Differs from the paper in the derivative, not in the value: a binary m_hat sits on the kinks of
    these absolute values, where their derivative counts as zero, and what is left of it pushes
    every right pixel away, the brighter the harder. Written without the bars, which a m_hat in
    [0, 1] and images >= 0 allow, the derivative is the one-sided one and points to m.

    Args:
        refined: m_hat, (N, 1, h, w), binary, sums to 1 over N.
        sources: (N, C, h, w), in [0, 1].
        decision: m, (N, 1, h, w), sums to 1 over N.

    Returns:
        Scalar >= 0.
    """
    label = 0.5 * (decision * (1 - refined) + (1 - decision) * refined).sum(0).mean()
    content = ((1 - refined) * sources).sum(0).mean()
    return label + content  # Eq. (20)


@dataclass(frozen=True)
class DecisionEmbedding(Refinement):
    """The paper's decision embedding, Eq. (20) and Algorithm 2.

    A SKIPnet makes m_hat from the average of the sources; m_hat is binarised in the loop.

    Differs from the paper: the binarisation passes its gradient straight through (Bengio et al.,
    2013) - without that it has none; and N outputs with an argmax stand for one output and its
    complement, which is the same for N = 2.

    Attributes:
        iterations: K of Algorithm 2.
        learning_rate: Of Adam.
        network: The generator of the decision.

    Raises:
        ConfigError: for a field out of its range.
    """

    iterations: Count = 500
    learning_rate: Positive = 1e-3
    network: NetworkSpec = field(default_factory=SkipNet)

    @property
    def needs_all(self) -> bool:
        """It averages them, and compares with every one in every iteration."""
        return True

    def __call__(self, sources: Sources, decision: Tensor, compute: Compute) -> Tensor:
        """Decision (N, 1, h, w) in {0, 1}, sums to 1 over N."""
        stack = whole(sources).to(decision.device)
        fit = Fit.start(self.network, stack.mean(0, keepdim=True), len(stack), compute)
        schedule = Schedule(self.iterations, self.learning_rate)
        minimise(
            fit,
            lambda logits: embedding_loss(binarise(logits), stack, decision),
            schedule,
            compute,
            "decision",
        )
        return binarise(fit.solution(compute, "decision"))


def binarise(logits: Tensor) -> Tensor:
    """Binary decision (N, 1, h, w) of logits (1, N, h, w), with the gradient of the softmax."""
    soft = logits.softmax(1)[0].unsqueeze(1)
    hard = one_hot(logits[0].argmax(0), logits.shape[1])
    return hard + (soft - soft.detach())  # exactly hard: the bracket is 0
