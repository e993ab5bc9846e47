"""What the metrics return is called as the tables call it."""

import subprocess
import sys

import numpy as np

from dfp_batch.metrics import fusion_metrics, names, paper_metrics, regions, relative_metrics

PLANE = np.random.default_rng(0).uniform(0, 255, (48, 48))


def test_every_metric_has_its_name():
    paper = paper_metrics(PLANE)
    assert tuple(paper) == names.PAPER
    assert tuple(relative_metrics(paper, (paper, paper))) == names.RELATIVE
    assert tuple(fusion_metrics(PLANE, np.stack([PLANE, PLANE]))) == names.FUSION
    labels = (PLANE > 128).astype(np.int64)
    assert tuple(regions(labels, PLANE / 255)) == names.REGIONS


def test_no_column_is_there_twice():
    for columns in (names.OF_A_RUN, names.OF_AN_EVALUATION):
        assert len(set(columns)) == len(columns)


def test_names_need_nothing_else():
    code = "import sys, dfp_batch.metrics.names; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "cv2", "scipy", "skimage", "torch"} & set(run.stdout.split())
