"""``python -m raysearch``: the same as the command ``raysearch``."""

from raysearch.cli import main

if __name__ == "__main__":
    main()
