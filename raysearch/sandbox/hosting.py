"""Coding agents' own programs, in a sandbox: they edit one candidate's files and reach one model's server.

In bubblewrap a guest has a pid namespace (what it started dies with it, however it ends), a network in which there is
nothing but its relays, the program at ``/candidate``, the target's public parts, and its home at ``/home/agent``. The
keys that its relays add exist only in this process. The bare machine (``none``) hosts too, unconfined: the relays then
listen on the machine's own loopback device, where every process of the machine can use them while the guest runs.
Landlock cannot give a guest a network of its own, and does not host.
"""

from __future__ import annotations

import math
import os
import re
import resource
import shutil
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from raysearch.errors import SandboxFault
from raysearch.process import Confinement, clean_environment, run_guarded
from raysearch.protocols import Completed, Guest
from raysearch.sandbox import ports
from raysearch.sandbox.bare import Bare
from raysearch.sandbox.bubblewrap import GUARD_INSIDE, PRIVATE, Bubblewrap
from raysearch.sandbox.interface import Mount, Sandbox
from raysearch.sandbox.limits import enforced
from raysearch.sandbox.owners import private_folder
from raysearch.sandbox.public import public_parts
from raysearch.sandbox.relay import relayed
from raysearch.sandbox.view import SYSTEM, interpreter_folders
from raysearch.sandbox.warm import Warm
from raysearch.target import SandboxLimits, Target

PORTS = Path(ports.__file__)
PORTS_INSIDE = "/run/raysearch/ports.py"
CANDIDATE, SCRATCH, TARGET, HOME = "/candidate", "/scratch", "/target", "/home/agent"
FILES_MB = 8192
"""What a guest may write: its home, the program and scratch together."""


@dataclass(frozen=True, slots=True)
class Room:
    """What a guest is shown: folders of this machine."""

    program: Path
    scratch: Path
    target: Target


def host(
    sandbox: Sandbox, guest: Guest, room: Room, *, timeout_s: float, cancel: threading.Event | None = None
) -> Completed:
    """Run ``guest`` in the program's folder; return when all that it started is gone. Raises SandboxFault.

    Its environment is `clean_environment`, the target's and its own, with ``RAYSEARCH_CANDIDATE``, ``_TARGET``,
    ``_REFERENCE`` and ``_SCRATCH``: the paths as seen inside. Where control groups cannot be made its memory is not
    limited (the runtimes that agents are written in reserve far more addresses than they use).
    """
    if isinstance(sandbox, Warm):
        sandbox = sandbox.cold
    if isinstance(sandbox, Bubblewrap):
        return _enclosed(sandbox, guest, room, timeout_s, cancel)
    if isinstance(sandbox, Bare):
        return _bare(sandbox, guest, room, timeout_s, cancel)
    raise SandboxFault(
        f"the sandbox {sandbox.name!r} cannot host {Path(guest.command[0]).name}: it has no network in which only a "
        "model's server is reachable; use bubblewrap, or `--sandbox none`, which confines nothing"
    )


def _enclosed(
    sandbox: Bubblewrap, guest: Guest, room: Room, timeout_s: float, cancel: threading.Event | None
) -> Completed:
    program, scratch, home = Mount(room.program, CANDIDATE), Mount(room.scratch, SCRATCH), Mount(guest.home, HOME)
    root = room.target.root
    readable = [Mount(part, f"{TARGET}/{part.relative_to(root).as_posix()}") for part in public_parts(room.target)]
    readable += [Mount(place, str(place)) for place in _installed(guest.readable)]
    readable.append(Mount(PORTS, PORTS_INSIDE))
    writable = [scratch, home, *([program] if guest.writable else [])]
    readable += [] if guest.writable else [program]
    names = _names(room, CANDIDATE, SCRATCH, TARGET, HOME)
    limits = _limits(guest, timeout_s)
    with ExitStack() as stack:
        confinement, watch = stack.enter_context(sandbox.laid(readable, writable, limits))
        enclosure, fds = stack.enter_context(sandbox.enclosure(readable, writable, limits))
        ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
        doors = _Doors(ours, len(guest.relays))
        stack.callback(doors.close)
        stack.enter_context(relayed(guest.relays, ours, doors.receive))
        completed = run_guarded(
            _opened_first(guest, theirs.fileno(), names),
            cwd=CANDIDATE,
            env=_environment(guest, room, names, private=PRIVATE),
            timeout_s=timeout_s,
            grace_s=0.0,
            output_kb=guest.output_kb,
            stdin=guest.stdin,
            pass_fds=[theirs.fileno()],
            cancel=cancel,
            run=sandbox.run_name,
            confinement=replace(_roomy(confinement), enclosure=enclosure, guard=GUARD_INSIDE, fds=fds),
            watch=watch,
        )
    if guest.relays and not doors.opened and not completed.ended_by:
        raise SandboxFault(f"no relay can listen inside: {completed.stderr.strip()[-500:]}")
    return completed


