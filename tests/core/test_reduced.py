"""Sources made smaller."""

import torch

from dfp_batch.core.filters import resize_by_area
from dfp_batch.core.sources import reduced
from method_parts import OneByOne


class Half(OneByOne):
    """Of which the second shows the left half."""

    def covered(self, index):
        return (torch.arange(16) < 8).float().expand(1, 16, 16) if index else None


def test_sources_are_looked_at_once_whoever_asks():
    images = torch.rand(3, 3, 16, 16)
    sources = OneByOne(images)
    first, second = reduced(sources, 4), reduced(sources, 4, 1)
    assert sources.asked == [0, 1, 2]
    torch.testing.assert_close(first.images[1], resize_by_area(images[1], (4, 4)))
    assert torch.equal(first.images, second.images)


def test_what_is_near_what_a_source_does_not_show_is_not_shown():
    sources = Half(torch.rand(2, 1, 16, 16))
    for margin_px, columns in ((0, 2), (1, 1)):
        small = reduced(sources, 4, margin_px)
        assert small.covered(0) is None
        assert small.covered(1)[0, 0].tolist() == [1.0] * columns + [0.0] * (4 - columns)
