"""The judge and the benchmark that run the target's own commands."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from evaluators.call import VOID_STATUS
from evaluators.results import CaseResult, MetricsResult, clean, read_metrics, read_verdict
from raysearch.errors import EvaluatorFault, Refused, Unevaluated, Void
from raysearch.protocols import Completed, Workspace
from raysearch.target import EvaluatorCommand, Target
from raysearch.types import Brief, Case, Measurement, Objective, Verdict

CASES_MAX = 100
_RESULT = "result.json"
_TAIL_CHARS = 1500


class CommandJudge:
    """Runs the target's accuracy checker.

    A limit that is reached, or a process that is left running, is the candidate's doing: a no. Everything else that
    is not a well-formed verdict is Unevaluated: the candidate's doing only if the checker works on another.
    """

    def judge(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Verdict:  # noqa: ARG002
        completed = _run(workspace, workspace.target.checker)
        blame = _blame(completed, workspace.target, workspace.target.checker, "checked")
        if blame:
            return Verdict(False, blame)
        try:
            _check_status(completed)
            result = read_verdict(workspace.scratch / _RESULT)
        except Void:
            raise
        except EvaluatorFault as fault:
            raise _with_output(fault, "accuracy checker", completed) from None
        conditions = dict(result.conditions)
        if len(result.cases) > CASES_MAX:
            conditions["cases"] = f"{CASES_MAX} of {len(result.cases)} kept, failed ones first"
        return Verdict(result.passed, result.feedback or _failures(result.cases), _kept_cases(result.cases), conditions)


class CommandBenchmark:
    """Runs the target's benchmark.

    Raises Refused where the candidate is why there is no measurement: a limit, a process left running, or the
    benchmark's own word; Unevaluated for every result that is not a finite number of each objective in its declared
    unit and direction.
    """

    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:  # noqa: ARG002
        return measured(workspace)


class ShortBenchmark:
    """Runs the target's benchmark with the words that make it short. Raises as `CommandBenchmark`."""

    def measure(self, workspace: Workspace, rng: random.Random) -> Sequence[Measurement]:  # noqa: ARG002
        benchmark = workspace.target.benchmark
        short = benchmark.short
        if short is None:
            raise EvaluatorFault("the target has no short benchmark: [benchmark] short in target.toml")
        words = (*benchmark.command, *short.words)
        return measured(workspace, benchmark=replace(benchmark, command=words, timeout_s=short.timeout_s))


def measured(
    workspace: Workspace, environment: Mapping[str, str] | None = None, benchmark: EvaluatorCommand | None = None
) -> tuple[Measurement, ...]:
    """One run of the target's benchmark, or of ``benchmark``, with these variables beside the target's own.

    Raises what `CommandBenchmark` says.
    """
    benchmark = benchmark or workspace.target.benchmark
    completed = _run(workspace, benchmark, environment)
    blame = _blame(completed, workspace.target, benchmark, "measured")
    if blame:
        raise Refused(blame)
    try:
        _check_status(completed)
        result = read_metrics(workspace.scratch / _RESULT)
        if result.refused:
            raise Refused(f"The benchmark refused it: {result.refused}")
        _check_objectives(result, workspace.target.objectives)
    except Void:
        raise
    except EvaluatorFault as fault:
        raise _with_output(fault, "benchmark", completed) from None
    return tuple(
        Measurement(m.name, m.samples, m.unit, m.direction, {**result.conditions, **m.conditions})
        for m in result.metrics
    )


def _run(workspace: Workspace, evaluator: EvaluatorCommand, environment: Mapping[str, str] | None = None) -> Completed:
    result = workspace.scratch / _RESULT
    try:
        result.unlink(missing_ok=True)
    except OSError as error:
        raise EvaluatorFault(f"{_RESULT} is in the way of the result: {error.strerror}") from error
    root, folder = workspace.target.root, evaluator.folder
    cwd = f"{{target}}/{folder.relative_to(root).as_posix()}" if folder.is_relative_to(root) else str(folder)
    arguments = {
        "--candidate": "{candidate}",
        "--reference": "{reference}",
        "--seed": str(workspace.evaluation_seed),
        "--result": f"{{scratch}}/{_RESULT}",
    }
    return workspace.run(
        [*evaluator.command, *(word for pair in arguments.items() for word in pair)],
        timeout_s=evaluator.timeout_s,
        cwd=cwd,
        env={**workspace.target.environment, **(environment or {}), "PYTHONDONTWRITEBYTECODE": "1"},
    )


