"""One process of a model server: started, found ready, watched, started again, drained, ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from raysearch.errors import SandboxFault
from raysearch.process import Ending, GuardedProcess
from raysearch.served import probing
from raysearch.served.probing import Locked, Model, Unready, WrongModel
from raysearch.served.spec import LOOPBACK, ServerSpec
from raysearch.served.standing import Phase, Standing

PORT_TRIES = 3
ENDING_S = 1.0
"""One that no longer answers may just have ended, which its guard says once all of its tree has."""
TAIL_BYTES = 3000
LOG_BYTES_MAX = 64 * 2**20
PROC = Path("/proc/net")
_ESTABLISHED = "01"
_SECRET = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")
_NOT_PASSED = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "OMP_NUM_THREADS"}
"""Ray's and raysearch's own settings; the server may be of another environment."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds."""

    probe_s: float = 10.0
    """For one answer to whether it is there."""
    check_every_s: float = 5.0
    misses_max: int = 3
    """Checks in a row that may go wrong before it counts as hung."""
    first_s: float = 1.0
    """Before it is started again; twice as long each time, up to the longest."""
    longest_s: float = 60.0
    settled_s: float = 600.0
    """Having served so long, its earlier restarts are forgotten."""
    grace_s: float = 10.0
    """From SIGTERM to SIGKILL."""


@dataclass(slots=True)
class Replica:
    """The ``number``-th replica of a server; see `raysearch.served.standing.Keeper`.

    Its process has a guard, so that it ends, with all that it started, when this process does, however that ends. A
    replica that has never served fails at once where it ends or is not ready in ``spec.ready_timeout_s``: then its
    command is wrong. One that has served is started again, on the same port if that can be had. Its log, stdout and
    stderr, is ``logs``/model-server-NAME-NUMBER.log. ``devices`` are the GPUs that it may use where nobody else has
    said so (by CUDA_VISIBLE_DEVICES).
    """

    spec: ServerSpec
    number: int
    logs: Path
    host: str = LOOPBACK
    run: str = ""
    devices: str | None = None
    patience: Patience = Patience()
    clock: Callable[[], float] = time.monotonic
    port: int = field(default=0, init=False)
    _phase: Phase = field(default=Phase.WAITING, init=False)
    _process: GuardedProcess | None = field(default=None, init=False)
    _log: IO[bytes] | None = field(default=None, init=False)
    _log_from: int = field(default=0, init=False)
    """Where in its log the last start begins."""
    _model: Model = field(default=Model(""), init=False)
    _served: bool = field(default=False, init=False)
    """Whether it was ever ready."""
    _tries: int = field(default=0, init=False)
    """Starts so far before it was ever ready."""
    _restarts: int = field(default=0, init=False)
    _misses: int = field(default=0, init=False)
    _due: float = field(default=0.0, init=False)
    """When to start it, or to check it next."""
    _began: float = field(default=0.0, init=False)
    """When it was started, or has been ready since."""
    _ready_after_s: float = field(default=0.0, init=False)
    _reason: str = field(default="not started yet", init=False)

    @property
    def log_file(self) -> Path:
        return self.logs / f"model-server-{self.spec.name}-{self.number}.log"

    @property
    def url(self) -> str:
        if self.spec.url:
            return self.spec.url.rstrip("/").removesuffix("/v1")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def look(self) -> Standing:
        now = self.clock()
        if self._phase is Phase.WAITING and now >= self._due:
            self._start(now)
        self._notice_end(now)
        if self._phase is Phase.STARTING:
            self._await_ready()
        elif self._phase is Phase.READY and now >= self._due:
            self._check(now)
        return self.standing()

    def standing(self) -> Standing:
        ready = self._phase is Phase.READY
        return Standing(
            phase=self._phase,
            url=self.url if ready else "",
            model=self._model.name,
            window_tokens=self._model.window_tokens,
            restarts=self._restarts,
            ready_after_s=self._ready_after_s,
            pid=self._process.pid if self._process is not None else 0,
            reason=self._reason,
        )

    def log_tail(self) -> str:
        """The end of what it printed since its last start."""
        try:
            with self.log_file.open("rb") as log:
                log.seek(max(self._log_from, log.seek(0, os.SEEK_END) - TAIL_BYTES))
                return log.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def close(self, drain_s: float = 0.0) -> None:
        """See `Keeper`. Raises SandboxFault if it cannot be ended."""
        self._phase, self._reason = Phase.STOPPED, "stopped"
        end = self.clock() + drain_s
        while self._process is not None and self._process.poll() is None and self.clock() < end:
            if not connections(self.port):
                break
            time.sleep(0.1)
        self._end()

    def _start(self, now: float) -> None:
        self._phase, self._began, self._misses = Phase.STARTING, now, 0
        self._reason = "it does not serve yet"
        if self.spec.url:
            return
        try:
            if not self.port or not self._served or not is_free(self.host, self.port):
                self.port = free_port(self.host)
            words = self.spec.words(self.host, self.port)
            self._log = self.log_file.open("ab")
            self._log.write(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(words)}\n".encode())
            self._log.flush()
            self._log_from = self._log.tell()
            self._process = GuardedProcess.start(
                words,
                cwd=self.logs,
                env=environment(self.spec, self.devices),
                stdout=self._log.fileno(),
                stderr=self._log.fileno(),
                grace_s=self.patience.grace_s,
                run=self.run,
            )
        except (OSError, SandboxFault) as error:
            self._lost(f"it cannot be started: {error}", now)

    def _notice_end(self, now: float) -> None:
        ending = self._process.poll() if self._process is not None else None
        if ending is None:
            return
        self._end()
        taken = "ddress already in use" in self.log_tail()
        if taken and not self._served and self._tries < PORT_TRIES - 1:
            self._tries += 1
            self._phase, self._due = Phase.WAITING, now
            return
        self._lost(f"it ended by itself, with {_status(ending)}", now)

    def _await_ready(self) -> None:
        try:
            probing.health(self.url, self.patience.probe_s)
            self._model = self._asked()
        except WrongModel as wrong:
            self._end()
            self._phase, self._reason = Phase.FAILED, str(wrong)
            return
        except Unready as why:
            self._reason = str(why)
            now = self.clock()
            if now - self._began > self.spec.ready_timeout_s and not (self.spec.url and self._served):
                self._end()
                hint = "" if self.host == LOOPBACK or self.spec.names_host else "; its command does not name {host}"
                self._lost(f"it was not ready within {self.spec.ready_timeout_s:g} s ({why}){hint}", now)
            return
        now = self.clock()
        self._ready_after_s, self._began = now - self._began, now
        self._phase, self._served, self._reason, self._misses = Phase.READY, True, "", 0
        self._due = now + self.patience.check_every_s

    def _asked(self) -> Model:
        spec = self.spec
        try:
            listed = probing.models(self.url, self.patience.probe_s)
        except Locked as closed:
            if spec.model:
                return Model(spec.model)
            raise WrongModel(f"{closed}: it wants a key, so say which model it serves (`model`)") from None
        return probing.chosen(listed, [spec.model, spec.model_name], strict=bool(spec.url))

    def _check(self, now: float) -> None:
        self._due = now + self.patience.check_every_s
        if now - self._began > self.patience.settled_s:
            self._restarts = 0
        self._trim_log()
        try:
            probing.health(self.url, self.patience.probe_s)
            self._misses = 0
        except Unready as why:
            self._misses += 1
            if self._misses < self.patience.misses_max:
                return
            if self._process is not None and self._process.wait(ENDING_S) is not None:
                self._notice_end(self.clock())
            else:
                self._end(at_once=True)
                self._lost(f"it no longer answers ({why})", self.clock())

    def _lost(self, reason: str, now: float) -> None:
        """Start it again later, or never."""
        self._reason = reason
        if self.spec.url:
            self._phase = Phase.STARTING if self._served else Phase.FAILED
            return
        tail = self.log_tail()
        self._reason += f". Its log ends:\n{tail}" if tail else ". It printed nothing"
        if not self._served or self._restarts >= self.spec.restarts_max:
            self._phase = Phase.FAILED
            return
        self._restarts += 1
        wait_s = min(self.patience.longest_s, self.patience.first_s * 2.0 ** min(self._restarts - 1, 32))
        self._phase, self._due = Phase.WAITING, now + wait_s

    def _end(self, *, at_once: bool = False) -> None:
        process, self._process = self._process, None
        try:
            if process is not None:
                if at_once:
                    process.terminate(at_once=True)
                process.close()
        finally:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _trim_log(self) -> None:
        """Bound a log that grows with every request. The process appends, so it goes on at the new end."""
        if self._log is None or os.fstat(self._log.fileno()).st_size <= LOG_BYTES_MAX:
            return
        tail = self.log_tail()
        os.ftruncate(self._log.fileno(), 0)
        self._log_from = 0
        self._log.write(f"[... cut at {LOG_BYTES_MAX >> 20} MB ...]\n{tail}\n".encode())
        self._log.flush()


