"""Captures as they come from a sandbox: whatever a program may have made of them, read or refused in one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from evaluators.results import clean
from raysearch.errors import EvaluatorFault


def text_of(content: bytes, what: str) -> str:
    """As text; what is no UTF-8 is replaced, for tools print names of symbols as they find them."""
    if not content.strip():
        raise EvaluatorFault(f"{what} is empty")
    return content.decode("utf-8", "replace")


def json_of(content: bytes, what: str) -> Mapping[str, Any]:
    """A JSON object. Raises EvaluatorFault."""
    try:
        found = json.loads(text_of(content, what))
    except (ValueError, RecursionError) as error:
        raise EvaluatorFault(f"{what} is not JSON, or cut short: {clean(str(error), 120)}") from None
    if not isinstance(found, dict):
        raise EvaluatorFault(f"{what} holds no JSON object")
    return found


def number(found: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A finite number from 0. Raises EvaluatorFault."""
    value = found.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise EvaluatorFault(f"{key!r} must be a number from 0, not {clean(repr(value), 60)}")
    return float(value)
