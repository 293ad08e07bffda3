"""What a record of a watched run (`evaluators.audit.watch`) says: events, and the signs among them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evaluators.audit.ground import Ground
from evaluators.audit.known import MACHINE_PATHS, NATIVE, TUNING_VARIABLES, Weight
from evaluators.audit.python import read
from evaluators.audit.signs import Severity, Sign, clipped
from evaluators.audit.static import python_signs

LINES_MAX = 200_000


def _all(rule: str, severity: Severity, *names: str) -> dict[str, Weight]:
    return dict.fromkeys(names, (rule, severity))


_SIMPLE: Mapping[str, Weight] = {
    **_all("frames", "refuse", "sys._getframe", "sys._current_frames", "sys._current_exceptions", "sys.settrace"),
    **_all("frames", "refuse", "sys.setprofile", "sys.addaudithook", "gc.get_objects", "gc.get_referrers"),
    **_all("frames", "refuse", "gc.get_referents", "object.__getattr__"),
    **_all("evaluator-process", "refuse", "sys.argv"),
    **_all("evaluator-process", "suspicious", "os.kill", "os.killpg"),
    **_all("evaluator-modules", "refuse", "import"),
    **_all("network", "refuse", "socket.connect", "socket.sendto"),
    **_all("network", "suspicious", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "urllib.Request"),
    **_all("native-calls", "suspicious", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"),
    **_all("native-calls", "suspicious", "os.fork", "os.forkpty", "pty.spawn", "ctypes.dlopen", "resource.prlimit"),
    **_all("hidden-code", "refuse", "marshal.loads", "code.__new__"),
    **_all("hidden-code", "suspicious", "exec", "function.__new__", "pickle.find_class", "ctypes.string_at"),
    **_all("hidden-code", "suspicious", "object.__delattr__"),
    **_all("background", "suspicious", "_thread.start_new_thread"),
    **_all("sleeping", "suspicious", "time.sleep"),
}
"""Events that say by their names what they are."""
_CHANGES = frozenset(
    {"os.rename", "os.remove", "os.link", "os.symlink", "os.truncate", "shutil.copyfile", "shutil.move"}
)
_LISTS = frozenset({"os.listdir", "os.scandir", "glob.glob", "os.chdir", "shutil.rmtree"})


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the record."""

    process: int
    number: int
    name: str
    about: str
    file: str
    line: int
    via: str


@dataclass(frozen=True, slots=True)
class Places:
    """Paths as the watched processes saw them."""

    candidate: str
    target: str
    result: str
    own: str
    """Folder of the watch itself."""

    @property
    def scratch(self) -> str:
        return self.result.rpartition("/")[0]


def parsed(text: str) -> Iterator[Event | None]:
    """The events of a record; None for a line that nobody wrote so."""
    for line in text.splitlines()[:LINES_MAX]:
        try:
            process, number, name, about, file, at, via = ast.literal_eval(line)
            yield Event(int(process), int(number), str(name), str(about), str(file), int(at), str(via))
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            yield None


def record_signs(text: str, places: Places, ground: Ground, what: str) -> list[Sign]:
    """The signs in a record; ``what`` was run names those that no file of the program shows."""
    found: list[Sign] = []
    counts: dict[int, int] = {}
    for event in parsed(text):
        if event is None:
            found.append(Sign("trace", what, 0, "lines in the record that the watch did not write"))
            continue
        if event.number != counts.get(event.process, 0) + 1 and event.number != 1:
            found.append(Sign("trace", what, 0, "lines are missing from the record"))
        counts[event.process] = event.number
        if event.name == "record taken away":
            found.append(Sign("trace", what, 0, "closes files that are not its own, the record among them"))
        found += _signs(event, places, ground, what)
    return list(dict.fromkeys(found))


