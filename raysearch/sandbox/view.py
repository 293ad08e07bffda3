"""What is visible inside: the system's programs, raysearch's interpreter, and nothing of anybody's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "ssl", "pki", "ca-certificates")
NETWORK_SETTINGS = ("resolv.conf", "nsswitch.conf", "host.conf", "services", "protocols", "gai.conf")
"""Files of /etc; the last only where the network is visible."""


def system_arguments(network: bool) -> Iterator[str]:
    """bubblewrap's arguments for the read-only system."""
    for name in SYSTEM:
        place = Path(name)
        if place.is_symlink():
            yield from ("--symlink", str(place.readlink()), name)
        elif place.is_dir():
            yield from ("--ro-bind", name, name)
    yield from ("--dir", "/etc")
    for place in settings(network=network):
        yield from ("--ro-bind", str(place.resolve()), str(place))


def system_places(*, network: bool) -> list[Path]:
    """The same, as files and folders that stay where they are."""
    folders = [Path(name) for name in SYSTEM if Path(name).is_dir() and not Path(name).is_symlink()]
    return folders + settings(network=network)


def settings(*, network: bool) -> list[Path]:
    """Files and folders of /etc that programs read."""
    places = (Path("/etc", name) for name in SETTINGS + (NETWORK_SETTINGS if network else ()))
    return [place for place in places if place.exists()]


def stubs(numbers: Iterable[tuple[int, int]]) -> dict[str, bytes]:
    """Small files of /etc that programs expect, without a word about the real machine's people.

    ``numbers``: of user and group, whom a command may be.
    """
    candidates = list(numbers)
    users = [f"candidate:x:{user}:{group}::/tmp:/bin/sh\n" for user, group in candidates]
    groups = [f"candidate:x:{group}:\n" for _, group in candidates]
    return {
        "/etc/passwd": "".join(["root:x:0:0::/tmp:/bin/sh\n", *users]).encode(),
        "/etc/group": "".join(["root:x:0:\n", *groups]).encode(),
        "/etc/hosts": b"127.0.0.1 localhost\n::1 localhost\n",
    }


def interpreter_folders() -> list[Path]:
    """Folders that raysearch's own Python needs, outermost first: the environment and its base, wherever they lie."""
    wanted = {Path(place) for place in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    hop = Path(sys.executable)
    while hop.is_symlink():  # each link on the way must exist inside too
        wanted.add(hop.parent)
        hop = hop.parent / hop.readlink()
    wanted.add(hop.parent)
    wanted.update([place.resolve() for place in wanted])
    wanted.update(own_packages())
    outermost: list[Path] = []
    for place in sorted({Path(os.path.normpath(place)) for place in wanted}, key=lambda place: len(place.parts)):
        if not any(place.is_relative_to(outer) for outer in (Path("/usr"), *outermost)) and place != Path("/"):
            outermost.append(place)
    return [place for place in outermost if str(place) not in SYSTEM]


def own_packages() -> list[Path]:
    """Our packages of which evaluators may use parts: elsewhere than the rest of Python in an editable installation.

    There landlock cannot help to find them: it would have to show the folder above.
    """
    home = Path(__file__).resolve().parents[2]
    return [home / name for name in ("raysearch", "evaluators") if (home / name / "__init__.py").is_file()]


def parents(places: Iterable[str]) -> list[str]:
    """Folders above ``places``, each once, outermost first; without the root."""
    found = {str(parent) for place in places for parent in PurePosixPath(place).parents}
    return sorted(found - {"/", "."}, key=lambda place: place.count("/"))
