"""Turns pydantic's findings into sentences that say what is wrong, where, and how to mend it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from raysearch.config.toml import Keys
from raysearch.errors import nearest

Where = Callable[[Keys], str]
_SHOWN_MAX = 60
PROBLEMS_MAX = 20
"""So many are spelt out; the others are counted."""
_WORDS = {
    "a valid tuple": "a list",
    "Tuple": "",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "a valid ": "a ",
    " after validation": "",
}
_CHOICES = {"str": "text", "int": "a whole number", "float": "a number", "bool": "true or false"}
"""What pydantic calls the alternatives for a value that may have several types."""


def sentences(error: ValidationError, model: type[BaseModel], where: Where) -> list[str]:
    """One sentence a finding, in the order of the file; ``where`` gives the place of a key."""
    found = _findings(error)
    told = [f"{where(keys)}: {_sentence(keys, finding, model)}" for keys, finding in found[:PROBLEMS_MAX]]
    more = len(found) - PROBLEMS_MAX
    return [*told, f"{where(found[PROBLEMS_MAX][0])}: and {more} more problems from here on."] if more > 0 else told


def _findings(error: ValidationError) -> list[tuple[Keys, Any]]:
    """What was found, without what merely follows from something found deeper inside."""
    found: list[tuple[Keys, Any]] = [(tuple(finding["loc"]), finding) for finding in error.errors(include_url=False)]
    outer = {keys[:length] for keys, _ in found for length in range(len(keys))}
    return _together([(keys, finding) for keys, finding in found if keys not in outer])


def _together(found: list[tuple[Keys, Any]]) -> list[tuple[Keys, Any]]:
    """One finding instead of one for each of the types that an element of a list may have."""
    kept: dict[Keys, Any] = {}
    for keys, finding in found:
        if len(keys) > 1 and isinstance(keys[-2], int) and keys[-1] in _CHOICES:
            words = _CHOICES[str(keys[-1])]
            before = kept.get(keys[:-1])
            msg = f"{before['msg']} or {words}" if before else f"Input should be {words}"
            kept[keys[:-1]] = {**finding, "msg": msg}
        else:
            kept[keys] = finding
    return list(kept.items())


def _sentence(keys: Keys, finding: Any, model: type[BaseModel]) -> str:
    name, table = _spelt(keys[-1:]), _spelt(keys[:-1])
    inside = f" in [{table}]" if table else ""
    kind, value = finding["type"], finding["input"]
    if kind == "extra_forbidden":
        noun = "section" if isinstance(value, dict) and not table else "key"
        return f"unknown {noun} {name!r}{inside}.{nearest(name, _fields_at(model, keys[:-1]))}"
    if kind == "missing":
        return f"{name!r} is missing{inside}."
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", finding["ctx"]["expected"])
        hint = nearest(value, choices) if isinstance(value, str) else ""
        said = [f'"{choice}"' for choice in choices]
        said += [word.lower() for word in re.findall(r"\b(?:True|False)\b", finding["ctx"]["expected"])]
        return f"{_spelt(keys)} must be {_alternatives(said)}, not {_shown(value)}.{hint}"
    message = finding["msg"].removeprefix("Value error, ").removeprefix("Input ").rstrip(".")
    if kind == "too_short" and not value:
        message = "should not be empty"
    instead = "" if kind in ("value_error", "too_short") and not isinstance(value, str) else f", not {_shown(value)}"
    return f"{_spelt(keys) or 'this'} {_plainly(message)}{instead}."


def _plainly(message: str) -> str:
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a table", message)
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return message


def _alternatives(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python will print
        text = "a number of thousands of digits"
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _spelt(keys: Keys) -> str:
    """Dotted; an element of a list by its number, counted from 1."""
    return ".".join(str(key) if isinstance(key, str) else f"#{key + 1}" for key in keys)


def _fields_at(model: type[BaseModel], keys: Keys) -> list[str]:
    """Names of the fields of the model that lies at ``keys`` inside ``model``."""
    current: type[BaseModel] | None = model
    named = False  # whether the next key is a name of the user's own, in a table of such
    for key in keys:
        if isinstance(key, int) or named:
            named = False
            continue
        field = current.model_fields.get(key) if current else None
        current = _model_in(field.annotation) if field else None
        named = field is not None and get_origin(field.annotation) is dict
    return [field.alias or name for name, field in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in get_args(annotation):
        found = _model_in(inner)
        if found:
            return found
    return None


def together(what: str, problems: list[str]) -> str:
    """One problem as it is; several as a list under a heading."""
    if len(problems) == 1:
        return problems[0]
    return "\n".join([f"{what} has {len(problems)} problems:", *(f"  {problem}" for problem in problems)])
