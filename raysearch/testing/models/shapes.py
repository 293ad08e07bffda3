"""The plainest value that a JSON schema takes: what a model says that has nothing to say, in the form asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEPTH_MAX = 20


def plainest(schema: Mapping[str, Any]) -> Any:
    """A value of ``schema``: required fields only, zeros, empty lists, ``"-"`` for text; deterministic.

    Bounds, enumerations, references within the schema and alternatives (the first that is not null) are heeded;
    patterns and formats are not. Types may be written in capitals, as Gemini does.
    """
    return _value(schema, schema, 0)


def _value(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth > _DEPTH_MAX:
        return None
    if "$ref" in schema:
        return _value(_referred(str(schema["$ref"]), root), root, depth + 1)
    for fixed in ("const", "default"):
        if fixed in schema:
            return schema[fixed]
    if schema.get("enum"):
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        options = [option for option in schema.get(several) or () if option.get("type") != "null"]
        if options:
            return _value(options[0], root, depth + 1)
    return _typed(_kind(schema), schema, root, depth)


def _typed(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties") or {}
        return {name: _value(properties.get(name, {}), root, depth + 1) for name in schema.get("required") or ()}
    if kind == "array":
        count = int(schema.get("minItems", 0))
        return [_value(schema.get("items") or {}, root, depth + 1) for _ in range(count)]
    if kind in {"integer", "number"}:
        return _number(schema, int if kind == "integer" else float)
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    return "-" * max(1, int(schema.get("minLength", 1)))


def _number(schema: Mapping[str, Any], of: type[int] | type[float]) -> int | float:
    low = schema.get("minimum", -float("inf"))
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + 1)
    high = schema.get("maximum", float("inf"))
    return of(min(max(0, low), high))


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((each for each in kind if each != "null"), "null")
    return str(kind).lower()


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What ``#/$defs/NAME`` names within ``root``; nothing is asked of what cannot be found."""
    found: Any = root
    for name in reference.removeprefix("#/").split("/"):
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}
