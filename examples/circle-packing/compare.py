"""What the search reaches in 3 and in 10 minutes, seed by seed, as the table in README.md.

    python examples/circle-packing/compare.py --seeds 1 2 3 --minutes 10
    python examples/circle-packing/compare.py --seeds 1 2 3 --minutes 3 -- --mutator tune
    python examples/circle-packing/compare.py --seeds 1 2 3 --minutes 3 -- --outer-loop best-of-n

A run that comes within 1e-6 of the best known sum is stopped there: nothing that follows could change its row.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from raysearch.facts import AttemptClosed
from raysearch.ledger import JOURNAL, read_journal

HERE = Path(__file__).parent
ALPHAEVOLVE = 2.6358627564
BEST_KNOWN = 2.6359830853
NEAR = 1e-6


@dataclass(frozen=True, slots=True)
class Record:
    """A sum that no earlier attempt had reached."""

    run_s: float
    attempt: int
    total: float


def records(runs: Path) -> list[Record]:
    found: list[Record] = []
    for journal in runs.glob(f"*/{JOURNAL}"):
        for entry in read_journal(journal):
            candidate = entry.fact.candidate if isinstance(entry.fact, AttemptClosed) else None
            if candidate is not None and candidate.scores["sum_radii"] > (found[-1].total if found else 0.0):
                found.append(Record(entry.run_s, candidate.id, candidate.scores["sum_radii"]))
    return found


def search(seed: int, minutes: float, flags: list[str]) -> list[Record]:
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "raysearch", "run", "--config", str(HERE / "run.toml"), "--seed", str(seed)]
        command += ["--runs-dir", runs, "--budget-time", f"{minutes * 60:g}s", *flags]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(1.0)
            found = records(Path(runs))
            if found and found[-1].total >= BEST_KNOWN - NEAR:
                process.send_signal(signal.SIGINT)
                process.wait()
        return records(Path(runs))


def row(seed: int, found: list[Record], minutes: float) -> str:
    def within(seconds: float) -> str:
        return f"{max((r.total for r in found if r.run_s <= seconds), default=0.0):.10f}"

    def first(mark: float) -> str:
        return next((f"{r.run_s:.0f} s (#{r.attempt})" for r in found if r.total > mark), "not")

    cells = [str(seed), within(180), within(60 * minutes), first(ALPHAEVOLVE), first(BEST_KNOWN - NEAR)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("flags", nargs="*", help="more flags of `raysearch run`, after --")
    asked = parser.parse_args()
    print(f"| seed | after 3 min | after {asked.minutes:g} min | past AlphaEvolve | within 1e-6 of the best known |")
    print("|---|---|---|---|---|")
    for seed in asked.seeds:
        print(row(seed, search(seed, asked.minutes, asked.flags), asked.minutes), flush=True)


if __name__ == "__main__":
    main()