def _blame(completed: Completed, target: Target, evaluator: EvaluatorCommand, doing: str) -> str:
    """Why the candidate is to blame for how the command ended; empty if it is not."""
    if completed.ended_by == "cancelled":
        raise EvaluatorFault("it was cancelled before it ended")
    limits = target.limits
    reached = {
        "time": f"its time limit of {evaluator.timeout_s:g} s",
        "memory": f"its memory limit of {limits.memory_mb} MB",
        "cpu": f"its processor time limit of {limits.cpu_s} s",
        "processes": f"its limit of {limits.processes} processes",
        "output": f"its output limit of {limits.output_kb} kB",
        "files": f"its limit of {limits.file_mb} MB of files",
    }
    if completed.ended_by:
        limit = reached.get(completed.ended_by, f"its limit of {completed.ended_by}")
        return f"The program went over {limit} while it was {doing}.{_said(completed)}"
    if completed.leftovers:
        names = ", ".join(clean(name, 60) for name in completed.leftovers[:5])
        more = f" and {len(completed.leftovers) - 5} more" if len(completed.leftovers) > 5 else ""
        crashed = f" (exit status {completed.status}){_said(completed)}" if completed.status else ""
        return f"The program left processes running after it was {doing}: {names}{more}.{crashed}"
    return ""


def _check_status(completed: Completed) -> None:
    if completed.status == VOID_STATUS:
        raise Void(f"it declared its own work void{_said(completed)}")
    if completed.status < 0:
        raise EvaluatorFault(f"it was ended by signal {-completed.status}; expected exit status 0 and a result")
    if completed.status:
        raise EvaluatorFault(
            f"it ended with exit status {completed.status}; expected 0 and a result (a no is a result too)"
        )


def _check_objectives(result: MetricsResult, objectives: Sequence[Objective]) -> None:
    """Every objective must be there, in its direction and, where one is declared, its unit.

    Other metrics are kept as they are.
    """
    found = {metric.name: metric for metric in result.metrics}
    for objective in objectives:
        metric = found.get(objective.name)
        if metric is None:
            came = ", ".join(found) or "no metric at all"
            raise EvaluatorFault(f"objective {objective.name!r} is missing from the result, which holds {came}")
        if metric.direction != objective.goal:
            raise EvaluatorFault(
                f"objective {objective.name!r} came with direction {metric.direction!r}; the target declares "
                f"{objective.goal!r}"
            )
        if objective.unit and metric.unit != objective.unit:
            raise EvaluatorFault(
                f"objective {objective.name!r} came in unit {metric.unit!r}; the target declares {objective.unit!r}"
            )


def _failures(cases: Sequence[CaseResult]) -> str:
    """Feedback for a checker that gives none."""
    failed = [case for case in cases if not case.passed]
    return "\n".join(f"- {case.name}{f': {case.detail}' if case.detail else ''}" for case in failed[:20])


def _kept_cases(cases: Sequence[CaseResult]) -> tuple[Case, ...]:
    kept = sorted(cases, key=lambda case: case.passed)[:CASES_MAX] if len(cases) > CASES_MAX else cases
    return tuple(Case(case.name, case.passed, case.detail) for case in kept)


def _with_output(fault: EvaluatorFault, what: str, completed: Completed) -> Unevaluated:
    return Unevaluated(f"{what}: {fault}{_said(completed)}")


def _said(completed: Completed) -> str:
    """The end of what the command printed, where it printed anything."""
    text = clean(completed.stderr.strip() or completed.stdout.strip())[-_TAIL_CHARS:]
    return f"\nIt printed last:\n{text}" if text else ""
