"""Puts the watch (`watch.py`, which lies beside it) into a Python process inside the sandbox, and runs its script.

Stands alone: only Python's own library. The judge starts it as a script, with the script that it asked for behind it;
from there on every Python below imports it as ``sitecustomize``, or is started through it where it was told to ignore
PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))


def install(place: str) -> None:
    """Begin to watch this process, once."""
    if getattr(sys, "_watched", False):
        return
    sys._watched = True  # type: ignore[attr-defined]
    import atexit
    import subprocess

    space: dict[str, Any] = {"__name__": "watch", "__file__": os.path.join(HERE, "watch.py")}
    with open(space["__file__"], "rb") as file:
        exec(compile(file.read(), space["__file__"], "exec"), space)
    start = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def start_watched(self, args, executable, *rest, **named):  # type: ignore[no-untyped-def]
        return start(self, _with_watch(args, executable, place), executable, *rest, **named)

    subprocess.Popen._execute_child = start_watched  # type: ignore[attr-defined]
    watch = space["Watch"](space["Settings"](place))
    arguments = space["Arguments"]
    watch.recorder.write("start", " ".join(map(str, sys.orig_argv))[:400])
    atexit.register(watch.end)
    sys.orig_argv = arguments(list(sys.orig_argv), watch)
    if hasattr(sys, "argv"):
        sys.argv = arguments(list(sys.argv), watch)
    sys._watch_arguments = lambda words: arguments(words, watch)  # type: ignore[attr-defined]
    watch.look()


def _with_watch(args: object, executable: object, place: str) -> object:
    """The words of a command that starts Python without regard to PYTHONPATH, with this script in between."""
    if isinstance(args, str | bytes) or not isinstance(args, list | tuple):
        return args
    words = [os.fsdecode(word) if isinstance(word, str | bytes | os.PathLike) else word for word in args]
    name = os.path.basename(os.fsdecode(executable) if executable else str(words[0]) if words else "")  # type: ignore[arg-type]
    if not name.startswith("python") or not all(isinstance(word, str) for word in words):
        return args
    position, ignores = 1, False
    while position < len(words) and words[position].startswith("-") and words[position] not in ("-c", "-m", "-"):
        ignores = ignores or any(letter in words[position][1:] for letter in "IES")
        position += 2 if words[position] in ("-W", "-X") else 1
    if position >= len(words) or words[position] == "-" or not ignores:
        return args
    return [*words[:position], os.path.join(os.path.dirname(place), "sitecustomize.py"), place, *words[position:]]


def play(words: list[str]) -> None:
    """Run what the interpreter was to run: a script, a module or a text."""
    import types

    first = words[0]
    module = types.ModuleType("__main__")
    vars(module)["__builtins__"] = sys.modules["builtins"]
    if first == "-m":
        import runpy

        sys.argv = sys._watch_arguments(words[1:])  # type: ignore[attr-defined]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        return
    sys.modules["__main__"] = module
    if first == "-c":
        sys.argv = sys._watch_arguments(["-c", *words[2:]])  # type: ignore[attr-defined]
        exec(compile(words[1], "<string>", "exec"), vars(module))
        return
    if not sys.flags.safe_path:
        sys.path[0:1] = [os.path.dirname(os.path.realpath(first))]
    sys.argv = sys._watch_arguments(words)  # type: ignore[attr-defined]
    vars(module).update(__file__=first, __cached__=None)
    with open(first, "rb") as file:
        code = compile(file.read(), first, "exec", dont_inherit=True)
    exec(code, vars(module))


def begin(words: list[str]) -> None:
    """The first process: complete the settings, of which only here the paths are known, and show children the way."""
    import json

    place, candidate, target, result = words
    folder = os.path.dirname(os.path.abspath(place))
    with open(place, encoding="utf-8") as file:
        told = json.load(file)
    told |= {"candidate": candidate, "target": target, "result": result, "log": os.path.join(folder, "record")}
    with open(place, "w", encoding="utf-8") as file:
        json.dump(told, file)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = folder + (os.pathsep + before if before else "")


if __name__ == "__main__":
    if sys.argv[2] == "--begin":
        begin([sys.argv[1], *sys.argv[3:6]])
        del sys.argv[2:6]
    install(sys.argv[1])
    play(sys.argv[2:])
elif __name__ == "sitecustomize":
    install(os.path.join(os.path.dirname(os.path.abspath(__file__)), "settings.json"))
