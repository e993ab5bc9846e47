"""The record of the paper's Figs. 8 and 9, with few iterations."""

import csv

import pytest

from dfp_batch.io import codec

JOB = "paper_figures"


@pytest.fixture(scope="module")
def made(job, tmp_path_factory):
    """A folder with the tables and the figures of both."""
    folder = tmp_path_factory.mktemp("figures")
    job.make(folder, folder, job.Effort(side_px=64, embedding=2, prior=2, converging=21))
    return folder


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_robustness_is_shown_by_setting(made):
    found = rows(made / "fig-8.csv")
    assert [row["setting"] for row in found] == [
        "[3,5,5,0.05,1], no joint gradient",
        "[3,5,5,0,1]",
        "[3,5,5,0.01,1]",
        "[3,5,5,0.05,1]",
    ]
    assert all(0 < float(row["accuracy"]) <= 1 and float(row["psnr_db"]) > 5 for row in found)
    assert found[0]["accuracy"] == found[-1]["accuracy"]


def test_every_tenth_estimate_is_measured(made):
    found = rows(made / "fig-9.csv")
    assert [(row["method"], row["iteration"]) for row in found] == [
        (method, iteration) for method in ("DFP", "DIP") for iteration in ("0", "10", "20")
    ]
    for method in ("DFP", "DIP"):
        losses = [float(row["loss"]) for row in found if row["method"] == method]
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", ["fig-8.png", "fig-9.png"])
def test_figures_are_small_images(made, name):
    data = (made / name).read_bytes()
    assert len(data) < 400_000
    assert codec.decode(data, name).pixels.shape[1] == 880


def test_the_page_says_from_when_on_a_method_is_settled(job, made, tmp_path):
    assert job.shown(tmp_path) == []
    text = "\n".join(job.shown(made))
    assert "(figures/fig-8.png)" in text
    assert "(figures/fig-9.png)" in text
    (tmp_path / "fig-8.csv").write_bytes((made / "fig-8.csv").read_bytes())
    assert "fig-9" not in "\n".join(job.shown(tmp_path))
    curve = [
        {"method": "DFP", "iteration": str(10 * k), "psnr_db": str(min(k, 30))} for k in range(60)
    ]
    said = job.settled("DFP", curve)
    assert said == "DFP ends at 30.00 dB and stays within 1.0 dB of it from iteration 290 on."
