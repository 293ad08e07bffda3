"""Texts that name what is none of a program's business: the evaluator's files, processes, results, preloaded code."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from fnmatch import fnmatchcase

from evaluators.audit.ground import COMMON, Ground
from evaluators.audit.known import (
    MACHINE_PATHS,
    PRELOADED,
    PRELOADS,
    PROCESS_PATHS,
    PROCESS_ROOT,
    RESULTS,
    SCHEMAS,
)
from evaluators.audit.signs import Severity, clipped

Found = tuple[str, str, Severity]

TEXT_CHARS_MAX = 20_000
_PATH = re.compile(r"[\w.~{}*?\[\]+@%:=/\\-]+")
_EVERYWHERE = frozenset({"__init__.py", "README.md", "data.json", "config.json", "requirements.txt", "Makefile"})
_MOUNTS = re.compile(r"/(?:target|scratch)(?:/|$)")
_OTHERS = re.compile(r"(?:\.\./)+|/(?:home|root|srv|var|run|mnt|opt)/|~")


def path_signs(
    text: str, ground: Ground, *, opened: bool = False, ran: bool = False, own: Container[str] = ()
) -> Iterator[Found]:
    """What a text of a program says: rule, what, severity.

    ``opened``: it goes where a path is meant. ``ran``: it goes to a shell. Prose, which is neither and has blanks in
    it, says nothing. ``own``: stems of files of the program itself.
    """
    text = text[:TEXT_CHARS_MAX]
    is_path = bool(_PATH.fullmatch(text))
    if SCHEMAS.search(text) and not (" " in text and not (opened or ran or '"' in text)):
        yield "result-files", clipped(text, 60), "refuse"
    if not (is_path or opened or ran):
        return
    if PRELOADS.fullmatch(text) or (ran and PRELOADED.search(text)):
        rule = "clock" if "fake" in text.lower() else "environment"
        yield rule, clipped(text, 60), "refuse"
    words = [text] if is_path or opened else re.split(r"[\s;|&<>\"'()`]+", text)
    for word in words:
        yield from _word_signs(word, ground, own, opened=opened, ran=ran)


def _word_signs(word: str, ground: Ground, own: Container[str], *, opened: bool, ran: bool) -> Iterator[Found]:
    shown = clipped(word, 60)
    if _is_of_a_process(word) or (ran and word in _LOOKERS):
        yield "evaluator-process", shown, "refuse"
        return
    if re.search(r"[*?\[]", word):
        yield from _pattern_signs(word, ground)
    parts = [part for part in re.split(r"[/\\]", word) if part]
    if not parts:
        if opened and word == "/":
            yield "searching", "/", "refuse"
        return
    last = parts[-1]
    if _is_of_the_target(word, parts, ground, own, rooted=opened or ran):
        yield "evaluator-files", shown, "refuse"
    elif last in RESULTS:
        yield "result-files", shown, "refuse"
    elif opened and (word.startswith("..") or _OTHERS.match(word) or "/../" in word):
        yield "searching", shown, "suspicious"


def _is_of_a_process(word: str) -> bool:
    if PROCESS_PATHS.search(word):
        return not MACHINE_PATHS.search(word) or bool(re.search(r"cmdline|environ|/mem$|maps|/fd", word))
    return bool(PROCESS_ROOT.fullmatch(word))


def _is_of_the_target(word: str, parts: Sequence[str], ground: Ground, own: Container[str], *, rooted: bool) -> bool:
    rooted = rooted or "/" in word.strip("/") or word.startswith("/")
    folders = [part for part in parts if part in ground.folders]
    if any(part not in COMMON or (rooted and _points_out(word)) for part in folders):
        return True
    last = parts[-1]
    named = rooted or _points_out(word)  # evaluators run in their own folders
    is_file = last in ground.files and last.partition(".")[0] not in own and last not in _EVERYWHERE
    return (
        (is_file and named) or bool(_MOUNTS.match(word)) or last in ("objectives.toml", "target.toml", "OBJECTIVE.md")
    )


def _pattern_signs(word: str, ground: Ground) -> Iterator[Found]:
    """Patterns for names of files that would match what a program must not read."""
    processes = ("/proc/1/cmdline", "/proc/self/cmdline", "/proc/self/environ", "/proc/self/maps", "/proc/self/mem")
    targets = [f"/target/{folder}/{file}" for folder in ground.folders for file in (*ground.files, "x.py")]
    if word.startswith("/") and any(fnmatchcase(path, word) for path in processes):
        yield "evaluator-process", clipped(word, 60), "refuse"
    elif word.startswith("/") and any(fnmatchcase(path, word) for path in (*targets, "/scratch/result.json")):
        yield "evaluator-files", clipped(word, 60), "refuse"


_LOOKERS = frozenset({"ps", "pgrep", "pstree", "pidof", "lsof", "gdb", "strace", "ltrace", "fuser", "top", "faketime"})


def _points_out(word: str) -> bool:
    """Whether a path leads out of the program's folder, or from a place that is not known."""
    return word.startswith(("/", "..", "{}", "~", "*")) or "/../" in word
