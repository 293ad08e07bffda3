"""Where a zygote lives, so that what it forks is confined as a command of the sandbox itself is."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from raysearch.errors import SandboxFault
from raysearch.process import Confinement
from raysearch.process.forked import ROOMS, ZYGOTE, Room
from raysearch.sandbox import view
from raysearch.sandbox.bubblewrap import GUARD_INSIDE, PRIVATE, Bubblewrap
from raysearch.sandbox.interface import Mount
from raysearch.sandbox.landlock import Landlock
from raysearch.sandbox.limits import MB, Watch
from raysearch.sandbox.owners import make_private
from raysearch.target import SandboxLimits

ZYGOTE_INSIDE, ROOMS_INSIDE = "/run/raysearch/zygote.py", "/run/raysearch/rooms.py"
WITHIN = "/run/raysearch/within"
TAKEN = ("dev", "proc", "sys", "usr", "etc", "run", "nix", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""Folders of the root in which a zygote's own mounts lie."""

Laid = AbstractContextManager[tuple[Confinement, Watch]]


class Unfit(Exception):
    """This command cannot be forked; the sandbox itself must run it."""


class Nursery(Protocol):
    """The part of warm commands that differs between back-ends."""

    @property
    def home(self) -> str:
        """HOME and TMPDIR of every command."""
        ...

    def layout(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> tuple[str, ...]:
        """What a zygote must be made for; commands with equal layouts share one. Raises Unfit."""
        ...

    def cradle(self, layout: tuple[str, ...]) -> AbstractContextManager[tuple[str, Confinement]]:
        """For the start of a zygote: its script's path, and how it is confined. Raises SandboxFault."""
        ...

    def room(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> Room | None:
        """The namespaces that a keeper makes for the command. Raises Unfit."""
        ...

    def known(self, script: Path) -> str:
        """Where a zygote sees a script that no candidate can have written; empty for others."""
        ...

    def laid(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> Laid:
        """What is laid on the command. Raises SandboxFault, and Unfit if that must wait for another to end."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BubblewrapNursery:
    """The zygote is in a sandbox of its own, in which it also sees the folders in which mounts will lie.

    Keepers mount from there what their command may see, and cover the rest.
    """

    sandbox: Bubblewrap
    readable: tuple[Path, ...]
    writable: tuple[Path, ...]
    home: str = PRIVATE
    hidden: tuple[Path, ...] = field(default_factory=lambda: tuple(_hidden()))
    """Parts of the interpreter that lie where every command has a new private folder."""

    def layout(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> tuple[str, ...]:
        places = sorted(mount.inside for mount in (*readable, *writable))
        for place in places:
            if place.strip("/").partition("/")[0] in ("", *TAKEN):
                raise Unfit(f"nothing can be mounted at {place} later")
        return ("network" if limits.network else "", *places)

    @contextmanager
    def cradle(self, layout: tuple[str, ...]) -> Iterator[tuple[str, Confinement]]:
        network, *folders = layout
        seen = [Mount(folder, place) for folder, place in self._places()]
        rights = ["CAP_SYS_ADMIN"] if network else ["CAP_SYS_ADMIN", "CAP_NET_ADMIN"]
        with self.sandbox.enclosure(
            [
                Mount(ZYGOTE, ZYGOTE_INSIDE),
                Mount(ROOMS, ROOMS_INSIDE),
                *(Mount(folder, f"{WITHIN}/{folder}") for folder in self.hidden),
                *seen[: len(self.readable)],
            ],
            seen[len(self.readable) :],
            SandboxLimits(network=bool(network)),
            more_rights=rights,
            folders=folders,
        ) as (enclosure, fds):
            yield ZYGOTE_INSIDE, Confinement(enclosure=enclosure, guard=GUARD_INSIDE, fds=fds)

    def room(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> Room | None:
        mounts = [(self._seen(mount.source), mount.inside, mount in writable) for mount in (*readable, *writable)]
        hidden = [(f"{WITHIN}/{folder}", str(folder), False) for folder in self.hidden]
        return {
            "network": limits.network,
            "private_bytes": min(limits.file_mb, limits.memory_mb) * MB,
            "mounts": sorted([*hidden, *mounts], key=lambda mount: mount[1].count("/")),
            "cover": WITHIN,
        }

    def known(self, script: Path) -> str:
        for number, folder in enumerate(self.readable):
            if script.is_relative_to(folder):
                return f"{WITHIN}/{number}/{script.relative_to(folder)}"
        return ""

    def _places(self) -> list[tuple[Path, str]]:
        """Folders of this machine, and where the zygote sees them."""
        return [(folder, f"{WITHIN}/{number}") for number, folder in enumerate((*self.readable, *self.writable))]

    def _seen(self, source: Path) -> str:
        """The zygote's path of a folder of this machine."""
        path = str(source)
        for number, top in enumerate(map(str, (*self.readable, *self.writable))):
            place = f"{WITHIN}/{number}"
            if path == top:
                return f"{place}/."
            if path.startswith(f"{top}/") and os.path.isdir(path):  # noqa: PTH112 - for each mount of each command
                steps = path[len(top) + 1 :].split("/")
                way = [f"{top}/{'/'.join(steps[:depth])}" for depth in range(1, len(steps) + 1)]
                if not any(map(os.path.islink, way)):  # a link would lead elsewhere there
                    return f"{place}/{path[len(top) + 1 :]}"
        raise Unfit(f"{source} is no folder among those that the zygote sees")

    def laid(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> Laid:
        return self.sandbox.laid(readable, writable, limits)

    def close(self) -> None:
        """Nothing is kept."""


def _hidden() -> list[Path]:
    private = {Path(PRIVATE), Path("/dev/shm")}
    return [place for place in view.interpreter_folders() if not private.isdisjoint(place.parents)]


@dataclass(frozen=True, slots=True)
class LandlockNursery:
    """The zygote is outside; each command closes itself in.

    The private folder of all commands has one path, which modules may remember from their import, and is new for
    each; so there is one command at a time.
    """

    sandbox: Landlock
    readable: tuple[Path, ...] = ()
    folder: Path = field(default_factory=make_private)
    busy: threading.Lock = field(default_factory=threading.Lock)

    @property
    def home(self) -> str:
        return str(self.folder / "home")

    def layout(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    @contextmanager
    def cradle(self, layout: tuple[str, ...]) -> Iterator[tuple[str, Confinement]]:  # noqa: ARG002
        yield str(ZYGOTE), Confinement()

    def room(self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits) -> Room | None:  # noqa: ARG002
        return None

    def known(self, script: Path) -> str:
        return str(script) if any(script.is_relative_to(folder) for folder in self.readable) else ""

    @contextmanager
    def laid(
        self, readable: Sequence[Mount], writable: Sequence[Mount], limits: SandboxLimits
    ) -> Iterator[tuple[Confinement, Watch]]:
        if not self.busy.acquire(blocking=False):
            raise Unfit("another command has the private folder")
        home = Path(self.home)
        try:
            home.mkdir(0o700)
            with self.sandbox.laid(readable, writable, limits, home) as laid:
                yield laid
        finally:
            shutil.rmtree(home, ignore_errors=True)
            if home.exists():
                raise SandboxFault(f"cannot remove {home}")
            self.busy.release()

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
