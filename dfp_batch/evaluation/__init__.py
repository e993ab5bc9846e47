"""Which method is better: every method scored on every item of a set, in the paper's protocol."""

from dfp_batch.evaluation.archive import Archive
from dfp_batch.evaluation.methods import (
    External,
    Method,
    named_methods,
    split_externals,
    split_names,
)
from dfp_batch.evaluation.run import Options, evaluate, split_scales
from dfp_batch.evaluation.scenes import Scenes
from dfp_batch.evaluation.sets import item_set
from dfp_batch.evaluation.store import Evaluation

__all__ = [
    "Archive",
    "Evaluation",
    "External",
    "Method",
    "Options",
    "Scenes",
    "evaluate",
    "item_set",
    "named_methods",
    "split_externals",
    "split_names",
    "split_scales",
]
