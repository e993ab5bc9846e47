"""Whatever a tree holds: an image is in one stack, or named among what is left out."""

import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from archive_parts import fill
from dfp_batch.archive.cuts import Count, Names
from dfp_batch.archive.find import find_stacks
from dfp_batch.errors import ManifestError
from dfp_batch.runs.manifest import id_problems

FOLDERS = ["", "a", "a/b", "A", "B", "source_1", "source_2", "s/near", "s/far", "stack 1"]
STEMS = ["1", "2", "3", "x", "x_A", "x_B", "x_C", "y_A", "y_B", "x-A", "x-B", "xA", "xB"]
STEMS += ["x_1", "x_2", "y1", "y2", "z_0", "z_1", "p_near", "p_far", "far_q", "near_q"]
NAME = st.sampled_from([f"{stem}{ending}" for stem in STEMS for ending in (".png", ".JPG")])
TREE = st.dictionaries(
    st.sampled_from(FOLDERS), st.sets(NAME, min_size=1, max_size=8), min_size=1, max_size=5
)
HOW = st.sampled_from([None, Count(2), Count(3), Names("(?P<pair>.+?)[_-]?(?P<z>.)")])


def named(path, lines):
    """Whether a path, a folder above it, or the row of names that it belongs to is in a line."""
    folder = path.rpartition("/")[0]
    steps = folder.split("/")
    above = {"/".join(steps[: count + 1]) + "/" for count in range(len(steps))}
    for line in lines:
        subject = line.partition(": ")[0]
        if path in subject.split(", ") or subject in above or " to " in subject:
            return True
    return False


@settings(max_examples=150, deadline=None)
@given(TREE, HOW)
def test_nothing_is_lost_and_nothing_is_there_twice(tree, how):
    root = f"memory://{uuid.uuid4().hex}"
    every = [f"{folder}/{name}".lstrip("/") for folder, names in tree.items() for name in names]
    fill(root, *every)
    try:
        found = find_stacks(root, how)
    except ManifestError:
        return
    used = [image.path for stack in found.stacks for image in stack.images]
    assert len(set(used)) == len(used)
    assert set(used) <= set(every)
    assert all(named(path, found.left_out) for path in set(every) - set(used)), found.left_out
    ids = [stack.pair_id for stack in found.stacks]
    assert len(set(ids)) == len(ids)
    assert not any(id_problems(one) for one in ids)
    assert all(len(stack.images) > 1 for stack in found.stacks)
    assert find_stacks(root, how) == found
