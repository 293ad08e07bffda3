"""Every failure crosses exactly one boundary, and is recorded once.

RaysearchError
├── UserError        a person must change something: exit status 2, no traceback
│   ├── ConfigError      configuration file, flag or ``--set``
│   ├── PluginError      a policy, mutator, judge or benchmark that cannot be loaded
│   ├── TargetError      a target folder, or its seed program
│   ├── RepositoryError  the run's git repository
│   └── RunError         the run folder: missing, locked by another driver, wrong version
├── Fault            belongs to one job: recorded, never ends the run
│   ├── MutatorFault     the mutator raised, or changed what it must not
│   ├── EvaluatorFault   a judge or benchmark broke (as opposed to saying no)
│   │   ├── Unevaluated      it broke on one program, which may be why
│   │   └── Void             its conditions did not hold: another time (retried)
│   ├── SandboxFault     the sandbox could not be set up (retried)
│   ├── WorkerLost       the process that held the job went away (retried)
│   ├── TimedOut         no answer in the job's time and a grace (retried)
│   └── OutOfSpace       the disk is full: the driver stops, nothing is recorded
├── Refused          a benchmark says no: the program itself is why there is no measurement
└── LedgerError      the journal cannot be written: stop at once, exit status 74
Invariant            a bug of raysearch itself: exit status 70
"""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from raysearch.types import Usage


class RaysearchError(Exception):
    """Base of everything raysearch raises on purpose."""


class UserError(RaysearchError):
    """The run cannot start or go on until a person changes something."""


class ConfigError(UserError):
    """A configuration file, a flag or an override is wrong."""


class PluginError(UserError):
    """A plug-in cannot be found, loaded or built with the options given."""


class TargetError(UserError):
    """The target folder is incomplete or contradicts itself."""


class RepositoryError(UserError):
    """The run's git repository cannot be used."""


class RunError(UserError):
    """The run folder is missing, held by another driver, or of another version."""


class Fault(RaysearchError):
    """Part of one attempt failed: recorded as data, never ends the run.

    ``usage`` is what it cost all the same (a `raysearch.types.Usage`).
    """

    retryable: bool = False

    def __init__(self, message: str, usage: Usage | None = None) -> None:
        super().__init__(message)
        self.usage = usage or Usage()


class MutatorFault(Fault):
    """The mutator raised, or changed what it must not."""


class EvaluatorFault(Fault):
    """A judge or benchmark broke, or answered outside its contract (as opposed to saying no)."""


class Unevaluated(EvaluatorFault):
    """A judge or benchmark came to no answer about a program, which may be why: it crashed, or spoilt the result.

    Where the same evaluator works on the target's seed program, this one is to blame, and is refused.
    """


class Void(EvaluatorFault):
    """An evaluator could not keep its own conditions (a load generator came late, a device was shared).

    Says nothing about the program, and may go better another time.
    """

    retryable = True


class SandboxFault(Fault):
    """The sandbox could not be set up: the candidate is not to blame."""

    retryable = True


class WorkerLost(Fault):
    """The process that held the job went away."""

    retryable = True


class TimedOut(Fault):
    """No answer within the job's time limit and a grace; its worker was stopped."""

    retryable = True


class OutOfSpace(Fault):
    """The disk is full. The driver stops at once and leaves the run resumable."""

    retryable = True


class Refused(RaysearchError):
    """A benchmark has no measurement, and the program is to blame: counts as a judge's no."""


class LedgerError(RaysearchError):
    """The journal cannot be written or read. Nothing is safe until it can."""


class Invariant(AssertionError):
    """A bug in raysearch itself."""


def require(condition: bool, message: str) -> None:
    """Raise `Invariant` unless ``condition`` holds."""
    if not condition:
        raise Invariant(message)


@contextmanager
def boundary(fault: type[RaysearchError], what: str) -> Iterator[None]:
    """Attribute any stray exception to the boundary that it crossed; a plug-in's ``exit()`` too."""
    try:
        yield
    except (Fault, Refused):
        raise
    except (Exception, SystemExit) as error:
        full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        kind: type[RaysearchError] = OutOfSpace if full or os.strerror(errno.ENOSPC) in str(error) else fault
        raise kind(f"{what}: {type(error).__name__}: {error}") from error


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the known name closest to ``name``, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if names else ""
