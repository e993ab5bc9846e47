"""Read the table of a run with SQL; it needs duckdb (pip install duckdb).

Usage: python examples/read_the_table.py RUN

A pair may have several rows, one per attempt: the first that is ok counts, else the latest.
"""

import sys
from pathlib import Path

import duckdb

QUERY = """
    select pair_id, status, category, width_px, height_px, mg, floor_mg,
           t_prepare_s + t_reconstruct_s + t_publish_s as seconds
    from read_parquet(?, union_by_name = true)
    where status <> 'requeued'
    qualify row_number() over (
        partition by pair_id
        order by status = 'ok' desc,
                 if(status = 'ok', epoch, -epoch), if(status = 'ok', attempt, -attempt)
    ) = 1
    order by seconds desc nulls last
"""


def main() -> None:
    """Print a row per pair, the slowest first."""
    run = Path(sys.argv[1])
    table = duckdb.execute(QUERY, [str(run / "results" / "*.parquet")])
    print(*(column[0] for column in table.description), sep="\t")
    for row in table.fetchall():
        print(*row, sep="\t")


if __name__ == "__main__":
    main()
