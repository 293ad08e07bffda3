"""Replies of a given form: how a model is told of it, and how its text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Form = TypeVar("Form", bound=BaseModel)
TEXT_MAX = 1_000_000
"""Characters; a longer reply is not looked through."""
STARTS_MAX = 2_000
"""So many opening braces are tried."""
_LIMITS = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern"),
    *("format", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties"),
)
"""What no provider's decoder takes; it is said in words, and checked here."""


class Unreadable(Exception):
    """A reply that is not of its form; says what is wrong, for the model to mend."""


def wanted(form: type[BaseModel]) -> str:
    """What to tell a model of the form that its reply must have."""
    schema = json.dumps(form.model_json_schema(), separators=(",", ":"))
    return f"Your answer must hold exactly one JSON object that matches this JSON schema, and no other:\n{schema}"


def mend(form: type[BaseModel], problem: str) -> str:
    """What to tell a model whose reply could not be read."""
    return f"Your answer could not be read: {problem}\n{wanted(form)}\nAnswer again, in full."


def read(form: type[Form], text: str) -> Form:
    """The one object of ``form`` that a text holds, alone, fenced, or among prose. Raises Unreadable.

    Two different ones are none: of what a model quotes and what it says itself, neither can be told from the other.
    """
    if len(text) > TEXT_MAX:
        raise Unreadable(f"it has {len(text)} characters")
    found: dict[str, Form] = {}
    problem = "there is no JSON object in it" if "{" in text else "it is empty" if not text.strip() else "it is no JSON"
    for value in _objects(text):
        try:
            valid = form.model_validate(value)
        except (ValidationError, RecursionError) as error:
            problem = _told(error)
            continue
        found[valid.model_dump_json()] = valid
    if len(found) > 1:
        raise Unreadable(f"there are {len(found)} different answers in it")
    if not found:
        raise Unreadable(problem)
    return next(iter(found.values()))


def valid(form: type[Form], value: object) -> Form:
    """``value`` as a ``form``. Raises Unreadable."""
    try:
        return form.model_validate(value)
    except (ValidationError, RecursionError) as error:
        raise Unreadable(_told(error)) from None


def portable(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """The schema as the providers' decoders take it; None if it cannot be put so.

    They want every property named and required, and nothing else allowed; limits go into the descriptions.
    """
    try:
        return _portable(schema)
    except _NotPortable:
        return None


class _NotPortable(Exception):
    pass


def _portable(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in schema.items() if key not in {*_LIMITS, "default", "title", "examples"}}
    limits = ", ".join(f"{key} {schema[key]}" for key in _LIMITS if key in schema)
    if limits:
        kept["description"] = f"{kept.get('description', '')} ({limits})".strip()
    if "prefixItems" in schema or "patternProperties" in schema:
        raise _NotPortable
    if "allOf" in schema or (schema.get("type") == "object" and not schema.get("properties")):
        raise _NotPortable
    if schema.get("additionalProperties") not in {None, False, True}:
        raise _NotPortable
    if "properties" in schema:
        kept["properties"] = {name: _portable(inner) for name, inner in schema["properties"].items()}
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    if isinstance(schema.get("items"), Mapping):
        kept["items"] = _portable(schema["items"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kept.pop(key)
            kept["anyOf"] = [_portable(inner) for inner in schema[key]]
    kept.pop("discriminator", None)
    if "$defs" in schema:
        kept["$defs"] = {name: _portable(inner) for name, inner in schema["$defs"].items()}
    return kept


def _objects(text: str) -> list[Any]:
    """Every JSON object that is not within another, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_never)
    found, at = [], text.find("{")
    for _ in range(STARTS_MAX):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
            found.append(value)
        except ValueError:
            end = at + 1
        except RecursionError:  # and all that is within it, too
            break
        at = text.find("{", end)
    return found


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys differ: of two equal ones, readers disagree which counts."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key that comes twice")
    return made


def _never(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _told(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return "it is nested too deeply"
    listed = error.errors(include_url=False, include_context=False, include_input=False)
    told = [f"{'.'.join(map(str, each['loc'])) or 'the object'}: {each['msg']}" for each in listed[:10]]
    return "; ".join(told)
