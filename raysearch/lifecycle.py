"""One attempt's life, as a pure function: given what is known, what is next?"""

from __future__ import annotations

from raysearch import confirming
from raysearch.board.board import Snapshot
from raysearch.counsel import Asked
from raysearch.facts import AttemptClosed, Judged, Measured, Mutated, Unanswered
from raysearch.jobs import CONFIRMATION, Job
from raysearch.state import Attempt, State
from raysearch.types import SEED, Candidate, Challenge, Change, Commit, Measurement, Mutation, Outcome, Stage, Step


def advance(state: State, attempt: Attempt) -> Job | Mutated | Judged | Measured | AttemptClosed:
    """Recovery and progress are the same question, so they are the same code.

    A job when there is work; a fact when it is known already (the seed needs no mutator, a tree that was
    evaluated before keeps its results); the closing fact when nothing is left.
    """
    if attempt.fatal:
        return AttemptClosed(attempt.id, Outcome.FAILED, attempt.fatal)
    if attempt.change is None:
        return _mutate(state, attempt)
    if attempt.change.refusal:
        return AttemptClosed(attempt.id, Outcome.REJECTED, f"guard: {attempt.change.refusal}")
    for judge, verdict in attempt.verdicts.items():
        if not verdict.passed:
            return AttemptClosed(attempt.id, Outcome.REJECTED, f"{judge}: {verdict.feedback}".strip())
    first = state.known.get(attempt.change.tree, attempt.id)
    if first != attempt.id:
        return AttemptClosed(attempt.id, Outcome.REJECTED, f"known tree: the same program as attempt {first}")
    for step in state.plan.steps:
        if not _done(attempt, step):
            return _reused(state, attempt, attempt.change, step) or _evaluate(state, attempt, attempt.change, step)
        if behind := _behind(state, attempt, step):
            return AttemptClosed(attempt.id, Outcome.REJECTED, f"{step.plugin}: {behind}")
    measured = tuple(
        m for step in state.plan.steps if step.hopeless is None for m in attempt.measurements.get(step.plugin, ())
    )
    names = {m.name for m in measured}
    missing = [o.name for o in state.objectives if o.name not in names]
    if missing:
        return AttemptClosed(attempt.id, Outcome.FAILED, f"no benchmark measured {', '.join(missing)}")
    return (
        _confirm(state, attempt, attempt.change, measured)
        or _finally(state, attempt, attempt.change, measured)
        or _referred(state, attempt, attempt.change, measured)
        or _admit(state, attempt, attempt.change, measured)
    )


def _behind(state: State, attempt: Attempt, step: Step) -> str:
    """Why a short benchmark that was run makes the steps after it vain; nothing where it does not."""
    if step.hopeless is None or attempt.id == SEED or attempt.proposal.baseline:
        return ""
    return confirming.outclassed(state.members, state.objectives, attempt.measurements[step.plugin], step)


def _parents(state: State, attempt: Attempt) -> tuple[Commit, ...]:
    """Commits of an attempt's parents; the origin's where it has none."""
    return tuple(state.candidates[parent].commit for parent in attempt.proposal.parents) or (state.start.origin,)


def _mutate(state: State, attempt: Attempt) -> Job | Mutated:
    proposal, start = attempt.proposal, state.start
    if attempt.id == SEED:
        return Mutated(SEED, Change(start.origin, start.origin_tree, Mutation("the target's seed program")))
    for baseline in start.baselines:
        if baseline.name == proposal.baseline:
            return Mutated(attempt.id, Change(baseline.commit, baseline.tree, Mutation(f"baseline {baseline.name}")))
    parents = _parents(state, attempt)
    return Job(
        attempt=attempt.id,
        stage=Stage.MUTATE,
        plugin=proposal.mutator,
        base=parents[0] if proposal.repair is None else state.commits[proposal.repair],
        parents=parents,
        brief=proposal.brief,
        timeout_s=state.plan.mutate_timeout_s,
        try_number=attempt.tries.get((Stage.MUTATE, proposal.mutator), 0),
        lineage=proposal.lineage,
        opened_at_s=attempt.opened_at_s,
        board=_board(state),
    )


def consult(state: State, asked: Asked) -> Job | Unanswered:
    """What is next for a question under way."""
    question = asked.question
    step = next((step for step in state.plan.consultants if step.plugin == question.role), None)
    if step is None:
        return Unanswered(asked.id, f"nobody is there to be asked as {question.role}")
    if asked.fatal:
        return Unanswered(asked.id, asked.fatal)
    about = state.candidates.get(question.about)
    commit = state.start.origin if about is None else about.commit
    parents = () if about is None else tuple(state.commits[parent] for parent in about.parents)
    return Job(
        attempt=question.about,
        stage=step.stage,
        plugin=question.role,
        base=commit,
        parents=parents,
        brief=question.brief,
        timeout_s=step.timeout_s,
        try_number=asked.tries,
        lineage=question.lineage,
        opened_at_s=asked.opened_at_s,
        consultation=asked.id,
        board=_board(state),
    )


def _board(state: State) -> Snapshot | None:
    return state.board.snapshot() if state.plan.board else None


