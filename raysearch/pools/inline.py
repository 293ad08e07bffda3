"""Jobs in this process, one at a time, in the order in which they came."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from raysearch.jobs import Job
from raysearch.protocols import Answer


class Performer(Protocol):
    """Does a job and never raises for what is the job's own fault."""

    def perform(self, job: Job) -> Answer: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class InlinePool:
    """No process but those that evaluators start; a Python plug-in that hangs here hangs the run.

    ``Job.timeout_s`` bounds commands in the sandbox only. Use a `RayPool` where plug-ins are not trusted to
    return.
    """

    worker: Performer
    _waiting: deque[Job] = field(default_factory=deque, init=False)

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def next(self, timeout_s: float) -> Answer | None:  # noqa: ARG002 # nothing is waited for
        return self.worker.perform(self._waiting.popleft()) if self._waiting else None

    def close(self) -> None:
        self._waiting.clear()
        self.worker.close()