def environment(spec: ServerSpec, devices: str | None = None) -> dict[str, str]:
    """What a server's process sees: this process's environment without credentials, then ``spec.env``."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name in spec.pass_env
        or not (_SECRET.search(name) or name in _NOT_PASSED or name.startswith(("RAY_", "RAYSEARCH_")))
    }
    env["PYTHONUNBUFFERED"] = "1"
    if spec.cpus >= 1:
        env["OMP_NUM_THREADS"] = str(int(spec.cpus))
    if not spec.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = devices
    return {**env, **spec.env}


def device_lists(specs: Sequence[ServerSpec]) -> dict[tuple[str, int], str]:
    """GPUs of each replica where nothing else hands them out, by server and number: those that this process sees."""
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    known = [name.strip() for name in seen.split(",")] if seen else None
    found: dict[tuple[str, int], str] = {}
    next_free = 0
    for spec in specs:
        for number in range(spec.processes if spec.gpus else 0):
            numbers = range(next_free, next_free + spec.gpus)
            found[spec.name, number] = ",".join(known[n] if known and n < len(known) else str(n) for n in numbers)
            next_free += spec.gpus
    return found


def connections(port: int) -> int:
    """Connections to a port of this machine that are open. Without /proc (macOS) nobody knows: 0."""
    found = 0
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (PROC / table).read_text().splitlines()[1:]:
                _, local, _, state, *_ = line.split()
                found += state == _ESTABLISHED and int(local.rpartition(":")[2], 16) == port
    return found


def free_port(host: str) -> int:
    """A port that nobody uses now. Raises OSError."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        return int(listener.getsockname()[1])


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not count
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def _status(ending: Ending) -> str:
    if ending.lost:
        return "its guard, which was killed"
    if ending.status >= 0:
        return f"exit status {ending.status}"
    try:
        return f"signal {signal.Signals(-ending.status).name}"
    except ValueError:
        return f"signal {-ending.status}"
