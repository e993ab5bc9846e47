"""``python -m dfp_batch`` is the command ``dfp-batch``."""

from dfp_batch.cli import main

if __name__ == "__main__":
    main()
