"""The contract of every network that is fitted to an item."""

import pytest
import torch
from implementations import every

every_network = every("network")


@every_network
@pytest.mark.parametrize(("inputs", "outputs"), [(3, 3), (32, 1), (1, 5)])
def test_it_takes_any_size_that_it_says_it_takes(part, inputs, outputs):
    network = part.build((inputs, outputs), torch.Generator().manual_seed(0))
    least = -(-part.minimum_px // part.size_multiple) * part.size_multiple
    for h, w in ((least, least), (least + part.size_multiple, least)):
        logits = network(torch.rand(1, inputs, h, w, generator=torch.Generator().manual_seed(1)))
        assert logits.shape == (1, outputs, h, w)
        assert logits.isfinite().all()


@every_network
def test_its_weights_come_from_the_generator_alone(part):
    before = torch.get_rng_state()
    one, same, other = (
        part.build((3, 3), torch.Generator().manual_seed(seed)).state_dict() for seed in (1, 1, 2)
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.get_rng_state(), before)
