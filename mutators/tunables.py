"""Values in a program's source that may vary: what they may become, what they are, and how to change them.

A target declares them, or the source does, in a comment behind a constant::

    SHARE = 0.1          # tune: float 0.01..0.5
    RATE = 1e-3          # tune: log 1e-5..1
    K = 4                # tune: int 1..16
    MODE = "lru"         # tune: one of "lru", "fifo"
    ORDER = (0, 1, 2)    # tune: permutation

Python files are parsed; in any other language the constant stands on one line, behind ``=``, ``:=``, ``:`` or
``#define``, and the comment starts with ``//``, ``#``, ``/*``, ``--`` or ``%``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mutators.literals import Constant, Scalar, Unreadable, Value, line_constants, python_constants, scalars
from raysearch.errors import MutatorFault, nearest
from raysearch.target import Tunable, may_change

KINDS = ("int", "float", "log", "categorical", "permutation")
FORMS = "int LOW..HIGH, float LOW..HIGH, log LOW..HIGH, one of A, B, C, permutation"
FILE_BYTES_MAX = 1_000_000
PROSE = (".md", ".rst", ".txt")

Key = tuple[str, str]
"""File and name."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A tunable with its present value and the place of that value in the file's text."""

    tunable: Tunable
    value: Value
    constant: Constant
    texts: tuple[str, ...] = ()
    """How each of the tunable's choices is written in this file."""

    @property
    def key(self) -> Key:
        return self.tunable.file, self.tunable.name

    def edits(self, value: Value) -> Iterator[tuple[int, int, str]]:
        """What to put where in the file's text so that the setting becomes ``value``."""
        choices = self.tunable.choices
        if isinstance(value, tuple):
            for span, item in zip(self.constant.elements, value, strict=True):
                yield *span, self.texts[_index(choices, item)]
        elif self.texts:
            yield self.constant.start, self.constant.end, self.texts[_index(choices, value)]
        else:
            yield self.constant.start, self.constant.end, repr(value)


def find(folder: Path, editable: Sequence[str], declared: Sequence[Tunable]) -> list[Setting]:
    """Every tunable of the program in ``folder``, declared ones first.

    Raises MutatorFault, which names everything that is wrong with them.
    """
    found: list[Setting] = []
    problems: list[str] = []
    for file in dict.fromkeys([*(tunable.file for tunable in declared), *_files(folder, editable)]):
        here = [tunable for tunable in declared if tunable.file == file]
        try:
            text = read(folder / file)
            if text is not None and (here or "tune:" in text):
                found += settings(file, text, here, problems)
        except FileNotFoundError:
            problems += [f"{file}: there is no such file, though tunable {tunable.name!r} is in it" for tunable in here]
    if problems:
        raise MutatorFault("these tunables make no sense:\n" + "\n".join(f"  {problem}" for problem in problems))
    return found


def read(path: Path) -> str | None:
    """The text of a source file, line ends as they are; None for what is not one."""
    if path.is_symlink() or path.stat().st_size > FILE_BYTES_MAX:
        return None
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError:
        return None


def settings(file: str, text: str, declared: Sequence[Tunable], problems: list[str]) -> list[Setting]:
    """The tunables in one file's text; what is wrong with any is added to ``problems``."""
    try:
        constants = python_constants(text) if is_python(file) else line_constants(text)
    except Unreadable as error:
        problems.append(f"{file}:{error.line}: {error}")
        return []
    found: dict[str, Setting] = {}
    for tunable in declared:
        same = [constant for constant in constants if constant.name == tunable.name]
        if len(same) == 1:
            _add(found, _declared(tunable, same[0], text), problems)
        else:
            many = f"{len(same)} lines assign it" if same else "no line assigns it"
            hint = "" if same else nearest(tunable.name, {constant.name for constant in constants})
            problems.append(f"{file}: {tunable.name}: {many}, there must be exactly one.{hint}")
    taken = {tunable.name for tunable in declared}
    for constant in constants:
        if constant.spec is not None and constant.name not in taken:
            if constant.name in found:
                problems.append(f"{file}:{constant.line}: {constant.name} is annotated twice")
            _add(found, _annotated(file, constant, text), problems)
    return list(found.values())


