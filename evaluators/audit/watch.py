"""Runs inside the sandbox, in every Python that an evaluator starts: writes down what a program's code reaches for.

Stands alone: only Python's own library. `watch_start.py` runs it. An audit hook (PEP 578) cannot be taken off again.

A line of the record is the `repr` of a tuple: process, number (counted from 1 without gaps in each process), event,
what it was about, file and line of the program's code that is responsible, and whether a library stands between.
"""

from __future__ import annotations

import _thread
import ast
import os
import sys
from typing import Any

HERE = __file__
EVENTS_MAX = 2000
TEXT_MAX = 20_000
MODULES = ("time", "builtins", "json", "os", "math", "random", "statistics", "subprocess", "sys", "hashlib", "pathlib")
CALLS_MAX = 100_000
"""Calls and returns that are looked at, from the start of a process."""
DEFERRED = frozenset(
    "__eq__ __ne__ __lt__ __le__ __gt__ __ge__ __iter__ __next__ __getitem__ __len__ __float__ __int__ __index__ "
    "__bool__ __array__ __contains__ __complex__ __str__ __repr__".split()
)
"""What is called when somebody looks at an answer."""
GENERATOR = 0x20
WALKERS = {
    "sys._getframe": ("/inspect.py", "/traceback.py"),
    "object.__getattr__": ("/inspect.py",),
    "compile": ("/ast.py", "/codeop.py"),
    "exec": ("/code.py",),
}
"""Of Python's library, what does such things on behalf of who calls it."""
QUOTERS = ("traceback.py", "warnings.py")
"""Those that read the source of whatever stands on the stack."""
DIRECT = {
    "exec", "compile", "marshal.loads", "pickle.find_class", "code.__new__", "function.__new__", "object.__setattr__",
    "object.__delattr__", "object.__getattr__", "sys.settrace", "sys.setprofile", "sys.addaudithook", "gc.get_objects",
    "gc.get_referrers", "gc.get_referents", "sys._getframe", "sys._current_frames", "sys._current_exceptions",
    "ctypes.string_at", "os.fork",
}  # fmt: skip
"""Of these Python's own library makes use for anybody; what counts is a program's own."""
INTEREST = DIRECT | {
    "open", "os.listdir", "os.scandir", "glob.glob", "os.rename", "os.remove", "os.link", "os.symlink", "os.truncate",
    "os.chdir", "shutil.copyfile", "shutil.move", "shutil.rmtree", "socket.connect", "socket.getaddrinfo",
    "socket.gethostbyname", "socket.sendto", "socket.bind", "subprocess.Popen", "os.system", "os.exec",
    "os.posix_spawn", "os.spawn", "os.forkpty", "pty.spawn", "ctypes.dlopen", "ctypes.dlsym", "os.putenv", "os.kill",
    "os.killpg", "import", "resource.prlimit", "time.sleep", "_thread.start_new_thread", "sqlite3.connect",
    "urllib.Request", "http.client.connect", "ftplib.connect", "smtplib.connect",
}  # fmt: skip
FRAMES = ("f_back", "tb_frame", "gi_frame", "cr_frame", "ag_frame", "__code__", "f_locals", "f_globals")


class Settings:
    """What the judge told."""

    def __init__(self, place: str) -> None:
        import json

        with open(place, encoding="utf-8") as file:
            told = json.load(file)
        self.place = place
        self.log: str = told["log"]
        self.candidate: str = told["candidate"]
        self.files: list[str] = told["files"]
        self.target: str = told["target"]
        self.result: str = told["result"]
        self.modules: list[str] = told["modules"]
        self.own: str = os.path.dirname(place)


class Recorder:
    """Writes lines into the record, and ends the process if somebody took the record away."""

    def __init__(self, log: str) -> None:
        import fcntl

        number = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._log = log
        self._fd = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 100)
        os.close(number)
        self._inode = os.fstat(self._fd).st_ino
        self._pid, self._count = os.getpid(), 0
        self._seen: set[object] = set()
        self._os = (os.write, os.fstat, os.getpid, os._exit, repr)

    def write(self, event: str, about: object, file: str = "", line: int = 0, via: str = "") -> None:
        write, fstat, getpid, _, spell = self._os
        if getpid() != self._pid:
            self._pid, self._count = getpid(), 0
            self._seen = set()
            self.write("forked", "")
        key = (event, about, file, line)
        if key in self._seen or self._count > EVENTS_MAX:
            return
        self._seen.add(key)
        self._count += 1
        if self._count > EVENTS_MAX:
            event, about = "overflow", ""
        data = (spell((self._pid, self._count, event, about, file, line, via)) + "\n").encode("utf-8", "replace")
        try:
            if fstat(self._fd).st_ino != self._inode or write(self._fd, data) != len(data):
                raise OSError
        except OSError:
            self._taken()

    def _taken(self) -> None:
        """Somebody closed or replaced the file behind our back: say so, if that can be, and end."""
        write, _, getpid, end, spell = self._os
        try:
            number = os.open(self._log, os.O_WRONLY | os.O_APPEND)
            line = spell((getpid(), self._count, "record taken away", "", "", 0, "")) + "\n"
            write(number, line.encode())
        finally:
            end(86)


