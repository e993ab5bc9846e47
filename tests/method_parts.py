"""What the parts of the method are called with in tests."""

import torch

from dfp_batch.core.contracts import Compute, Sources, ignore_progress

CERTAIN = torch.ones(1, 1, 1)  # of a decision everywhere


def compute(seed=0, dtype=torch.float32, on_iteration=ignore_progress, halvings=0):
    """On the CPU, from a seed."""
    return Compute(torch.Generator().manual_seed(seed), dtype, on_iteration, halvings)


class OneByOne(Sources):
    """Sources that are made when they are asked for, and remember which and how."""

    def __init__(self, images):
        self.images = images
        self.asked = []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.images[index].clone()


class Lazy:
    """Images that are made when they are asked for; notes which."""

    def __init__(self, count, make):
        self.count = count
        self.make = make
        self.asked = []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.asked.append(index)
        return self.make(index)


def both(solution):
    """Image and losses of what a reconstruction has made."""
    return solution.image, solution.losses