def _evaluate(state: State, attempt: Attempt, change: Change, step: Step) -> Job:
    return Job(
        attempt=attempt.id,
        stage=step.stage,
        plugin=step.plugin,
        base=change.commit,
        parents=_parents(state, attempt) if attempt.id != SEED else (),
        timeout_s=step.timeout_s,
        try_number=attempt.tries.get((step.stage, step.plugin), 0),
        opened_at_s=attempt.opened_at_s,
        board=_board(state) if step.stage is Stage.JUDGE else None,
    )


def _done(attempt: Attempt, step: Step) -> bool:
    return step.plugin in (attempt.verdicts if step.stage is Stage.JUDGE else attempt.measurements)


def _reused(state: State, attempt: Attempt, change: Change, step: Step) -> Judged | Measured | None:
    """What an attempt with the same tree already had measured, before it failed for other reasons.

    The plan, and with it evaluator and environment digests, is one for the whole run.
    """
    earlier = state.unfinished.get(change.tree)
    if earlier is None or not _done(earlier, step):
        return None
    if step.stage is Stage.JUDGE:
        return Judged(attempt.id, step.plugin, earlier.verdicts[step.plugin], reused_from=earlier.id)
    return Measured(attempt.id, step.plugin, earlier.measurements[step.plugin], reused_from=earlier.id)


def _confirm(
    state: State, attempt: Attempt, change: Change, measured: tuple[Measurement, ...]
) -> Job | AttemptClosed | None:
    """What is due before an attempt's place is settled."""
    plan, challenge = state.plan.confirmation, None
    if plan is None:
        return None
    if attempt.id == SEED:
        if SEED not in attempt.contests:
            challenge = confirming.rehearsed(change.commit, state.objectives, plan)
        elif moved := confirming.disagreement(attempt.contests[SEED], state.objectives):
            return AttemptClosed(SEED, Outcome.FAILED, f"{moved}: declared deterministic, but two runs disagree")
    else:
        others = sum(other.id != attempt.id and state.measured(other) for other in state.open.values())
        challenge = confirming.challenge(plan, state.members, state.objectives, measured, attempt.contests, others)
    return None if challenge is None else _challenge(state, attempt, change, challenge)


def _challenge(state: State, attempt: Attempt, change: Change, challenge: Challenge) -> Job:
    benchmarks = [step for step in state.plan.steps if step.stage is Stage.BENCHMARK]
    return Job(
        attempt=attempt.id,
        stage=Stage.BENCHMARK,
        plugin=CONFIRMATION,
        base=change.commit,
        parents=_parents(state, attempt) if attempt.id != SEED else (),
        # The last pair is begun in time, and is then measured to its end.
        timeout_s=challenge.time_s + 2 * sum(step.timeout_s for step in benchmarks),
        try_number=attempt.tries.get((Stage.BENCHMARK, CONFIRMATION), 0),
        opened_at_s=attempt.opened_at_s,
        challenge=challenge,
    )


def _finally(
    state: State, attempt: Attempt, change: Change, measured: tuple[Measurement, ...]
) -> Job | Judged | Measured | None:
    """The next gate of those that are for newcomers to the frontier."""
    plan = state.plan
    if not plan.final or attempt.id == SEED:
        return None
    if not confirming.settled(state.members, state.objectives, measured, attempt.contests):
        return None
    due = (step for step in plan.final if not _done(attempt, step))
    step = next(due, None)
    if step is None:
        return None
    return _reused(state, attempt, change, step) or _evaluate(state, attempt, change, step)


def _referred(state: State, attempt: Attempt, change: Change, measured: tuple[Measurement, ...]) -> Job | None:
    """The next comparison with the seed or a baseline, of a newcomer that would be the best that is known."""
    plan = state.plan.confirmation
    if plan is None or attempt.id == SEED or attempt.proposal.baseline or not _settled(state, attempt, measured):
        return None
    own = confirming.latest(measured, attempt.contests)
    for number in (SEED, *state.baselines.values()):
        if number not in state.candidates or number in attempt.contests or number in attempt.references:
            continue
        if confirming.leads(state.members, state.objectives, own):
            rival = state.candidates[number].commit
            challenge = Challenge(number, rival, plan.alpha, plan.pairs_max, plan.time_s, reference=True)
            return _challenge(state, attempt, change, challenge)
    return None


def _settled(state: State, attempt: Attempt, measured: tuple[Measurement, ...]) -> bool:
    """Whether it may stand on the frontier, as far as pairs can tell."""
    if state.plan.confirmation is None or attempt.id == SEED:
        return True
    return confirming.settled(state.members, state.objectives, measured, attempt.contests)


def _admit(state: State, attempt: Attempt, change: Change, measured: tuple[Measurement, ...]) -> AttemptClosed:
    candidate = Candidate(
        id=attempt.id,
        commit=change.commit,
        tree=change.tree,
        parents=attempt.proposal.parents,
        measurements=confirming.latest(measured, attempt.contests) if attempt.id != SEED else measured,
        mutator=attempt.proposal.mutator,
        summary=change.mutation.summary,
        lineage=attempt.proposal.lineage,
        confirmed=_settled(state, attempt, measured),
    )
    return AttemptClosed(attempt.id, Outcome.ADMITTED, "", candidate)