class Watch:
    """The hook, and what it knows of the folders around it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.recorder = Recorder(settings.log)
        self._busy: set[int] = set()
        self._kinds: dict[str, str] = {}
        self._std = (os.path.dirname(os.__file__) + os.sep, "<frozen ")
        self._libraries = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
        roots = {sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", "/lib", "/lib64", "/etc", "/bin", "/opt", "/sys"}
        self._fine = (*(os.path.realpath(root) + os.sep for root in roots if root != os.sep), "/dev/")
        self._snapshot = self._picture()
        self._reported: set[str] = set()
        self._calls = 0

    def kind(self, file: str) -> str:
        """Whose a file of code is: ``mine`` (the program's), ``std``, ``library``, ``evaluator`` or ``made``."""
        found = self._kinds.get(file)
        if found is None:
            found = self._kinds[file] = self._judged(file)
        return found

    def _judged(self, file: str) -> str:
        settings = self.settings
        if file == HERE or file.startswith(settings.own):
            return "std"
        if any(folder in file for folder in self._libraries):
            return "library"
        if file.startswith(self._std):
            return "std"
        if file.startswith("<"):
            return "made"
        if file in settings.files or file.startswith(settings.candidate.rstrip("/") + "/"):
            return "mine"
        if file.startswith(settings.target.rstrip("/") + "/"):
            return "evaluator"
        tails = ("/" + name for name in settings.files)
        return "mine" if any(file.endswith(tail) for tail in tails) else "evaluator"

    def responsible(self, event: str) -> tuple[str, int, str] | None:
        """File and line of the program's code that did it, and the library that it went through."""
        try:
            frame = sys._getframe(2)
        except ValueError:
            return None
        via, made, quoted = "", False, False
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith("<frozen importlib") and event in ("os.listdir", "os.scandir"):
                return None  # a module is looked for
            quoted = quoted or file.endswith("linecache.py")
            if quoted and event == "open" and file.endswith(QUOTERS):
                return None  # an error's or a warning's own line is shown
            kind = self.kind(file)
            if kind == "made" and self.kind(str(frame.f_globals.get("__file__", "<"))) == "mine":
                kind, made = "mine", True
            if kind == "mine":
                return ("(code that it made)" if made else self._short(file)), frame.f_lineno, via
            if kind == "evaluator":
                return None
            if kind == "library":
                if event in DIRECT:
                    return None
                via = via or file
            elif kind == "std" and event in DIRECT and not file.startswith(self.settings.own):
                if not file.endswith(WALKERS.get(event, ())):
                    return None
            frame = frame.f_back  # type: ignore[assignment]
        return None

    def _short(self, file: str) -> str:
        folder = self.settings.candidate.rstrip("/") + "/"
        return file.removeprefix(folder)

    def hook(self, event: str, given: tuple[object, ...]) -> None:
        if event not in INTEREST:
            return
        me = _thread.get_ident()
        if me in self._busy:
            return
        self._busy.add(me)
        try:
            self._look(event, given)
        except (AttributeError, TypeError, ValueError, LookupError, RuntimeError) as error:
            self.recorder.write("missed", f"{event}: {type(error).__name__}: {error}")
        finally:
            self._busy.discard(me)

    def _look(self, event: str, given: tuple[object, ...]) -> None:
        about = self._about(event, given)
        if about is None:
            return
        found = self.responsible(event)
        if event == "open" and about.split(" ", 1)[-1] == self.settings.result:
            self.compare()
        if found is not None:
            file, line, via = found
            self.recorder.write(event, about, file, line, via)

    def _about(self, event: str, given: tuple[object, ...]) -> str | None:
        """What an event is about, in words; None where it does not matter."""
        first = given[0] if given else ""
        if event == "open":
            return self._opened(first, given)
        if event in ("object.__getattr__", "object.__setattr__", "object.__delattr__"):
            name = str(given[1])
            return name if event != "object.__getattr__" or (name in FRAMES and name != "__code__") else None
        if event == "compile":
            source = first.decode("utf-8", "replace") if isinstance(first, bytes | bytearray) else first
            source = ast.unparse(source) if isinstance(source, ast.AST) else source
            return source[:TEXT_MAX] if isinstance(source, str) else None
        if event == "exec":
            return str(getattr(first, "co_filename", ""))[:200]
        if event == "import":
            return str(first) if str(first).partition(".")[0] in self.settings.modules else None
        if event == "ctypes.dlsym":
            return str(given[1])[:200]
        if event in ("sys._getframe", "gc.get_objects", "sys._current_frames"):
            return ""
        if (
            event.startswith("socket.")
            and len(given) > 1
            and event not in ("socket.getaddrinfo", "socket.gethostbyname")
        ):
            return str(given[1])[:200]
        if event == "pickle.find_class":
            return f"{given[0]}.{given[1]}"
        if event == "os.putenv":
            return os.fsdecode(first) if isinstance(first, str | bytes) else ""
        if event.startswith(("os.", "shutil.", "glob.")) and isinstance(first, str | bytes):
            return " ".join(self._path(item) for item in given[:2] if isinstance(item, str | bytes))
        return " ".join(str(item)[:200] for item in given[:2])

    def _opened(self, path: object, given: tuple[object, ...]) -> str | None:
        if not isinstance(path, str | bytes):
            return None
        place = self._path(path)
        mode, flags = given[1], given[2]
        writes = (isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))) or (
            isinstance(mode, str) and bool(set(mode) & set("wax+"))
        )
        candidate = self.settings.candidate.rstrip("/") + "/"
        if not writes and (place.startswith(self._fine) or place.startswith(candidate)):
            return None
        return f"{'write' if writes else 'read'} {place}"

    def _path(self, path: str | bytes) -> str:
        text = os.fsdecode(path)
        try:
            folder, name = os.path.split(os.path.abspath(text))
            return os.path.join(os.path.realpath(folder), name)
        except (OSError, ValueError):
            return text

    def _picture(self) -> dict[str, dict[str, object]]:
        import importlib

        found = {}
        for name in MODULES:
            module = importlib.import_module(name)
            found[name] = {key: value for key, value in vars(module).items() if callable(value)}
        return found

    def look(self) -> None:
        """From here on nothing goes unseen."""
        sys.setprofile(self.profile)
        sys.addaudithook(self.hook)

    def profile(self, frame: Any, event: str, _about: object) -> None:
        """Write down the program's code that runs when the evaluator looks at what it was given."""
        self._calls += 1
        if self._calls > CALLS_MAX:
            self._busy.add(_thread.get_ident())
            sys.setprofile(None)
            self._busy.discard(_thread.get_ident())
            return
        code = frame.f_code
        resumed = code.co_flags & GENERATOR and frame.f_lasti > 8
        if event != "call" or not (resumed or code.co_name in DEFERRED) or self.kind(code.co_filename) != "mine":
            return
        above = frame.f_back
        while above is not None and self.kind(above.f_code.co_filename) in ("std", "library"):
            above = above.f_back
        if above is not None and self.kind(above.f_code.co_filename) == "evaluator":
            name = "a generator" if resumed else code.co_name
            self.recorder.write("looked at", name, self._short(code.co_filename), frame.f_lineno)

    def compare(self) -> None:
        """Write down what has taken another's place in modules, and by whose code."""
        for module, before in self._snapshot.items():
            now = vars(sys.modules[module]) if module in sys.modules else {}
            for key, value in before.items():
                other = now.get(key)
                if other is not value and f"{module}.{key}" not in self._reported:
                    file = _file_of(other)
                    kind = self.kind(file) if file else ""
                    if kind in ("mine", "made", "") or other is None:
                        self._reported.add(f"{module}.{key}")
                        self.recorder.write("replaced", f"{module}.{key}", self._short(file), 0, "" if file else "?")
        for name, module_object in list(sys.modules.items()):
            if name.partition(".")[0] in ("numpy", "torch", "scipy") and name.count(".") < 2:
                for key, value in list(vars(module_object).items()):
                    file = _file_of(value)
                    if file and self.kind(file) == "mine" and f"{name}.{key}" not in self._reported:
                        self._reported.add(f"{name}.{key}")
                        self.recorder.write("replaced", f"{name}.{key}", self._short(file), 0)

    def end(self) -> None:
        me = _thread.get_ident()
        self._busy.add(me)
        self.compare()
        threading = sys.modules.get("threading")
        if threading is not None:
            for thread in threading.enumerate():
                file = _file_of(getattr(thread, "_target", None)) or _file_of(getattr(type(thread), "run", None))
                if thread is not threading.main_thread() and file and self.kind(file) == "mine":
                    self.recorder.write("left running", "a thread", self._short(file), 0)
        self.recorder.write("end", "")
        self._busy.discard(me)


