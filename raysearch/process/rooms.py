"""What a command sees: the mounts that a keeper makes in its namespaces.

Part of a zygote (`raysearch.process.zygote`), beside which it lies; what is known before the fork is made ready there.
"""

from __future__ import annotations

import _socket
import ctypes
import fcntl
import os
import struct

TYPE_CHECKING = False  # as typing has it, which is slow to import
if TYPE_CHECKING:
    from raysearch.process import bars
    from raysearch.process.forked import Room
else:
    import bars

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
PRIVATE = ("/dev/shm", "/tmp")
PRIVATE_PREFIXES = tuple(f"{place}/".encode() for place in PRIVATE)
LOOPBACK_UP = struct.pack("16sh22x", b"lo", IFF_UP | IFF_RUNNING)
Mounting = tuple[bytes | None, bytes, bytes | None, ctypes.c_ulong, bytes | None]
"""Arguments of mount(2)."""


def mounting(source: str | None, place: str, kind: str | None, flags: int, data: str | None = None) -> Mounting:
    """The same in the form in which a call costs least."""
    words = [None if word is None else word.encode() for word in (source, kind, data)]
    return words[0], place.encode(), words[1], ctypes.c_ulong(flags), words[2]


def binding(source: str, place: str, flags: int) -> list[Mounting]:
    """The same tree in another place. ``flags``: beside those that all have."""
    flags |= MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV
    return [mounting(source, place, None, MS_BIND | MS_REC), mounting(None, place, None, flags)]


def furnishing(room: Room) -> list[Mounting]:
    """What to mount, for a command to see what it may; the covers of /proc apart."""
    mounts = [mounting("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")]
    for place in PRIVATE:
        data = f"mode=1777,size={room['private_bytes']}"
        mounts.append(mounting("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, data))
    for source, place, writable in room["mounts"]:
        held = locked(source)
        mounts += binding(source, place, held if writable else held | MS_RDONLY)
    mounts.append(mounting("tmpfs", room["cover"], "tmpfs", MS_RDONLY, "mode=0,size=4k"))
    return mounts


def locked(source: str) -> int:
    """Flags of the machine's own mounts, which nobody here may take away."""
    try:
        return os.statvfs(source).f_flag & MS_NOEXEC
    except OSError:
        return 0  # mounting it will fail, and say so


def furnish(libc: ctypes.CDLL, room: Room, mounts: list[Mounting]) -> None:
    """Mount what the command may see. Raises OSError."""
    if not room["network"]:
        raise_loopback()
    mount = libc.mount
    for step in PROC:
        bars.demand(mount(*step), step[1])
    for place, steps in COVERS:
        if os.access(place, os.W_OK):
            for step in steps:
                bars.demand(mount(*step), step[1])
    for step in mounts:
        if step[1].startswith(PRIVATE_PREFIXES):
            make_folder(step[1].decode())
        bars.demand(mount(*step), step[1])


def make_folder(place: str) -> None:
    """A place to mount on, in a private folder; elsewhere it is there already."""
    if not os.path.lexists(place):
        make_folder(os.path.dirname(place))  # noqa: PTH120
        os.mkdir(place)  # noqa: PTH102
        os.chmod(place, 0o755)  # noqa: PTH101


def raise_loopback() -> None:
    """Switch on the only device of a new network."""
    any_socket = _socket.socket()
    fcntl.ioctl(any_socket.fileno(), SIOCSIFFLAGS, LOOPBACK_UP)
    any_socket.close()


PROC = (
    mounting(None, "/", None, MS_REC | MS_PRIVATE),
    mounting("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC),
)
COVERS = [
    (f"/proc/{name}", binding(f"/proc/{name}", f"/proc/{name}", MS_NOEXEC | MS_RDONLY))
    for name in ("sys", "sysrq-trigger", "irq", "bus")
]
"""Parts of /proc that are for the machine's administrator; bubblewrap covers the same."""