def _signs(event: Event, places: Places, ground: Ground, what: str) -> Iterator[Sign]:
    name, about = event.name, event.about
    if name == "compile":
        yield from _compiled(event, ground, what)
    elif name == "replaced":
        weight: Severity = "suspicious" if event.via else "refuse"
        yield Sign("patching", event.file or what, 0, f"{about} is no longer what it was", f"seen in {what}", weight)
    else:
        for rule, said, severity in _said(name, about, places, ground):
            weight = "suspicious" if event.via else severity
            yield Sign(rule, event.file or what, event.line, clipped(said, 120), f"seen in {what}", weight)


def _said(name: str, about: str, places: Places, ground: Ground) -> Iterator[tuple[str, str, Severity]]:
    if name in _SIMPLE:
        rule, severity = _SIMPLE[name]
        if rule == "network":
            severity = "suspicious" if ground.network or not about.startswith("(") else severity
        yield rule, f"{name} {clipped(about, 60)}".strip(), severity
    elif name == "open" or name in _CHANGES or name in _LISTS:
        yield from _file_signs(name, about, places)
    elif name == "object.__setattr__":
        yield "hidden-code", f"sets {about}", "refuse" if about == "__code__" else "suspicious"
    elif name == "ctypes.dlsym" and about in NATIVE:
        yield NATIVE[about][0], f"calls {about}", NATIVE[about][1]
    elif name == "os.putenv":
        yield from _variable(about)
    elif name == "looked at":
        yield "deferred-work", f"{about} runs when the evaluator looks at an answer", "refuse"
    elif name == "left running":
        yield "deferred-work", f"{about} never ends", "refuse"


def _file_signs(name: str, about: str, places: Places) -> Iterator[tuple[str, str, Severity]]:
    words = about.split(" ")
    writes = name in _CHANGES or name == "shutil.rmtree" or words[0] == "write"
    for path in words if name != "open" else words[1:]:
        if not path.startswith("/") or path.startswith(places.candidate.rstrip("/") + "/"):
            continue
        if path == places.candidate.rstrip("/"):
            continue
        said = f"{'changes' if writes else 'reads'} {path}"
        if path == places.result or (path + "/").startswith(places.own.rstrip("/") + "/"):
            refused = path == places.result or writes
            yield ("result-files" if path == places.result else "trace"), said, "refuse" if refused else "suspicious"
        elif path + "/" == places.scratch + "/" or path.startswith(places.scratch + "/"):
            yield "result-files", said, "refuse"
        elif (path + "/").startswith(places.target.rstrip("/") + "/"):
            yield "evaluator-files", said, "refuse"
        elif path.startswith("/proc") and not MACHINE_PATHS.fullmatch(path):
            yield "evaluator-process", said, "refuse"
        elif path == "/":
            yield "searching", said, "refuse"
        elif name in _LISTS or name == "open":
            yield "searching", said, "suspicious"


def _compiled(event: Event, ground: Ground, what: str) -> Iterator[Sign]:
    """Code that a program made while it ran, held against the rules for code that stands in its files."""
    source = read(event.file or what, event.about, ground)
    for found in python_signs(source) if source is not None else ():
        evidence = f"in code that it made: {found.evidence}"
        yield Sign(found.rule, event.file or what, event.line, found.what, clipped(evidence), found.severity)


def _variable(about: str) -> Iterator[tuple[str, str, Severity]]:
    name = about.partition(" ")[0]
    severe = name.startswith(("LD_", "DYLD_", "PYTHON", "FAKETIME", "RAYSEARCH"))
    if severe:
        yield "environment", f"sets {name}", "refuse"
    elif not TUNING_VARIABLES.fullmatch(name):
        yield "environment", f"sets {name}", "suspicious"


def is_complete(text: str) -> bool:
    """Whether the first process of the record came to its end under the watch."""
    events: Sequence[Event | None] = list(parsed(text))
    first = next((event for event in events if event is not None), None)
    return first is not None and any(e is not None and e.name == "end" and e.process == first.process for e in events)