def _bare(sandbox: Bare, guest: Guest, room: Room, timeout_s: float, cancel: threading.Event | None) -> Completed:
    limits = _limits(guest, timeout_s)
    writable = [room.program, room.scratch, guest.home]
    with ExitStack() as stack:
        private = stack.enter_context(private_folder())
        program = room.program if guest.writable else private / "program"
        if not guest.writable:  # nothing keeps a guest from writing here, so it gets a copy to look at
            shutil.copytree(room.program, program, symlinks=True)
        names = _names(room, str(program), str(room.scratch), str(room.target.root), str(guest.home))
        enforcement = stack.enter_context(enforced(limits, sandbox.groups, writable=writable, own_count=False))
        ours, _ = (stack.enter_context(end) for end in socket.socketpair())
        doors = [stack.enter_context(_listening(relay.port)) for relay in guest.relays]
        stack.enter_context(relayed(guest.relays, ours, lambda: doors))
        confinement = Confinement(rlimits=enforcement.rlimits, cgroup_fds=enforcement.cgroup_fds)
        return run_guarded(
            _filled(guest.command, names),
            cwd=names["{candidate}"],
            env=_environment(guest, room, names, private=str(private)),
            timeout_s=timeout_s,
            grace_s=0.0,
            output_kb=guest.output_kb,
            stdin=guest.stdin,
            cancel=cancel,
            run=sandbox.run_name,
            confinement=_roomy(confinement),
            watch=enforcement.watch,
        )


class _Doors:
    """Listening sockets of another network, as they come out of it."""

    def __init__(self, way_out: socket.socket, count: int) -> None:
        self._way_out = way_out
        self._count = count
        self.opened: list[socket.socket] = []

    def receive(self) -> list[socket.socket]:
        """Wait for them; none if the way is shut before."""
        try:
            _, numbers, _, _ = socket.recv_fds(self._way_out, 1, self._count)
        except OSError:
            return []
        self.opened = [socket.socket(fileno=number) for number in numbers]
        return self.opened

    def close(self) -> None:
        for door in self.opened:
            door.close()


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    try:
        opened = ports.listening(port)
    except OSError as error:
        raise SandboxFault(f"no relay can listen on port {port}: {error.strerror}") from error
    with opened:
        yield opened


def _opened_first(guest: Guest, way_out: int, names: Mapping[str, str]) -> list[str]:
    """The guest's command, started by what opens its ports."""
    command = _filled(guest.command, names)
    if not guest.relays:
        return command
    python = [sys.executable, "-I", "-S", "-B", PORTS_INSIDE, str(way_out)]
    return [*python, *(str(relay.port) for relay in guest.relays), "--", *command]


def _installed(places: Sequence[Path]) -> list[Path]:
    """Of the places that a guest should see as they are, those that it would not see anyway. Raises SandboxFault."""
    seen = [*map(Path, SYSTEM), *interpreter_folders()]
    for place in places:
        if not place.is_absolute() or not place.exists():
            raise SandboxFault(f"{place} is to be shown to an agent, but is not there")
    return [place for place in places if not any(place.is_relative_to(folder) for folder in seen)]


def _names(room: Room, candidate: str, scratch: str, target: str, home: str) -> dict[str, str]:
    reference = f"{target}/{room.target.reference.relative_to(room.target.root).as_posix()}"
    return {
        "{candidate}": candidate,
        "{scratch}": scratch,
        "{target}": target,
        "{reference}": reference,
        "{home}": home,
    }


def _filled(command: Sequence[str], names: Mapping[str, str]) -> list[str]:
    return [_NAME.sub(lambda found: names[found[0]], word) for word in command]


_NAME = re.compile(r"\{(?:candidate|scratch|target|reference|home)\}")


def _environment(guest: Guest, room: Room, names: Mapping[str, str], *, private: str) -> dict[str, str]:
    places = {f"RAYSEARCH_{name.strip('{}').upper()}": path for name, path in names.items() if name != "{home}"}
    given = {**room.target.environment, **places, **guest.env, "TMPDIR": private, "HOME": names["{home}"]}
    return clean_environment(given)


def _limits(guest: Guest, timeout_s: float) -> SandboxLimits:
    cpu_s = math.ceil(timeout_s + 60.0) * (os.cpu_count() or 1)  # the time limit is what counts
    return SandboxLimits(
        memory_mb=guest.memory_mb,
        cpu_s=cpu_s,
        processes=guest.processes,
        file_mb=FILES_MB,
        output_kb=guest.output_kb,
        network=False,
    )


def _roomy(confinement: Confinement) -> Confinement:
    """Without a limit on addresses."""
    kept = tuple(limit for limit in confinement.rlimits if limit[0] != resource.RLIMIT_AS)
    return replace(confinement, rlimits=kept)
