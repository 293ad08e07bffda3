"""What workers' answers mean for the run."""

from __future__ import annotations

from dataclasses import replace

from raysearch.codec import CodecError, check
from raysearch.consultation import Reply
from raysearch.errors import EvaluatorFault, Fault, MutatorFault
from raysearch.facts import Compared, Consulted, Fact, JobFailed, Judged, Measured, Mutated
from raysearch.protocols import Answer
from raysearch.types import Change, Contest, Stage, Verdict

RESULTS: dict[Stage, tuple[type, ...]] = {
    Stage.MUTATE: (Change,),
    Stage.JUDGE: (Verdict,),
    Stage.BENCHMARK: (tuple, Verdict),
}
"""What each stage may answer, beside a fault. A benchmark's verdict is its refusal to measure."""
CONTEST = (Contest, Verdict)
"""What a job with a challenge may answer."""


def as_fact(answer: Answer) -> Fact:
    """What an answer means for the run. One that its job cannot have, or that no journal can hold, is a fault."""
    job, result = answer.job, answer.result
    try:
        fact = _fact(answer)
        passed_by_a_benchmark = job.stage is Stage.BENCHMARK and isinstance(result, Verdict) and result.passed
        due = RESULTS[job.stage] if job.challenge is None else CONTEST
        due = due if job.consultation is None else (Reply,)
        if passed_by_a_benchmark or not isinstance(result, (Fault, *due)):
            raise CodecError(f"a {job.stage} job cannot answer with {type(result).__name__}")
        check(fact)
    except CodecError as error:
        kind = MutatorFault if job.stage is Stage.MUTATE else EvaluatorFault
        return _fact(replace(answer, result=kind(str(error))))
    return fact


def _fact(answer: Answer) -> Fact:
    job, result = answer.job, answer.result
    match result:
        case Change():
            return Mutated(job.attempt, result, answer.worker, answer.took_s, answer.gpu_s, answer.filings)
        case Reply() if job.consultation is not None:
            return Consulted(job.consultation, result, answer.worker, answer.took_s, answer.gpu_s, answer.filings)
        case Reply():
            raise CodecError("a reply to nobody's question")
        case Verdict():
            did = (answer.worker, answer.took_s, answer.gpu_s, answer.filings)
            return Judged(job.attempt, job.plugin, result, None, *did)
        case Contest() if job.challenge is not None:
            rival, level = job.challenge.rival, job.challenge.level
            by = (answer.worker, answer.took_s, answer.gpu_s)
            return Compared(job.attempt, rival, level, result, *by, job.challenge.reference)
        case Contest():
            raise CodecError("a contest that nobody asked for")
        case tuple():
            return Measured(job.attempt, job.plugin, result, None, answer.worker, answer.took_s, answer.gpu_s)
        case Fault():
            message = str(result).encode(errors="backslashreplace").decode()
            return JobFailed(
                attempt=job.attempt,
                stage=job.stage,
                plugin=job.plugin,
                fault=type(result).__name__,
                message=message,
                retry=result.retryable,
                usage=result.usage,
                worker=answer.worker,
                took_s=answer.took_s,
                gpu_s=answer.gpu_s,
                filings=answer.filings,
                consultation=job.consultation,
            )
