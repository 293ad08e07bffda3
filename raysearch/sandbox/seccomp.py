"""The system calls that a candidate does without, as a filter for the kernel (seccomp(2)).

Most of what a kernel offers serves computing, files and processes; this refuses the rest: mounts and namespaces,
other processes' memory, keys, kernel modules and programs, clocks, sockets beyond what the sandbox isolates. What
is refused fails with EPERM; calls that are newer than this list, and ``clone3`` (whose flags a filter cannot see),
with ENOSYS, on which C libraries fall back to what they did before. Another architecture's calls end the process.

Numbers: x86_64 from arch/x86/entry/syscalls/syscall_64.tbl, aarch64 from scripts/syscall.tbl of Linux 6.17.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

KNOWN_MAX = 469
"""The newest system call that was considered."""
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
EPERM, ENOSYS, EOPNOTSUPP = 1, 38, 95

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
STREAM, DATAGRAM, SEQUENCED = 1, 2, 5
TYPE_MASK = 0xF
"""Of a socket's type; above are flags."""

# fmt: off
ALWAYS = {  # name: number on x86_64, on aarch64 (None: absent there)
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "process_madvise": (440, 440), "pidfd_getfd": (438, 438), "move_pages": (279, 239), "migrate_pages": (256, 238),
    # what is mounted where
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431),
    "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442), "open_tree_attr": (467, 467),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263), "quotactl": (179, 60), "quotactl_fd": (443, 443), "swapon": (167, 224),
    "swapoff": (168, 225), "ustat": (136, None),
    # the kernel's own: keys, programs, rings, modules
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "lsm_set_self_attr": (460, 460),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "create_module": (174, None),
    "query_module": (178, None), "get_kernel_syms": (177, None), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "uselib": (134, None),
    "_sysctl": (156, None), "syslog": (103, 116),
    # the whole machine
    "reboot": (169, 142), "acct": (163, 89), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "vhangup": (153, 58),
}
SHARED = {  # System V and POSIX queues, semaphores and memory, which outlive who made them; watching folders
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "semtimedop": (220, 192),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185),
    "inotify_init": (253, None), "inotify_init1": (294, 26),
}
ATTRIBUTES = {  # modes, owners, times and attributes of files, which no Landlock rule covers
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
UNSUPPORTED = ("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr")
"""Those of them that many a file system does not have, which programs know how to do without."""
SUPERVISED = ("chmod", "fchmod", "fchmodat", "fchmodat2", "utimensat")
"""Those of them that a guard does for its command, where it may (`raysearch.process.bars`)."""
ADDRESSED = {  # what makes a socket reach anything, or be reached
    "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202), "accept4": (288, 242),
}
CLONE, CLONE3, UNSHARE = (56, 220), (435, 435), (272, 97)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
IOCTL, PERSONALITY, FCNTL, PRLIMIT = (16, 29), (135, 92), (72, 25), (302, 261)
OF_A_PROCESS = ((203, 122), (144, 119), (142, 118), (314, 274))  # sched_set: affinity, scheduler, param, attr
OF_MANY = {(141, 140): (0, 1), (251, 30): (1, 2)}  # setpriority, ioprio_set: "of a process", "of a group"; its number
# fmt: on

NAMESPACES = 0x7E020080
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET, NEWTIME."""
NEW_TIME = 0x80
"""In clone's flags, the exit signal's place."""
PUSHES_INPUT = (0x5412, 0x541C)
"""TIOCSTI, TIOCLINUX: type into a terminal."""
SETS_FLAGS = (0x40086602, 0x401C5820)
"""FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR."""
SET_LEASE = 1024
ANY = 0xFFFFFFFF

Condition = tuple[int, int, int]
"""A call's argument (0 to 5), a mask, and what its low half must be under that mask."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a sandbox isolates by other means, so that it need not be refused here.

    ``network``: sockets for IP; either the sandbox has a network of its own, or the target may use the machine's.
    ``named_sockets``: Unix sockets with names, which then reach only what is inside. ``ipc``: queues, semaphores and
    shared memory of System V and POSIX, and folders that can be watched, which then are the sandbox's own. ``user``:
    the command has a user number of its own, by which files and processes of everybody else are protected.
    """

    network: bool = True
    named_sockets: bool = True
    ipc: bool = True
    user: bool = True


def supported(machine: str = "") -> bool:
    """Whether there is a filter for this machine."""
    return (machine or platform.machine()) in ARCHITECTURES


@cache
def program(profile: Profile, machine: str = "") -> bytes:
    """The filter, as an array of ``struct sock_filter``. Raises KeyError for a machine that is not `supported`."""
    machine = machine or platform.machine()
    column = list(ARCHITECTURES).index(machine)
    refused = dict(ALWAYS)
    if not profile.ipc:
        refused |= SHARED
    if not profile.user:
        refused |= ATTRIBUTES
    if not profile.network and not profile.named_sockets:
        refused |= ADDRESSED
    numbers = (pair[column] for pair in refused.values())
    bodies = {number: [_return(_FAIL | EPERM)] for number in numbers if number is not None}
    if not profile.user:
        for names, verdict in ((SUPERVISED, _ASK), (UNSUPPORTED, _FAIL | EOPNOTSUPP)):
            known = (ATTRIBUTES[name][column] for name in names)
            bodies |= {number: [_return(verdict)] for number in known if number is not None}
    bodies |= {call[column]: body for call, body in _examined(profile)}
    bodies[CLONE3[column]] = bodies[KNOWN_MAX + 1] = [_return(_FAIL | ENOSYS)]
    start = [_load(_ARCH), _jump(_EQUAL, ARCHITECTURES[machine], 1, 0), _return(_KILL), _load(_NUMBER)]
    return b"".join([*start, *_chosen(_ranges(bodies))])


def _ranges(bodies: Mapping[int, list[bytes]]) -> list[tuple[int, list[bytes]]]:
    """All numbers, in ranges with one body: where each starts, in order. What has no body is allowed."""
    ranges = [(0, [_return(_ALLOW)])]
    for number in sorted(bodies):
        if ranges[-1][0] == number:
            ranges.pop()
        ranges += [(number, bodies[number]), (number + 1, [_return(_ALLOW)])]
    ranges.pop()  # beyond the last there is nothing
    joined = ranges[:1]
    for start, body in ranges[1:]:
        if body != joined[-1][1]:
            joined.append((start, body))
    return joined


def _chosen(ranges: Sequence[tuple[int, list[bytes]]]) -> list[bytes]:
    """Find the range by halving: the kernel runs through the filter for every call's number when it is installed."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    low, high = _chosen(ranges[:middle]), _chosen(ranges[middle:])
    if len(low) < 256:
        return [_jump(_AT_LEAST, ranges[middle][0], len(low), 0), *low, *high]
    return [_jump(_AT_LEAST, ranges[middle][0], 0, 1), _instruction(_SKIP, len(low)), *low, *high]


def _examined(profile: Profile) -> Iterable[tuple[tuple[int, int], list[bytes]]]:
    """Calls that depend on their arguments, and the code that decides; by then the call's number is known."""
    yield UNSHARE, _only([[(0, NAMESPACES, 0)]])
    yield CLONE, _only([[(0, NAMESPACES & ~NEW_TIME, 0)]])
    yield PERSONALITY, _only([[(0, ANY, 0)], [(0, ANY, ANY)]])
    yield SOCKET, _only(list(_sockets(profile)))
    pairs = [STREAM, SEQUENCED] if not profile.named_sockets else [STREAM, SEQUENCED, DATAGRAM]
    yield SOCKETPAIR, _only([[(0, ANY, AF_UNIX), (1, TYPE_MASK, kind)] for kind in pairs])
    yield IOCTL, _never([(1, ANY, code) for code in PUSHES_INPUT + (() if profile.user else SETS_FLAGS)])
    if not profile.user:
        yield FCNTL, _never([(1, ANY, SET_LEASE)])
        yield PRLIMIT, _only([[(0, ANY, 0)]])
        for call in OF_A_PROCESS:
            yield call, _only([[(0, ANY, 0)]])
        for call, kinds in OF_MANY.items():
            yield call, _only([[(0, ANY, kind), (1, ANY, 0)] for kind in kinds])


def _sockets(profile: Profile) -> Iterable[list[Condition]]:
    if profile.named_sockets:
        yield [(0, ANY, AF_UNIX)]
    if profile.network:
        for family in (AF_INET, AF_INET6):
            for kind in (STREAM, DATAGRAM):
                yield [(0, ANY, family), (1, TYPE_MASK, kind)]
        yield [(0, ANY, AF_NETLINK), (2, ANY, 0)]  # NETLINK_ROUTE: which interfaces there are


_LOAD, _AND, _EQUAL, _AT_LEAST, _SKIP, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06
_ALLOW, _ASK, _FAIL, _KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
"""Offsets in ``struct seccomp_data``; an argument's low half comes first on these machines."""


def _only(alternatives: Sequence[Sequence[Condition]]) -> list[bytes]:
    """Allow where all conditions of one alternative hold."""
    code: list[bytes] = []
    for conditions in alternatives:
        for place, (argument, mask, value) in enumerate(conditions):
            left = 3 * (len(conditions) - place - 1) + 1
            code += [_load(_ARGUMENTS + 8 * argument), _and(mask), _jump(_EQUAL, value, 0, left)]
        code.append(_return(_ALLOW))
    return [*code, _return(_FAIL | EPERM)]


def _never(conditions: Sequence[Condition]) -> list[bytes]:
    """Allow where no condition holds."""
    code: list[bytes] = []
    for argument, mask, value in conditions:
        code += [_load(_ARGUMENTS + 8 * argument), _and(mask), _jump(_EQUAL, value, 0, 1), _return(_FAIL | EPERM)]
    return [*code, _return(_ALLOW)]


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _and(mask: int) -> bytes:
    return _instruction(_AND, mask)


def _return(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _jump(test: int, value: int, then: int, otherwise: int) -> bytes:
    return _instruction(test, value, then, otherwise)


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)
