"""All model servers of a run: started before anything else, looked after while it lasts, ended with it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from raysearch.errors import RaysearchError, RunError
from raysearch.served import addresses
from raysearch.served.addresses import Addresses
from raysearch.served.spec import ServerSpec
from raysearch.served.standing import Keeper, Phase, Standing

LOOK_S = 1.0
"""Between two looks at all replicas."""
START_LOOK_S = 0.2
TOLD_EVERY_S = 15.0
OVERTIME_S = 60.0
"""Beyond a server's own limit, how long is waited for a place for it on a cluster."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Fleet:
    """Keeps the servers ``specs`` and writes where they are to ``file``, whenever that changes.

    A context manager. ``hire`` finds a keeper for a replica of a server, by its number; what it does by itself is
    undone when its keeper is closed. ``told`` is shown what is waited for.
    """

    specs: Sequence[ServerSpec]
    hire: Callable[[ServerSpec, int], Keeper]
    file: Path
    told: Callable[[str], None] = lambda _: None
    _keepers: dict[tuple[str, int], Keeper] = field(default_factory=dict, init=False)
    _standings: dict[tuple[str, int], Standing] = field(default_factory=dict, init=False)
    _written: Mapping[str, Addresses] = field(default_factory=dict, init=False)
    _closing: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self, stop: Callable[[], str] = lambda: "") -> Self:
        """Start everything; return when all of it is ready, or when ``stop`` says why not to go on.

        Raises RunError, with the end of its log, if a replica does not get ready.
        """
        try:
            for spec in self.specs:
                for number in range(spec.processes or 1):
                    self._keepers[spec.name, number] = self.hire(spec, number)
            self._await_ready(stop)
        except BaseException:
            self.close()
            raise
        self._thread = threading.Thread(target=self._look_after, name="model-servers", daemon=True)
        self._thread.start()
        return self

    def standings(self) -> dict[tuple[str, int], Standing]:
        """How every replica stood when it was last looked at, by server and number."""
        return dict(self._standings)

    def close(self) -> None:
        """Take the addresses back, let requests under way end, end every process. Once more does nothing."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if not self._keepers:
            return
        self._tell({spec.name: Addresses(spec.model_name, why="the run has ended it") for spec in self.specs})
        until = {spec.name: time.monotonic() + spec.drain_s for spec in self.specs}
        with ExitStack() as stack:  # all are closed, whatever one of them raises
            for (name, _), keeper in self._keepers.items():
                stack.callback(_closed, keeper, until[name])
            self._keepers = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _await_ready(self, stop: Callable[[], str]) -> None:
        began, told_at = time.monotonic(), time.monotonic()
        ready: set[str] = set()
        self.told("; ".join(map(_announced, self.specs)))
        while True:
            self._look()
            now = time.monotonic()
            for spec in self.specs:
                stands = self._of(spec.name)
                for number, one in enumerate(stands):
                    if one.phase is Phase.FAILED or now - began > spec.ready_timeout_s + OVERTIME_S:
                        raise RunError(f"the model server {spec.name!r} (replica {number}) is not there: {one.reason}")
                if spec.name not in ready and all(one.phase is Phase.READY for one in stands):
                    ready.add(spec.name)
                    after_s = max(one.ready_after_s for one in stands)
                    self.told(f"model server {spec.name}: {stands[0].model} is ready after {after_s:.1f} s")
            if len(ready) == len(self.specs) or stop():
                return
            if now - told_at >= TOLD_EVERY_S:
                told_at = now
                self.told("; ".join(self._waiting(spec, now - began) for spec in self.specs if spec.name not in ready))
            time.sleep(START_LOOK_S)

    def _waiting(self, spec: ServerSpec, since_s: float) -> str:
        stands = self._of(spec.name)
        count = sum(one.phase is Phase.READY for one in stands)
        why = next((one.reason for one in stands if one.phase is not Phase.READY), "")
        return f"model server {spec.name}: {count} of {len(stands)} ready, {since_s:.0f} s: {why.splitlines()[0][:200]}"

    def _look_after(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                self._look()
            except Exception:
                log.exception("model servers cannot be looked after; another try follows")

    def _look(self) -> None:
        for (name, number), keeper in self._keepers.items():
            try:
                now = keeper.look()
            except (RaysearchError, OSError) as error:
                now = Standing(Phase.FAILED, reason=str(error))
            before = self._standings.get((name, number))
            self._standings[name, number] = now
            if before is not None and (before.phase, before.restarts) != (now.phase, now.restarts):
                self._report(f"{name} (replica {number})", before, now)
        found = {spec.name: _addresses(spec, self._of(spec.name)) for spec in self.specs}
        if found != self._written:
            self._tell(found)

    def _report(self, who: str, before: Standing, now: Standing) -> None:
        if self._thread is None:  # while it starts, `told` says how it goes
            return
        if now.phase is Phase.READY:
            log.warning("model server %s is there again, after %.1f s", who, now.ready_after_s)
        elif before.phase is Phase.READY or now.phase is Phase.FAILED:
            what = "is lost, and is not started again" if now.phase is Phase.FAILED else "is lost, and is started again"
            log.warning("model server %s %s: %s", who, what, now.reason)

    def _of(self, name: str) -> list[Standing]:
        return [standing for (owner, _), standing in self._standings.items() if owner == name]

    def _tell(self, found: Mapping[str, Addresses]) -> None:
        try:
            addresses.write(self.file, found)
            self._written = found
        except OSError as error:  # the next look tries again
            log.warning("agents are not told where model servers are: %s", error)


def _closed(keeper: Keeper, until: float) -> None:
    keeper.close(max(0.0, until - time.monotonic()))


def _addresses(spec: ServerSpec, stands: Sequence[Standing]) -> Addresses:
    ready = [one for one in stands if one.phase is Phase.READY]
    if not ready:
        coming = any(one.phase is not Phase.FAILED for one in stands)
        why = next((one.reason.splitlines()[0] for one in stands if one.reason), "")
        known = next((one.model for one in stands if one.model), spec.model_name)
        return Addresses(known, coming=coming, why=why)
    window = min((one.window_tokens for one in ready if one.window_tokens), default=0)
    return Addresses(ready[0].model, tuple(one.url for one in ready), window)


def _announced(spec: ServerSpec) -> str:
    if spec.url:
        return f"model server {spec.name}: looking for it at {spec.url}"
    many = f"{spec.replicas} replicas" if spec.replicas > 1 else "one replica"
    return f"model server {spec.name}: starting {many} of {spec.model}"
