"""Templates to prompts. A value that is missing is an error, and so is one that no template asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from raysearch.errors import RaysearchError, nearest
from raysearch.kinds import BACKENDS, INTERFACES, MODALITIES

if TYPE_CHECKING:
    from jinja2 import Environment

ROLES = ("implementer", "judge", "red_team", "triage", "planner", "performance_evaluator", "lessons_writer")
_KINDS = {
    "backend": ("backends", BACKENDS),
    "modality": ("modalities", MODALITIES),
    "interface": ("interfaces", INTERFACES),
}
_AS = {"red_team": "judge"}
"""Roles that are told of a kind of program what another one is."""
GENERIC = "generic"
"""The modality of which nothing is said."""
_TEMPLATES = Path(__file__).with_name("templates")
_BACKTICKS = re.compile(r"`{3,}")
_GAP = re.compile(r"\n{3,}")


class PromptError(RaysearchError):
    """Values and template do not fit each other: a bug of whoever renders."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that an agent is told."""

    system: str
    text: str


def render(
    role: str, values: Mapping[str, object], *, backend: str = "", modality: str = "", interface: str = ""
) -> Prompt:
    """The prompt of ``role``, one of `ROLES`.

    ``backend``, ``modality`` and ``interface`` choose what is said about the kind of program; empty, or the modality
    `GENERIC`: nothing.
    ``values`` are those that `needs` names, no more and no fewer. Equal arguments give equal prompts. Raises
    PromptError.
    """
    kinds = {"backend": backend, "modality": modality, "interface": interface}
    said = [(kind, name) for kind, name in kinds.items() if name and (kind, name) != ("modality", GENERIC)]
    given = {**values, "ground": [_fragment(kind, name, role) for kind, name in said]}
    wanted = needs(role)
    for name in sorted(given.keys() - wanted):
        raise PromptError(f"the prompt of {role!r} has no use for {name!r}.{nearest(name, wanted)}")
    if missing := sorted(wanted - given.keys()):
        raise PromptError(f"the prompt of {role!r} needs {', '.join(missing)}")
    names = (f"system/{role}.j2", f"{role}.j2")
    system, text = (_rendered(name, {key: given[key] for key in _variables(name)}) for name in names)
    return Prompt(system, text)


def needs(role: str) -> frozenset[str]:
    """The names of the values that ``role`` is rendered from; `render` itself makes ``ground``."""
    if role not in ROLES:
        raise PromptError(f"no prompt for a role {role!r}.{nearest(role, ROLES)}")
    return _variables(f"system/{role}.j2") | _variables(f"{role}.j2")


def fenced(text: object, language: str = "") -> str:
    """``text`` between fences that nothing in it can close."""
    body = str(text).strip("\n")
    longest = max((len(found) for found in _BACKTICKS.findall(body)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{body}\n{fence}"


def _fragment(kind: str, name: str, role: str) -> str:
    """What there is to say to ``role``, or to anybody, about a backend, a modality or an interface."""
    folder, known = _KINDS[kind]
    if name not in known:
        raise PromptError(f"no {kind} is called {name!r}.{nearest(name, known)}")
    own = f"{folder}/{name}.{_AS.get(role, role)}.j2"
    return _rendered(own if (_TEMPLATES / own).is_file() else f"{folder}/{name}.j2", {})


def _rendered(name: str, values: dict[str, object]) -> str:
    from jinja2 import TemplateError

    try:
        text = _environment().get_template(name).render(values)
    except TemplateError as error:  # something within a value is missing
        raise PromptError(f"{name}: {error}") from error
    return _GAP.sub("\n\n", text).strip()


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,  # so that sections stay apart
        autoescape=False,  # text for models, not for browsers
    )
    environment.filters["fenced"] = fenced
    return environment


@cache
def _variables(name: str) -> frozenset[str]:
    """What a template and those that it includes take from outside."""
    from jinja2 import meta

    environment = _environment()
    source = (_TEMPLATES / name).read_text(encoding="utf-8")
    tree = environment.parse(source)
    found = frozenset(meta.find_undeclared_variables(tree))
    for included in meta.find_referenced_templates(tree):
        found |= _variables(str(included))
    return found
