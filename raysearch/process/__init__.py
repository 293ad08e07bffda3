"""Child processes that cannot outlive their owner.

`run_guarded` for a command that ends, `GuardedProcess` for one that lives on, `clean_environment` for what
either may see, `sweep` for what a dead driver may have left.
"""

from raysearch.process.command import run_guarded
from raysearch.process.environment import clean_environment
from raysearch.process.guarded import Confinement, Ending, GuardedProcess
from raysearch.process.hold import Hold, Spending
from raysearch.process.strays import strays, sweep

__all__ = [
    "Confinement",
    "Ending",
    "GuardedProcess",
    "Hold",
    "Spending",
    "clean_environment",
    "run_guarded",
    "strays",
    "sweep",
]
