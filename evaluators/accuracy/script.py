"""The frame of a target's accuracy checker: its arguments, the program as a child, its verdict, its exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from evaluators.accuracy.check import Check
from evaluators.accuracy.given import BadAnswer, CheckerError
from evaluators.call import Call, hide_memory, read_call
from raysearch.errors import Refused, UserError

CASES_MAX = 100
TOLD_MAX = 20
DETAIL_CHARS_MAX = 1500
_TAIL_CHARS = 600
Found = Check | Sequence[Check]


def run_checker(
    check: Callable[[Call], Found], argv: Sequence[str] | None = None, conditions: Mapping[str, object] | None = None
) -> NoReturn:
    """Call ``check`` with this script's arguments and write the verdict on what it found; ends the process.

    Exit status 0 and a result: yes if every check passed; no with the feedback of those that did not, or with the
    reason of a `BadAnswer` or of any other `raysearch.errors.Refused`, such as a server's that crashed. Status 2, no
    result and the reason on stderr: the target's author must change something.
    """
    call = read_call(argv, "Check a program against the reference.")
    hide_memory()
    try:
        try:
            found = check(call)
        except Refused as no:
            result = _verdict(False, str(no), [], conditions)
        else:
            result = verdict([found] if isinstance(found, Check) else list(found), conditions)
        write_verdict(call.result, result)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(0)


def verdict(checks: Sequence[Check], conditions: Mapping[str, object] | None = None) -> dict[str, object]:
    """A ``raysearch.verdict/1`` (docs/results-schema.md): passed if every one of ``checks`` did.

    Of more than 100, the first 100 are listed, failed ones first. Raises CheckerError without any.
    """
    if not checks or not all(isinstance(check, Check) for check in checks):
        raise CheckerError("there is no verdict without a check: return at least one, and nothing but checks")
    names = [check.name for check in checks]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise CheckerError(f"two checks are called {twice!r}: give one of them another `name`")
    failed = [check for check in checks if not check.passed]
    lines = [f"{check.name}: {check.feedback}" for check in failed[:TOLD_MAX]]
    if len(failed) > TOLD_MAX:
        lines.append(f"{len(failed) - TOLD_MAX} more checks failed.")
    feedback = "\n".join(lines)
    kept = sorted(checks, key=lambda check: check.passed)[:CASES_MAX]
    told = dict(conditions or {})
    if len(kept) < len(checks):
        told["cases"] = f"{len(kept)} of {len(checks)} listed"
    return _verdict(not failed, feedback, [check.to_case() for check in kept], told)


def _verdict(
    passed: bool, feedback: str, cases: list[dict[str, object]], conditions: Mapping[str, object] | None
) -> dict[str, object]:
    return {
        "schema": "raysearch.verdict/1",
        "passed": passed,
        "feedback": feedback,
        "cases": [case | {"detail": str(case["detail"])[:DETAIL_CHARS_MAX]} for case in cases],
        "conditions": {name: str(value) for name, value in (conditions or {}).items()},
    }


def write_verdict(path: Path, result: Mapping[str, object]) -> None:
    """Write ``result`` to ``path``, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(result, allow_nan=False), "utf-8")
    draft.replace(path)


def ask_program(
    command: Sequence[str | Path], question: object, *, cwd: Path, keys: Sequence[str] = (), timeout_s: float = 60.0
) -> Any:
    """Run the candidate as a child, in ``cwd``: ``question`` as JSON on its standard input, its answer as JSON on its
    standard output; an object that has ``keys``, if these are given. Raises BadAnswer if it fails, takes too long, or
    says something else.

    It has a session of its own, which ends with it: nothing that it started there is left.
    """
    try:
        asked = json.dumps(question).encode()
        child = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except (OSError, TypeError, ValueError) as error:
        raise CheckerError(f"the program cannot be asked: {error}") from None
    with child:
        try:
            said, complaint = child.communicate(asked, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise BadAnswer(f"the program took more than {timeout_s:g} s") from None
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
    if child.returncode:
        last = complaint.decode("utf-8", "replace").strip()[-_TAIL_CHARS:]
        raise BadAnswer(f"the program ended with status {child.returncode}{f': {last}' if last else ''}")
    try:
        answer = json.loads(said)
    except (ValueError, RecursionError):
        start = said[:80].decode("utf-8", "replace")
        raise BadAnswer(f"the program's answer is not JSON: it begins with {start!r}") from None
    missing = [key for key in keys if not isinstance(answer, dict) or key not in answer]
    if missing:
        raise BadAnswer(f"the program's answer is no JSON object with the key {missing[0]!r}")
    return answer
