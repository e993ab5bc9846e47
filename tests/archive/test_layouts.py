"""Layouts at any depth, several of them in one tree, and the namings of public sets."""

import pytest

from archive_parts import fill, left_out, show, stacks, tiff
from dfp_batch.archive.endings import by_letter, by_number, by_other_letter, by_word
from dfp_batch.archive.stacks import Image
from dfp_batch.errors import ObjectMissingError
from dfp_batch.io.storage import write_bytes
from dfp_batch.io.urls import join


@pytest.fixture
def root(tmp_path):
    return str(tmp_path / "archive")


def test_each_folder_with_frames_is_a_stack_named_by_its_path(root):
    fill(root, "beetle/stack_01/1.jpg", "beetle/stack_01/2.jpg", "wasp/a/b/c/1.png")
    fill(root, "wasp/a/b/c/2.png", "beetle/note.txt", "alone/1.jpg", "film/1.mov", "film/2.mov")
    assert stacks(root) == {
        "beetle/stack_01": ["beetle/stack_01/1.jpg", "beetle/stack_01/2.jpg"],
        "wasp/a/b/c": ["wasp/a/b/c/1.png", "wasp/a/b/c/2.png"],
    }
    assert left_out(root) == [
        "alone/: holds 1 image, at least 2 are needed",
        "film/: holds 0 images (2 .mov), at least 2 are needed",
    ]


def test_several_layouts_in_one_tree(root):
    fill(root, "x_A.jpg", "x_B.jpg", "s/1.jpg", "s/2.jpg", "s/deeper/1.jpg", "s/deeper/2.jpg")
    fill(root, "day/p_A.jpg", "day/p_B.jpg", "day/q_A.jpg", "day/q_B.jpg", "day/q_C.jpg")
    fill(root, "near and far/p_near.jpg", "near and far/p_far.jpg", "near and far/q-mid.jpg")
    fill(root, "near and far/q-near.jpg", "near and far/q-far.jpg", "near and far/plan.jpg")
    fill(root, "n/g_01_1.png", "n/g_01_2.png", "n/g_02_1.png", "n/g_02_2.png")
    write_bytes(join(root, "cells/one.ome.tif"), tiff(3))
    write_bytes(join(root, "cells/two.tif"), tiff(2))
    write_bytes(join(root, "cells/plan.tif"), tiff(1))
    assert stacks(root) == {
        "cells/one": ["cells/one.ome.tif"],
        "cells/two": ["cells/two.tif"],
        "day/p": ["day/p_A.jpg", "day/p_B.jpg"],
        "day/q": ["day/q_A.jpg", "day/q_B.jpg", "day/q_C.jpg"],
        "n/g_01": ["n/g_01_1.png", "n/g_01_2.png"],
        "n/g_02": ["n/g_02_1.png", "n/g_02_2.png"],
        "near and far/p": ["near and far/p_near.jpg", "near and far/p_far.jpg"],
        "near and far/q": [f"near and far/q-{one}.jpg" for one in ("near", "mid", "far")],
        "s": ["s/1.jpg", "s/2.jpg"],
        "s/deeper": ["s/deeper/1.jpg", "s/deeper/2.jpg"],
        "x": ["x_A.jpg", "x_B.jpg"],
    }
    assert left_out(root) == [
        "cells/plan.tif: holds one frame, and there is no other beside the stacks in files",
        "near and far/plan.jpg: the name does not end in _A, _B...",
    ]


ONE_STACK = [
    ["x_A.jpg", "x_B.jpg"],  # a single pair is named by its folder
    ["frame_1.jpg", "frame_2.jpg", "frame_3.jpg"],
    ["IMG_0998.jpg", "IMG_0999.jpg", "IMG_1000.jpg"],
    ["z_10_0.png", "z_10_5.png", "z_11_0.png"],  # 10.0, 10.5, 11.0 mm
    [f"z_{mm}_{tenth}.png" for mm in (3, 4) for tenth in range(10)],
    ["near.jpg", "far.jpg"],
    ["1.jpg", "2.jpg", "x_A.jpg", "x_B.jpg", "3.jpg", "4.jpg", "y_A.jpg"],
    ["a_1.png", "a_2.png", "b_1.png", "b_2.png", "overview.png"],
]


