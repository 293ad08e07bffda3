"""Structured outputs: JSON that keeps its schema.

The library ``jsonschema`` is imported here and nowhere else; it comes with the extra ``accuracy``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import BadAnswer, CheckerError, number, pairs, require, text
from evaluators.accuracy.power import share_power

VALID_MIN = 0.95
HELD_MIN = 0.90
_TOLD = 3


def check_json(
    schemas: Iterable[Mapping[str, Any] | bool],
    answers: Iterable[str],
    *,
    valid_min: float = VALID_MIN,
    must_hold: Sequence[str] | None = None,
    held_min: float = HELD_MIN,
    all_equal: bool = False,
    formats: bool = False,
    name: str = "JSON schema",
) -> Check:
    """Texts against JSON Schemas, one of each a prompt.

    A text is valid if it is one JSON value (RFC 8259: no NaN, nothing before or after, no key twice) that keeps its
    schema, in the draft that its ``$schema`` names or else 2020-12; no reference is fetched. ``formats``: ``format``
    keywords bind, as far as the library knows them. ``must_hold``: a word a prompt that must appear in a string of
    the answer, which templates that ignore the prompt miss; at least ``held_min`` of them. Where all of several answers
    are equal, the check fails, unless ``all_equal`` says that this may be right. Needs ``raysearch[accuracy]``.
    """
    number("valid_min", valid_min, 0, 1)
    require(valid_min > 0, "valid_min is 0: then everything passes")
    number("held_min", held_min, 0, 1)
    words = None if must_hold is None else [text(word, "must_hold", CheckerError) for word in must_hold]
    require(words is None or all(words), "must_hold has an empty word: every text holds it")
    faults: list[str] = []
    held: list[bool] = []
    texts: list[str] = []
    for place, schema, answer in pairs(schemas, answers, "prompt"):
        checked = _validator(schema, f"the schema of {place}", formats)
        given = text(answer, place, BadAnswer)
        require(
            words is None or len(texts) < len(words), f"must_hold has fewer words than there are prompts: {len(texts)}"
        )
        fault, value = _fault(checked, given)
        faults.append(f"{place}: {fault}" if fault else "")
        texts.append(given)
        held.append(words is not None and not fault and words[len(texts) - 1] in _strings(value))
    require(words is None or len(words) == len(texts), f"must_hold has more words than there are prompts: {len(texts)}")
    bad = [fault for fault in faults if fault]
    valid = 1 - len(bad) / len(texts)
    bounds = [Bound("share of valid answers", valid, valid_min, least=True)]
    told = []
    if not bounds[0].kept:
        more = f" (and {len(bad) - _TOLD} more)" if len(bad) > _TOLD else ""
        told.append(f"{len(bad)} of {len(texts)} answers are not valid. {' '.join(bad[:_TOLD])}{more}")
    if words is not None:
        bounds.append(Bound("share that holds the prompt's word", sum(held) / len(held), held_min, least=True))
        if not bounds[-1].kept:
            told.append(
                f"Only {sum(held)} of {len(held)} answers hold the word of their prompt: they ignore what was asked."
            )
    if not all_equal and len(texts) > 1:
        bounds.append(Bound("different answers", len(set(texts)), 2, least=True))
        if not bounds[-1].kept:
            told.append(f"All {len(texts)} answers are the same text.")
    feedback = " ".join(told) or f"{len(texts) - len(bad)} of {len(texts)} answers are valid."
    return Check(
        name, tuple(bounds), len(texts), "answers", feedback, {}, share_power(len(texts), valid_min, "invalid answers")
    )


def _validator(schema: Mapping[str, Any] | bool, who: str, formats: bool) -> Any:
    """What validates by ``schema``. Raises CheckerError."""
    try:
        import referencing
        from jsonschema import Draft202012Validator, validators
        from jsonschema.exceptions import SchemaError
    except ImportError:
        raise CheckerError(
            "check_json needs jsonschema, which is not installed: pip install 'raysearch[accuracy]'"
        ) from None
    require(isinstance(schema, Mapping | bool), f"{who} is {type(schema).__name__}: an object or true or false")
    kind = validators.validator_for(schema, default=Draft202012Validator)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise CheckerError(f"{who} is no JSON Schema: {error.message[:200]}") from None
    checker = kind.FORMAT_CHECKER if formats else None
    return kind(schema, registry=referencing.Registry(), format_checker=checker)


def _fault(validator: Any, answer: str) -> tuple[str, object]:
    """Why ``answer`` is not valid, empty if it is; and its value."""
    from referencing.exceptions import Unresolvable

    if not answer.strip():
        return "is empty.", None
    try:
        value = json.loads(answer, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        cut = " (it looks cut off)" if error.pos >= len(answer.rstrip()) or error.msg.startswith("Unterminated") else ""
        return f"is not JSON: {error.msg} at character {error.pos}{cut}.", None
    except (ValueError, RecursionError) as error:
        return f"is not JSON: {str(error)[:120] or 'nested too deep'}.", None
    try:
        fault = next(iter(validator.iter_errors(value)), None)
    except Unresolvable as error:
        raise CheckerError(f"a schema refers to {error.ref!r}, which it does not hold") from None
    except RecursionError:
        return "is nested too deep.", None
    except OverflowError:
        return "holds a number that is too large to be looked at.", None
    if fault is None:
        return "", value
    at = fault.json_path if fault.json_path != "$" else "the value"
    return f"breaks `{fault.validator}` at {at[:80]}.", value


def _no_constant(literal: str) -> NoReturn:
    raise ValueError(f"{literal} is no JSON number")


def _finite(literal: str) -> float:
    found = float(literal)
    if math.isinf(found):
        raise ValueError(f"{literal[:20]} is beyond double precision")
    return found


def _once(pairs_found: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs_found)
    if len(found) < len(pairs_found):
        raise ValueError("an object holds a key twice")
    return found


def _strings(value: object) -> str:
    """All strings of ``value``, keys left out: one text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(_strings(inner) for inner in value.values())
    if isinstance(value, list):
        return "\n".join(_strings(inner) for inner in value)
    return ""