def values_in(file: str, text: str, wanted: Sequence[Setting]) -> dict[Key, Value]:
    """What another version of ``file`` sets the ``wanted`` tunables to, as far as it does so sensibly."""
    try:
        constants = python_constants(text) if is_python(file) else line_constants(text)
    except Unreadable:
        return {}
    by_name = {constant.name: constant for constant in constants}
    found: dict[Key, Value] = {}
    for setting in wanted:
        constant = by_name.get(setting.tunable.name)
        if setting.tunable.file == file and constant is not None:
            value = _fitted(setting.tunable, constant.value)
            if not isinstance(value, _Problem):
                found[setting.key] = value
    return found


def write(folder: Path, found: Sequence[Setting], values: Mapping[Key, Value]) -> None:
    """Set ``values`` in the files below ``folder``; every other byte stays as it is."""
    for file in dict.fromkeys(setting.tunable.file for setting in found):
        path = folder / file
        text = path.read_bytes().decode()
        path.write_bytes(written(text, [setting for setting in found if setting.tunable.file == file], values).encode())


def written(text: str, found: Sequence[Setting], values: Mapping[Key, Value]) -> str:
    """``text`` with those of ``values`` that differ from the present ones."""
    edits = [
        edit
        for setting in found
        if not same(values.get(setting.key, setting.value), setting.value)
        for edit in setting.edits(values[setting.key])
    ]
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def is_python(file: str) -> bool:
    return file.endswith((".py", ".pyi"))