@pytest.mark.parametrize("names", ONE_STACK)
def test_a_folder_is_one_stack_unless_its_names_are_those_of_several(root, names):
    fill(join(root, "s"), *names)
    fill(root, "other/1.jpg", "other/2.jpg")
    found = stacks(root)
    assert sorted(found) == ["other", "s"]
    assert sorted(found["s"]) == sorted(f"s/{name}" for name in names)


PUBLIC = {
    "Lytro": (["lytro-01-A.jpg", "lytro-01-B.jpg", "lytro-02-A.jpg", "lytro-02-B.jpg"], 2),
    "triple series": ([f"lytro-0{n}-{c}.jpg" for n in (1, 2) for c in "ABC"], 3),
    "MFIFB": ([f"input/{n}/{n}_{c}.jpg" for n in ("aymaz_01", "mffw_03") for c in "AB"], 2),
    "grey": ([f"grayscale/g_0{n}_{c}.tif" for n in (1, 2) for c in (1, 2)], 2),
    "bmp sets": ([f"{n}{c}.png" for n in ("balloon", "leaf") for c in (1, 2)], 2),
    "clock": (["clockA.png", "clockB.png", "p1a.png", "p1b.png", "panorama.png"], 2),
}


@pytest.mark.parametrize("names", PUBLIC)
def test_the_namings_of_public_sets(root, names):
    files, frames = PUBLIC[names]
    for name in files:
        write_bytes(join(root, name), tiff(1))
    found = stacks(root)
    assert len(found) == 2
    assert {len(images) for images in found.values()} == {frames}
    assert all(images == sorted(images) for images in found.values())


BESIDE = {
    "MFI-WHU": (("source_1/{}.jpg", "source_2/{}.jpg"), "full_clear/{}.jpg"),
    "Real-MFF": (("imageA/{}_A.png", "imageB/{}_B.png"), "Fusion/{}_F.png"),
    "A and B": (("A/{}.png", "B/{}.png"), "truth/{}.png"),
    "near and far": (("near focus/{}.png", "far focus/{}.png"), "gt/{}.png"),
}


@pytest.mark.parametrize("names", BESIDE)
@pytest.mark.parametrize("above", ["", "set/test/"])
def test_folders_side_by_side_with_equal_names_hold_pairs(root, names, above):
    (one, other), truth = BESIDE[names]
    for number in range(1, 5):
        show(root, {above + one.format(number): (number, 0.0)})
        show(root, {above + other.format(number): (number, 2.0)})
        show(root, {above + truth.format(number): (number, 0.5)})
    show(root, {above + one.format(7): (7, 0.0)})
    assert stacks(root) == {
        f"{above}{number}": [above + one.format(number), above + other.format(number)]
        for number in range(1, 5)
    }
    folder = above + truth.partition("/")[0]
    beside = f"{above}{other.partition('/')[0]}/"
    assert left_out(root) == sorted(
        [
            f"{folder}/: shows several scenes, under the names of stacks in "
            f"{above}{one.partition('/')[0]}/: taken for truths, results or masks of them",
            f"{above}{one.format(7)}: no partner of this name in {beside}",
        ]
    )


@pytest.mark.parametrize("folders", [("A", "B"), ("source_1", "source_2"), ("near", "far")])
def test_stacks_side_by_side_with_equal_names_stay_stacks(root, folders):
    for number, folder in enumerate(folders):
        show(root, {f"{folder}/{frame}.png": (number, frame) for frame in range(4)})
    assert sorted(stacks(root)) == sorted(folders)


@pytest.mark.parametrize("folders", [("stack_1", "stack_2"), ("1", "2"), ("A", "C")])
def test_folders_of_other_names_are_not_looked_at(root, folders):
    fill(root, *(f"{folder}/{frame}.png" for folder in folders for frame in (1, 2)))
    assert sorted(stacks(root)) == sorted(folders)


def test_where_images_cannot_be_compared_names_decide(root):
    fill(root, *(f"{folder}/{n}.png" for folder in ("source_1", "source_2") for n in (1, 2)))
    fill(root, *(f"more/{folder}/{n}.png" for folder in "AB" for n in (1, 2)))
    fill(root, "pair/near/x.png", "pair/far/x.png")
    assert sorted(stacks(root)) == ["1", "2", "more/A", "more/B", "pair/x"]


def test_a_name_that_is_there_twice_in_a_folder_is_in_no_pair(root):
    fill(root, "near/1.png", "near/2.png", "near/2.jpg", "far/1.png", "far/2.png", "near/3.png")
    fill(root, "far/3.png")
    assert sorted(stacks(root)) == ["1", "3"]
    assert left_out(root) == [
        "far/2.png: no partner of this name in near/",
        "near/2.jpg, near/2.png: 2 files are of one name, keep one",
    ]


