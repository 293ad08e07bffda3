"""What a policy asked for: its mistakes are found before they are written down, where they would spoil the run."""

from __future__ import annotations

from collections.abc import Sequence

from raysearch.board.types import Filing, flaw
from raysearch.codec import CodecError, check
from raysearch.consultation import Consultation
from raysearch.errors import PluginError, nearest
from raysearch.facts import AttemptOpened, ConsultationOpened, Filed
from raysearch.protocols import Ask
from raysearch.state import State
from raysearch.types import SEED, Proposal


def require_possible(name: str, state: State, asked: Sequence[Ask], slots: int) -> None:
    """Raise PluginError, naming the policy, for what cannot be done in this ``state`` or kept in a journal."""
    wanting = sum(not isinstance(one, Filing) for one in asked)
    if wanting > slots:
        replies = sum(isinstance(one, Consultation) for one in asked)
        what = f"{wanting - replies} children" + (f" and {replies} replies" if replies else "")
        raise PluginError(f"policy {name} asked for {what}; there was room for {slots}")
    for one in asked:
        match one:
            case Proposal():
                _proposal(name, state, one)
            case Consultation():
                _consultation(name, state, one)
            case Filing():
                if wrong := flaw(one):
                    raise PluginError(f"policy {name} filed what cannot be meant: {wrong}")
            case _:
                kind = type(one).__name__
                raise PluginError(f"policy {name} wants a {kind}: it may want proposals, consultations and filings")
        try:
            check(_fact(one))
        except CodecError as error:
            raise PluginError(
                f"policy {name} made a {type(one).__name__.lower()} that no journal can hold: {error}"
            ) from error


def _fact(one: Ask) -> AttemptOpened | ConsultationOpened | Filed:
    match one:
        case Proposal():
            return AttemptOpened(SEED, one)
        case Consultation():
            return ConsultationOpened(1, one)
        case Filing():
            return Filed(one)


def _proposal(name: str, state: State, proposal: Proposal) -> None:
    strangers = [p for p in proposal.parents if p not in state.candidates]
    if strangers:
        raise PluginError(f"policy {name} proposed parent {strangers[0]}, which is no candidate")
    if proposal.repair is not None and proposal.repair not in state.commits:
        raise PluginError(f"policy {name} proposed to repair {proposal.repair}, which has no commit")


def _consultation(name: str, state: State, question: Consultation) -> None:
    roles = [step.plugin for step in state.plan.consultants]
    if question.role not in roles:
        raise PluginError(
            f"policy {name} asks a {question.role!r}, whom this run lacks.{nearest(question.role, roles)}"
        )
    if question.about != SEED and question.about not in state.candidates:
        raise PluginError(f"policy {name} asks about {question.about}, which is no candidate")