def same(one: Value, other: Value) -> bool:
    """Equal in type too: 1, 1.0 and True are three values."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and one == other


@dataclass(frozen=True, slots=True)
class _Problem:
    text: str


def _add(found: dict[str, Setting], made: Setting | _Problem, problems: list[str]) -> None:
    if isinstance(made, _Problem):
        problems.append(made.text)
    else:
        found[made.tunable.name] = made


def _files(folder: Path, editable: Sequence[str]) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        inside = PurePosixPath(path.relative_to(folder).as_posix())
        hidden = any(part.startswith(".") or part == "__pycache__" for part in inside.parts)
        if hidden or inside.suffix in PROSE or not path.is_file():
            continue
        if may_change(inside, editable):
            yield str(inside)


def _annotated(file: str, constant: Constant, text: str) -> Setting | _Problem:
    """The tunable that a comment describes. ``one of`` and ``permutation`` keep the spelling of the source."""
    spec, where = constant.spec or "", f"{file}:{constant.line}: {constant.name}"
    tunable = Tunable(constant.name, file, "")
    texts: tuple[str, ...] = ()
    if bounds := re.fullmatch(r"(int|float|log)\s+(\S+?)\s*\.\.\s*(\S+)", spec):
        try:
            low, high = float(bounds[2]), float(bounds[3])
        except ValueError:
            return _Problem(f"{where}: {bounds[2]} and {bounds[3]} must be numbers in `tune: {spec}`")
        tunable = replace(tunable, kind=bounds[1], low=low, high=high)
    elif choices := re.fullmatch(r"one\s+of\s+(.*\S)", spec):
        listed = scalars(choices[1])
        if not listed:
            return _Problem(f"{where}: `tune: {spec}` must list numbers, texts, true or false, with commas between")
        tunable = replace(tunable, kind="categorical", choices=tuple(choice for choice, _, _ in listed))
        texts = _spelt(tunable, constant, text)
    elif spec == "permutation":
        items = constant.value if isinstance(constant.value, tuple) else ()
        texts = tuple(text[start:end] for start, end in constant.elements)
        tunable = replace(tunable, kind="permutation", choices=items)
    else:
        word = spec.split()[0] if spec else ""
        hint = nearest(word, ("int", "float", "log", "one", "permutation")) if word else ""
        return _Problem(f"{where}: cannot read `tune: {spec}`.{hint} The forms are: {FORMS}.")
    return _setting(tunable, constant, texts, where)


def _declared(tunable: Tunable, constant: Constant, text: str) -> Setting | _Problem:
    where = f"{tunable.file}:{constant.line}: {tunable.name}"
    if tunable.kind not in KINDS:
        return _Problem(f"{where}: unknown kind {tunable.kind!r}.{nearest(tunable.kind, KINDS)}")
    texts: tuple[str, ...] = ()
    if tunable.kind == "categorical":
        texts = _spelt(tunable, constant, text)
    elif tunable.kind == "permutation" and isinstance(constant.value, tuple):
        here = [text[start:end] for start, end in constant.elements]
        if isinstance(_fitted(tunable, constant.value), tuple):
            texts = tuple(here[_index(constant.value, choice)] for choice in tunable.choices)
    return _setting(tunable, constant, texts, where)


def _spelt(tunable: Tunable, constant: Constant, text: str) -> tuple[str, ...]:
    """The choices of a category as source text, quoted as the literal that stands there now."""
    python, first = is_python(tunable.file), text[constant.start]
    bare = isinstance(constant.value, str) and not python and first not in ("'", '"')
    quote = "" if bare else first if first in ("'", '"') else '"'
    texts = []
    for choice in tunable.choices:
        if isinstance(choice, bool):
            texts.append(str(choice) if python else str(choice).lower())
        elif not isinstance(choice, str) or (python and not choice.isprintable()):
            texts.append(repr(choice))
        elif bare:
            texts.append(choice)
        else:
            texts.append(quote + choice.replace("\\", "\\\\").replace(quote, "\\" + quote) + quote)
    return tuple(texts)


def _setting(tunable: Tunable, constant: Constant, texts: tuple[str, ...], where: str) -> Setting | _Problem:
    problem = _contradiction(tunable)
    value = problem or _fitted(tunable, constant.value)
    if isinstance(value, _Problem):
        return _Problem(f"{where}: {value.text}")
    return Setting(tunable, value, constant, texts)


def _contradiction(tunable: Tunable) -> _Problem | None:
    low, high, kind = tunable.low, tunable.high, tunable.kind
    if kind in ("categorical", "permutation"):
        distinct = {(type(choice), choice) for choice in tunable.choices}
        if kind == "categorical" and len(distinct) < max(1, len(tunable.choices)):
            return _Problem("the choices must be one or more, all different")
        return _Problem("the elements must all be different") if len(distinct) < len(tunable.choices) else None
    if not (math.isfinite(low) and math.isfinite(high)):
        return _Problem(f"the bounds {low:g}..{high:g} must be finite")
    if low > high:
        return _Problem(f"low {low:g} is above high {high:g}: turn them round")
    if kind == "int" and not (low % 1 == 0 == high % 1):
        return _Problem(f"the bounds {low:g}..{high:g} of an int must be whole numbers")
    return _Problem(f"low {low:g} must be above 0 on a logarithmic scale") if kind == "log" and low <= 0 else None


def _fitted(tunable: Tunable, value: Value | None) -> Value | _Problem:
    """``value`` as one of the tunable's, or why it is none."""
    if value is None:
        return _Problem("its value is not a literal")
    if tunable.kind == "permutation":
        if not isinstance(value, tuple):
            return _Problem("a permutation needs a list or tuple of literals as its value")
        fits = len(value) == len(tunable.choices) and all(_holds(tunable.choices, item) for item in value)
        distinct = len({(type(item), item) for item in value}) == len(value)
        return value if fits and distinct else _Problem(f"its value {value!r} is no order of {tunable.choices!r}")
    if tunable.kind == "categorical":
        listed = not isinstance(value, tuple) and _holds(tunable.choices, value)
        return value if listed else _Problem(f"its value {value!r} is none of {', '.join(map(repr, tunable.choices))}")
    whole = tunable.kind == "int"
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return _Problem(f"its value {value!r} is not {'a whole number' if whole else 'a number'}")
    if not tunable.low <= value <= tunable.high:
        return _Problem(f"its value {value!r} is outside {tunable.low:g}..{tunable.high:g}")
    return value if whole else float(value)


def _holds(choices: Sequence[Scalar], value: Scalar) -> bool:
    return any(same(choice, value) for choice in choices)


def _index(choices: Sequence[Scalar], value: Scalar) -> int:
    return next(place for place, choice in enumerate(choices) if same(choice, value))
