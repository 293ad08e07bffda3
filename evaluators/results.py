"""What checkers and benchmarks write: the result contract, read strictly.

The models here are the contract; `schemas` gives them as JSON Schema, published under ``docs/``. A result that
breaks the contract anywhere is no result: `read_verdict` and `read_metrics` raise EvaluatorFault with what was
expected and what came.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from raysearch.errors import EvaluatorFault, nearest
from raysearch.types import Goal

BYTES_MAX = 1_000_000
FEEDBACK_BYTES_MAX = 20_000
DETAIL_BYTES_MAX = 2_000
SAMPLES_MAX = 10_000
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~]?)")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def clean(text: str, bytes_max: int = FEEDBACK_BYTES_MAX) -> str:
    """``text`` without terminal escapes and control characters (newline and tab stay), its middle cut if too long."""
    text = text.encode("utf-8", "replace").decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    text = _CONTROLS.sub("", _ESCAPES.sub("", text))
    data = text.encode()
    if len(data) <= bytes_max:
        return text
    cut = f"\n… ({len(data)} bytes, the middle left out) …\n"
    half = max(0, (bytes_max - len(cut.encode())) // 2)
    return data[:half].decode("utf-8", "ignore") + cut + data[len(data) - half :].decode("utf-8", "ignore")


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def _cleaned_detail(value: Any) -> Any:
    return clean(value, DETAIL_BYTES_MAX) if isinstance(value, str) else value


def _told(value: Any) -> Any:
    """Conditions may be given as text, numbers or true and false; they are kept as text."""
    if isinstance(value, str):
        return clean(value, DETAIL_BYTES_MAX)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return clean(str(value), DETAIL_BYTES_MAX)
    return value


Text = Annotated[str, BeforeValidator(_cleaned)]
Detail = Annotated[str, BeforeValidator(_cleaned_detail)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}$")]
Sample = Annotated[float, Field(allow_inf_nan=False)]
Conditions = Annotated[
    dict[Annotated[str, BeforeValidator(_cleaned_detail)], Annotated[str, BeforeValidator(_told)]],
    Field(
        max_length=200,
        json_schema_extra={"additionalProperties": {"type": ["string", "number", "boolean"]}},
        description="What the result depends on: device, versions, load.",
    ),
]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CaseResult(_Closed):
    """One test of a checker."""

    name: Detail
    passed: bool
    detail: Detail = ""


class VerdictResult(_Closed):
    """What an accuracy checker writes."""

    model_config = ConfigDict(title="raysearch.verdict/1")

    schema_: Literal["raysearch.verdict/1"] = Field(alias="schema")
    passed: bool = Field(description="Whether the candidate is right. True contradicts a case that did not pass.")
    feedback: Text = Field("", description="Why not, and how to mend it: written for whoever makes the next attempt.")
    cases: tuple[CaseResult, ...] = Field((), strict=False)
    conditions: Conditions = Field(default_factory=dict)


class MetricResult(_Closed):
    """One metric: an objective of the target, or a side metric that is only kept."""

    name: Name
    samples: tuple[Sample, ...] = Field(
        strict=False, min_length=1, max_length=SAMPLES_MAX, description="Every repetition, in order; all finite."
    )
    unit: Annotated[str, Field(max_length=40), BeforeValidator(_cleaned_detail)] = ""
    direction: Goal = Field(description="Whether more (max) or less (min) is better.")
    conditions: Conditions = Field(default_factory=dict)


class MetricsResult(_Closed):
    """What a benchmark writes: metrics, or the reason why the program allows none."""

    model_config = ConfigDict(title="raysearch.metrics/1")

    schema_: Literal["raysearch.metrics/1"] = Field(alias="schema")
    metrics: tuple[MetricResult, ...] = Field((), strict=False, max_length=1000)
    refused: Text = Field("", description="Why this program cannot be measured, if that is its own doing.")
    conditions: Conditions = Field(default_factory=dict)


Result = TypeVar("Result", VerdictResult, MetricsResult)


def read_verdict(path: Path) -> VerdictResult:
    """The verdict that a checker wrote to ``path``. Raises EvaluatorFault."""
    result = _parsed(read_bytes(path), VerdictResult)
    failed = [case.name for case in result.cases if not case.passed]
    if result.passed and failed:
        raise EvaluatorFault(f"the result says `passed`, yet case {failed[0]!r} did not pass: make them agree")
    return result


def read_metrics(path: Path) -> MetricsResult:
    """The metrics that a benchmark wrote to ``path``, no name twice. Raises EvaluatorFault."""
    result = _parsed(read_bytes(path), MetricsResult)
    names = [metric.name for metric in result.metrics]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise EvaluatorFault(f"the result holds metric {twice[0]!r} twice: put all samples into one entry")
    if result.refused and names:
        raise EvaluatorFault("the result holds both `refused` and metrics: a program is refused or measured")
    return result


def read_bytes(path: Path) -> bytes:
    """A result file's content. Raises EvaluatorFault unless it is a plain file of at most 1 MB.

    Candidates may have been able to write where it lies: links are not followed, pipes not waited for.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise EvaluatorFault("no result: the file that --result names was not written") from None
    except OSError as error:
        kind = "a link" if error.errno == errno.ELOOP else error.strerror
        raise EvaluatorFault(f"no result: {path.name} is no plain file ({kind})") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise EvaluatorFault(f"no result: {path.name} is no plain file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > BYTES_MAX:
        raise EvaluatorFault(f"the result is larger than {BYTES_MAX // 1000} kB ({found.st_size} bytes): shorten it")
    return content


def _parsed(content: bytes, model: type[Result]) -> Result:
    expected = f"expected {model.model_config['title']} (docs/results-schema.md)"
    try:
        data = json.loads(content.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once)
    except EvaluatorFault:
        raise
    except (ValueError, RecursionError) as error:
        told = clean(str(error), 200)
        raise EvaluatorFault(f"the result is not JSON: {told}; {expected}, got {_start(content)}") from None
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = [_sentence(finding, model) for finding in error.errors(include_url=False)[:5]]
        raise EvaluatorFault(f"malformed result: {'; '.join(found)}; {expected}, got {_start(content)}") from None


def _no_constant(literal: str) -> NoReturn:
    raise EvaluatorFault(f"the result holds {literal}, which is neither JSON nor a measurement")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise EvaluatorFault(f"the result holds the key {clean(twice, 100)!r} twice in one object")
    return found


def _start(content: bytes) -> str:
    text = clean(content[:300].decode("utf-8", "replace"), 300)
    return repr(text[:160] + ("…" if len(text) > 160 else ""))


def _sentence(finding: Any, model: type[BaseModel]) -> str:
    at = ".".join(clean(str(key), 60) for key in finding["loc"]) or "the result"
    if finding["type"] == "extra_forbidden":
        known = {field.alias or name for part in _parts(model) for name, field in part.model_fields.items()}
        return f"unknown key {at!r}.{nearest(clean(str(finding['loc'][-1]), 60), known)}"
    if finding["type"] == "missing":
        return f"{at!r} is missing"
    message = finding["msg"].removeprefix("Input ").replace("a valid tuple", "a list").replace("a valid ", "a ")
    try:
        value = clean(repr(finding["input"]), 80)
    except ValueError:
        value = "a number of thousands of digits"
    return f"{at} {message}, not {value}"


def _parts(model: type[BaseModel]) -> Sequence[type[BaseModel]]:
    return (model, CaseResult) if model is VerdictResult else (model, MetricResult)


def schemas() -> dict[str, str]:
    """The contract as JSON Schema: file name under ``docs/`` to text."""
    models: dict[str, type[BaseModel]] = {
        "verdict.schema.json": VerdictResult,
        "metrics.schema.json": MetricsResult,
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        name: json.dumps({**dialect, **model.model_json_schema()}, indent=2, ensure_ascii=False) + "\n"
        for name, model in models.items()
    }


if __name__ == "__main__":
    for file_name, text in schemas().items():
        (Path(sys.argv[1]) / file_name).write_text(text, encoding="utf-8")
