"""Parts and archives for the tests of the evaluation; worker processes import this file, too."""

import os
import uuid
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch

from conftest import texture, write_image
from dfp_batch.core.contracts import FocusMeasure
from dfp_batch.evaluation import Options
from dfp_batch.focus.undecided import Undecided
from dfp_batch.io import codec
from dfp_batch.merging.blend import Blend
from dfp_batch.pipeline.composition import FusionConfig
from dfp_batch.reconstruction.back_projection import BackProjection
from dfp_batch.refinement.unrefined import Unrefined
from dfp_batch.runs.manifest import Pair, write_manifest

HERE = Options(workers=1)
RAISE, DIE = 251, 252  # levels of the first pixel of the first source


@dataclass(frozen=True)
class FaultyFocus(FocusMeasure):
    """Takes the first source; fails on marked items; leaves a file in ``folder`` for every call."""

    folder: str = ""

    def __call__(self, sources):
        if self.folder:
            (Path(self.folder) / uuid.uuid4().hex).touch()
        level = round(float(sources[0][0, 0, 0]) * 255)
        if level == DIE:
            os._exit(1)
        if level == RAISE:
            raise RuntimeError("this item is marked")
        first = torch.ones_like(sources[0][:1])
        return torch.stack([first, *[torch.zeros_like(first)] * (len(sources) - 1)])


def faulty(folder=""):
    return FusionConfig(
        FaultyFocus(str(folder)), Unrefined(), Blend(), BackProjection(steps=0), precision="fp32"
    )


def average():
    return FusionConfig(
        Undecided(), Unrefined(), Blend(), BackProjection(steps=0), precision="fp32"
    )


def multi_focus(size=(48, 56), channels=3, seed=0):
    """Truth (h, w, C), two sources, sharp left and right of the middle, and their masks."""
    truth = texture(*size, channels, seed=seed)
    blurred = cv2.GaussianBlur(truth, (0, 0), 2.0).reshape(truth.shape)
    left = np.zeros((*size, 1), bool)
    left[:, : size[1] // 2] = True
    sources = [np.where(left, truth, blurred), np.where(left, blurred, truth)]
    return truth, sources, [np.where(mask, 255, 0).astype(np.uint8) for mask in (left, ~left)]


def write_archive(folder, count=2, marks=None, size=(48, 56), channels=3):
    """A manifest of pairs p0, p1... with reference and masks; ``marks`` are first pixels."""
    pairs = []
    for number in range(count):
        truth, sources, masks = multi_focus(size, channels, seed=number)
        sources[0][0, 0] = (marks or {}).get(number, 100)
        names = [f"{folder}/p{number}_{letter}.png" for letter in "AB"]
        masked = [f"{folder}/m{number}_{letter}.png" for letter in "AB"]
        pairs.append(
            Pair(
                f"p{number}",
                tuple(map(write_image, names, sources)),
                reference=write_image(f"{folder}/t{number}.png", truth),
                masks=tuple(map(write_image, masked, masks)),
            )
        )
    url = f"{folder}/manifest.parquet"
    write_manifest(url, pairs)
    return url


def table(url, name="items"):
    return pq.read_table(f"{url}/{name}.parquet").to_pylist()


def by_key(rows):
    return {(row["item"], row["scale"], row["method"]): row for row in rows}


def errors(evaluation):
    return {
        (row["item"], row["scale"], row["method"]): row["error_message"]
        for row in evaluation.rows
        if row["status"] == "error"
    }


def pixels(path):
    return codec.decode(Path(path).read_bytes(), str(path)).pixels