def test_results_of_other_programs_and_masks_are_no_stacks(root):
    for number in range(3):
        show(root, {f"pairs/p{number}_A.png": (number, 0.0), f"pairs/p{number}_B.png": (number, 1)})
        show(root, {f"results/x/p{number}.png": (number, 0.0)})
        show(root, {f"results/y/p{number}_fused.png": (number, 0.0)})
        show(root, {f"masks/p{number}_A.png": (number, 0), f"masks/p{number}_B.png": (50, 0)})
        show(root, {f"small/p{number}_A.png": (number, 2.0), f"small/p{number}_B.png": (number, 1)})
        show(root, {f"stack/p{number}.png": (9, float(number))})
    found = sorted(stacks(root))
    assert found == [f"{where}/p{n}" for where in ("pairs", "small") for n in range(3)] + ["stack"]
    assert [line.partition(":")[0] for line in left_out(root)] == [
        "masks/",
        "results/x/",
        "results/y/",
    ]


def test_results_of_a_run_are_no_stacks(root):
    fill(root, "x_A.png", "x_B.png", "manifest-x2/run.json", "manifest-x2/results/part-1.parquet")
    fill(root, "manifest-x2/outputs/x/fused.png", "manifest-x2/outputs/x/decision.png")
    fill(root, "run.json", "outputs/y%2Fz/fused.png", "outputs/y%2Fz/preview.jpg")
    assert sorted(stacks(root)) == ["x"]
    assert left_out(root) == [
        "manifest-x2/outputs/: holds the results of a run",
        "outputs/: holds the results of a run",
    ]


def test_ids_are_unique_in_the_tree(root):
    fill(root, "a/x_A.png", "a/x_B.png", "a/y_A.png", "a/y_B.png", "a/x/1.png", "a/x/2.png")
    assert sorted(stacks(root)) == ["a/x", "a/y"]
    assert left_out(root) == ["a/x/: pair_id 'a/x' is taken by a/x_A.*, rename one"]


def test_a_file_is_no_folder(root):
    fill(root, "x.png")
    with pytest.raises(ObjectMissingError, match="a file stands where a folder is expected"):
        stacks(join(root, "x.png"))


def names_of(split):
    return {key.name: [image.stem for image in images] for key, images in split.groups.items()}


ENDINGS = [
    (by_letter, ["x_A", "x_b", "y_A"], {"x": ["x_A", "x_b"]}),
    (by_letter, ["x_1_A", "x_1_B", "x-A", "x-B"], {"x_1": ["x_1_A", "x_1_B"]}),
    (by_other_letter, ["x-B", "x-A", "x A", "y A"], {"x": ["x-A", "x-B"]}),
    (by_other_letter, ["dataA", "dataB", "cata", "catB", "soda"], {"data": ["dataA", "dataB"]}),
    (by_word, ["far_x", "near_x", "y.fg"], {"x": ["near_x", "far_x"]}),
    (by_word, ["y.bg", "y.fg", "background", "x"], {"y": ["y.fg", "y.bg"]}),
    (by_word, ["x_FAR", "x_Near", "x_middle"], {"x": ["x_Near", "x_middle", "x_FAR"]}),
    (by_word, ["x_near", "x_mid", "y_far", "y_back"], {}),
    (by_number, ["a1", "a2", "b1", "b2", "b3"], {"a": ["a1", "a2"], "b": ["b1", "b2", "b3"]}),
    (by_number, ["a_0", "a_1", "b_0", "b_1"], {"a": ["a_0", "a_1"], "b": ["b_0", "b_1"]}),
    (by_number, ["a_2", "a_3", "b_1", "b_3", "c_1"], {}),
    (by_number, ["a_1", "a_2"], {}),
    (by_number, ["1", "2", "_1", "_2"], {}),
]  # fmt: skip


@pytest.mark.parametrize(("read", "stems", "expected"), ENDINGS)
def test_endings_of_names(read, stems, expected):
    images = [Image(f"{stem}.png") for stem in stems]
    split = read(images)
    assert names_of(split) == expected
    others = [image for problem, _ in split.problems for image in problem] + split.loose
    grouped = [image for group in split.groups.values() for image in group]
    assert sorted(grouped + others) == sorted(images)
