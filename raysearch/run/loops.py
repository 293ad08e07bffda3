"""The outer loops: which flags belong to which, and what options each has.

A loop is a policy; a flag of its own stands for an option of its constructor.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from raysearch.config.layers import FLAGS, Configuration
from raysearch.errors import ConfigError, PluginError
from raysearch.plugins import available, find

ROUNDS = "max_rounds"
"""The option that loops of rounds have, and loops of generations have not."""
GENERATIONS = ("--max-generations", "--children-per-generation")
"""Flags of loops that count in generations."""
LOOP_FLAGS: tuple[str, ...] = (
    "--max-rounds",
    *GENERATIONS,
    *(flag for flag, path in FLAGS.items() if path.startswith("policy.")),
)
"""Flags that mean nothing to some loop."""
_GIVEN = ("self", "mutators")
"""What the run itself tells a policy."""
_LINE = re.compile(r"^( *)(\w+(?:, \w+)*): +(.+)$")


@dataclass(frozen=True, slots=True)
class LoopOption:
    """One option of a loop."""

    name: str
    default: object
    """`inspect.Parameter.empty` if it must be given."""
    told: str
    """From the docstring of its class; empty if that says nothing."""
    flag: str
    """Empty if there is none: ``--set policy.NAME=VALUE`` says it."""


def option_of(flag: str) -> str:
    """The name of the option that ``flag``, one of `LOOP_FLAGS`, stands for."""
    return FLAGS[flag].partition(".")[2]


def belongs(flag: str, loop: type) -> bool:
    """Whether ``flag``, one of `LOOP_FLAGS`, means anything to ``loop``."""
    parameters = _parameters(loop)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return True
    return ROUNDS not in parameters if flag in GENERATIONS else option_of(flag) in parameters


def require_own(configuration: Configuration, name: str, loop: type) -> None:
    """Raise ConfigError for a flag, or a limit, of another loop than ``loop``, which the run calls ``name``."""
    for flag in LOOP_FLAGS:
        section, key = FLAGS[flag].split(".")
        origin = configuration.origin(section, key)
        limit = section == "limits" and getattr(configuration.settings.limits, key) is not None
        if not (limit or origin == flag) or belongs(flag, loop):
            continue
        owners = [f"{owner!r}" for owner in owners_of(flag)]
        said = flag if origin == flag else f"{origin}: {section}.{key}"
        belonging = f"belongs to the loop{'s' * (len(owners) > 1)} {_and(owners)}" if owners else "belongs to no loop"
        raise ConfigError(
            f"{said} {belonging}, and the loop of this run is {name!r}: leave it out, or choose with --outer-loop."
            f" `raysearch run --outer-loop {name} --help` shows what {name!r} takes"
        )


def owners_of(flag: str) -> list[str]:
    """The installed loops to which ``flag`` means something."""
    found = []
    for name in sorted(available("policies")):
        with suppress(PluginError):  # one that is broken is no answer
            if belongs(flag, find("policies", name)):
                found.append(name)
    return found


def options_of(loop: type) -> list[LoopOption]:
    """Every option of a loop, those with a flag first in the order of `LOOP_FLAGS`, the others as it declares them."""
    told = _told(loop)
    flags = {option_of(flag): flag for flag in LOOP_FLAGS if belongs(flag, loop)}
    parameters = {name: parameter for name, parameter in _parameters(loop).items() if name not in _GIVEN}
    named = [name for name in flags if name in parameters]
    rest = [n for n, p in parameters.items() if n not in flags and p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [
        LoopOption(name, parameters[name].default, told.get(name, ""), flags.get(name, "")) for name in [*named, *rest]
    ]


def _parameters(loop: type) -> Mapping[str, inspect.Parameter]:
    with suppress(ValueError, TypeError):  # of a constructor that does not say what it takes
        return inspect.signature(loop).parameters
    return {}


def _told(loop: type) -> dict[str, str]:
    """What the docstrings of a class and its bases say of its options, below a line that is ``Options``."""
    found: dict[str, str] = {}
    for base in reversed(loop.__mro__):
        for names, text in _entries(inspect.cleandoc(base.__dict__.get("__doc__") or "")):
            found |= dict.fromkeys(names, text)
    return found


def _entries(doc: str) -> Iterator[tuple[list[str], str]]:
    """Names and text of each entry ``name, other: text``, which may go on in deeper lines."""
    lines = doc.partition("\nOptions\n")[2].splitlines()
    indent, names, words = -1, list[str](), list[str]()
    for line in [*lines, ""]:
        found = _LINE.match(line)
        starts = found is not None and (indent < 0 or len(found[1]) == indent)
        if names and (starts or not line.startswith(" " * (indent + 1))):
            yield names, " ".join(words)
            names = []
        if found is not None and starts:
            indent, names, words = len(found[1]), found[2].split(", "), [found[3]]
        elif names:
            words.append(line.strip())
        else:
            break  # the list of options is over


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
