"""The figures that the paper's Tables 1 to 3 print, and the names of its fusers and enlargers."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dfp_batch.errors import ConfigError
from dfp_batch.metrics.names import RELATIVE

PRINTED = "published.csv"  # in the folder of the record
SCALES = (2, 4)
# As the tables call them, and as those who have kept their results do.
FUSERS: Mapping[str, str] = {
    "CNN": "CNN",
    "DRPL": "DPRL",
    "ECNN": "ECNN",
    "IFCNN": "IFCNN",
    "MADCNN": "MADCNN",
    "PCANet": "PCANet",
    "FusionDN": "FusionDN",
    "GCF": "GCF",
    "SESF": "SESF",
    "MFF-GAN": "MFF-GAN",
    "PMGI": "PMGI",
    "U2FUSION": "U2Fusion",
}
ENLARGERS = {1: "bicubic", 2: "dip", 3: "srcnn"}  # of each table
JOINT = "DFP"  # the paper's own method, which fuses and enlarges at once


@dataclass(frozen=True)
class Published:
    """One line of one table.

    Attributes:
        table: 1, 2 or 3.
        fuser: As the paper writes it.
        values: By relative metric and scale.
    """

    table: int
    fuser: str
    values: Mapping[tuple[str, int], float]


def read_published(path: Path) -> list[Published]:
    """Read the figures: columns ``table``, ``fusion``, ``<metric>_x<scale>``.

    Raises:
        ConfigError: if a column is missing, or a value is no number.
    """
    with path.open(newline="") as file:
        return [_published(row, path) for row in csv.DictReader(file)]


def _published(row: Mapping[str, str], path: Path) -> Published:
    try:
        values = {
            (metric, scale): float(row[f"{metric}_x{scale}"])
            for metric in RELATIVE
            for scale in SCALES
        }
        return Published(int(row["table"]), row["fusion"], values)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{path.name} must have the columns table, fusion and <metric>_x<scale> with numbers, "
            f"got {dict(row)} ({error}); restore the file"
        ) from error
