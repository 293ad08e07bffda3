"""PyTorch's profiler around a benchmark, for targets; it needs PyTorch and, as a script, nothing else.

A benchmark marks what it measures, which costs nothing where nobody profiles:

    from evaluators.profilers.torch_trace import traced

    with traced():
        model(batch)

As a script (``torch_trace.py SCRIPT ARGUMENTS...``) it runs another Python script as its own main program under the
profiler; what that marked is then all that is looked at.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TRACE, OUTER = "RAYSEARCH_TORCH_TRACE", "RAYSEARCH_TORCH_OUTER"
"""Where the trace goes; set where a profiler is at work around the whole script."""
MARK = "raysearch: measured"


@contextmanager
def traced() -> Iterator[None]:
    """Mark what is measured. Under `evaluators.profilers.pytorch` the first such block is traced."""
    place = os.environ.get(TRACE, "")
    if not place:
        yield
        return
    import torch  # type: ignore[import-not-found, unused-ignore]

    if os.environ.get(OUTER):
        with torch.profiler.record_function(MARK):
            yield
            _finish(torch)
        return
    del os.environ[TRACE]  # later blocks are not traced
    with _profiled(torch, place), torch.profiler.record_function(MARK):
        yield
        _finish(torch)


@contextmanager
def _profiled(torch: Any, place: str) -> Iterator[None]:
    kinds = torch.profiler.ProfilerActivity
    activities = [kinds.CPU, *([kinds.CUDA] if torch.cuda.is_available() else [])]
    profiler = torch.profiler.profile(activities=activities)
    profiler.start()
    try:
        yield
    finally:
        _finish(torch)
        profiler.stop()
        profiler.export_chrome_trace(place)


def _finish(torch: Any) -> None:
    """Wait for the GPU, whose work would otherwise end after the block that asked for it."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def main(argv: list[str]) -> None:
    """Run the script ``argv[0]`` with the arguments that follow, traced to where the environment says."""
    import torch  # type: ignore[import-not-found, unused-ignore]

    os.environ[OUTER] = "1"
    sys.argv[:] = argv
    sys.path[0] = os.path.dirname(os.path.abspath(argv[0]))  # noqa: PTH100, PTH120 - links are not followed by Python
    with _profiled(torch, os.environ[TRACE]):
        runpy.run_path(argv[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
