"""Run an archive, and look at what came out.

Usage: python examples/run_an_archive.py FOLDER_OR_MANIFEST [RUN]

The same call goes on where it stopped. Ray starts by itself, on this machine.
"""

import logging
import sys

from dfp_batch import Run, submit


def main() -> None:
    """Submit, say why pairs have failed, show the sharpest image."""
    logging.basicConfig(level=logging.ERROR)
    run = submit(*sys.argv[1:3], preset="fast", scale=2)

    for group in run.failures():
        print(f"{len(group.pair_ids)} failed: {group.message}")
        print(f"    {group.next_step(run.url)}")
    table = run.table()  # pyarrow; table.to_pandas() where pandas is installed
    print(f"{run.status().ok} of {table.num_rows} done")
    show_sharpest(run)


def show_sharpest(run: Run) -> None:
    """Name the image with the largest mean gradient; a notebook would show ``run.item(name)``."""
    done = [row for row in run.table().to_pylist() if row["status"] == "ok"]
    if not done:
        return
    name = max(done, key=lambda row: row["mg"])["pair_id"]
    image = run.item(name).image()  # (H, W, 3), as it is stored
    print(f"{name}: {image.shape[1]}x{image.shape[0]} px, {image.dtype}, {run.item(name).url}")


if __name__ == "__main__":
    main()