def _file_of(value: object) -> str:
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return str(getattr(code, "co_filename", ""))


class Arguments(list):  # type: ignore[type-arg]
    """``sys.argv``, which tells who reads it."""

    def __init__(self, words: list[str], watch: Watch) -> None:
        super().__init__(words)
        self._watch = watch

    def _told(self) -> None:
        watch = self._watch
        me = _thread.get_ident()
        if me in watch._busy:
            return
        watch._busy.add(me)
        try:
            found = watch.responsible("sys.argv")
            if found is not None and not found[2]:
                watch.recorder.write("sys.argv", "", found[0], found[1])
        finally:
            watch._busy.discard(me)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self._told()
        return super().__getitem__(index)

    def __iter__(self):  # type: ignore[no-untyped-def]
        self._told()
        return super().__iter__()

    def __repr__(self) -> str:
        self._told()
        return super().__repr__()

    def __contains__(self, word: object) -> bool:
        self._told()
        return super().__contains__(word)

    def copy(self):  # type: ignore[no-untyped-def]
        self._told()
        return super().copy()

    def index(self, *given):  # type: ignore[no-untyped-def]
        self._told()
        return super().index(*given)

    def __add__(self, other):  # type: ignore[no-untyped-def]
        self._told()
        return super().__add__(other)
