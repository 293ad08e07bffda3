"""Greedy decoding: the same tokens as the reference, except where the reference itself is undecided.

Correct implementations differ in the order of their sums, so the best of two nearly equal tokens may differ. What a
model wrote is therefore never compared as a string: a divergence counts if the reference is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import BadAnswer, CheckerError, choice, expect, number, require, tokens, whole
from evaluators.accuracy.logits import BEST_MIN, GAP_MAX, GAPS_BEYOND_MAX
from evaluators.accuracy.power import share_power
from evaluators.accuracy.rows import Row, Scores, scores

TIE_WIDTH = 0.2
"""Logits. In bfloat16 the best token of one language model (SmolLM2-135M) changed at 2 % of positions, and only where
the best two were closer than this; int8 kernels that pass `check_logits` changed it at gaps of up to 0.74."""
_TOLD = 8
"""So many divergences are looked for even where one is too many: what a person would want to see."""
Ask = Callable[[list[int], int], object]
"""The candidate: given token ids and a count, returns that many tokens, chosen greedily."""


@dataclass(frozen=True, slots=True)
class Greedy:
    """What the reference wrote to one prompt: its tokens, and at each of them the row that it chose from."""

    prompt: Sequence[int]
    tokens: Sequence[int]
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Forced:
    """What the candidate wrote to one prompt, and the reference's row at each of these tokens, given all before it.

    ``asked``: how many tokens it was to write.
    """

    tokens: object
    rows: Sequence[Row]
    asked: int


@dataclass(slots=True)
class _Walk:
    """How far the candidate went along with the reference, over all prompts. Past ``limit`` divergences the outcome is
    settled."""

    limit: float
    compared: int = 0
    diverged: int = 0
    ties: int = 0
    missing: int = 0
    extra: int = 0
    largest: float = 0.0
    first: str = ""
    earliest: int = 2**62

    def step(self, place: str, index: int, gap: float, tie_width: float) -> None:
        self.compared += 1
        self.largest = max(self.largest, gap)
        if gap > tie_width:
            self.diverge(place, index, f"chose a token {gap:.3g} logits below the reference's", 1)
        else:
            self.ties += 1

    def diverge(self, place: str, index: int, what: str, count: int) -> None:
        self.diverged += count
        self.earliest = min(self.earliest, index)
        self.first = self.first or f"at token {index + 1} of {place} it {what}"


def check_greedy(
    reference: Iterable[Greedy],
    ask: Ask,
    *,
    tie_width: float = TIE_WIDTH,
    after: str = "reference",
    diverged_max: float = 0.0,
    name: str = "greedy tokens",
) -> Check:
    """The candidate's greedy tokens against the reference's.

    Where both differ, the divergence counts if the reference's margin, between its own token and the candidate's, is
    above ``tie_width`` (logits); a token that its row does not list is infinitely far. After any difference the
    candidate is asked again, for the rest, with the reference's tokens as its prefix (``after="reference"``), or the
    prompt is left (``after="stop"``): then what follows a tie is never looked at. Tokens that are missing at the end
    count as divergences. ``diverged_max``: the share of compared tokens that may diverge. Raises CheckerError if the
    reference is undecided everywhere.
    """
    number("tie_width", tie_width, 0)
    number("diverged_max", diverged_max, 0, 1)
    choice("after", after, ("reference", "stop"))
    prompts = list(reference)
    require(len(prompts) > 0, "there is nothing to check: give at least one prompt")
    total = sum(len(given.tokens) for given in prompts)
    walk = _Walk(limit=max(_TOLD, diverged_max * total))
    decided = 0
    for index, given in enumerate(prompts, 1):
        rows = _rows_of(given, f"prompt {index}")
        decided += sum(row.runner_up() > tie_width for row in rows)
        _follow(walk, given, rows, ask, f"prompt {index}", tie_width, again=after == "reference")
    require(decided > 0, f"{name}: within {tie_width:g} logits the reference is undecided everywhere: lower tie_width")
    bounds = (
        Bound("share of diverged tokens", walk.diverged / max(1, walk.compared), diverged_max),
        Bound("tokens beyond the number asked for", walk.extra, 0),
    )
    feedback = (
        f"{walk.compared} of {total} greedy tokens were compared: {walk.ties} differ where the reference is undecided."
    )
    if not all(bound.kept for bound in bounds):
        feedback = f"Greedy decoding went another way: {walk.first}. "
        feedback += (
            f"{walk.diverged} of {walk.compared} compared tokens diverge (a margin up to {tie_width:g} is a tie)."
        )
        if 0 < walk.earliest < 2**62:
            feedback += f" The first {walk.earliest} tokens of each are right."
        feedback += f" {walk.missing} tokens are missing." if walk.missing else ""
        feedback += f" {walk.extra} tokens came beyond the number asked for." if walk.extra else ""
    figures = {"ties": walk.ties, "share compared": walk.compared / total, "decided tokens": decided}
    return Check(name, bounds, max(1, walk.compared), "tokens", feedback, figures)


def _rows_of(given: Greedy, place: str) -> list[Scores]:
    """The reference's rows of one prompt, found to fit its tokens."""
    tokens(given.prompt, f"the prompt of {place}", CheckerError)
    wrote = tokens(given.tokens, f"the reference's answer to {place}", CheckerError)
    require(len(wrote) > 0, f"the reference's answer to {place} is empty")
    require(len(given.rows) == len(wrote), f"{place} has {len(given.rows)} rows for {len(wrote)} tokens")
    found = [scores(row, f"row {index} of {place}", CheckerError) for index, row in enumerate(given.rows)]
    for index, (row, token) in enumerate(zip(found, wrote, strict=True)):
        require(row.gap(token) <= 0, f"the reference's token {index} of {place} is not the best of its row: not greedy")
    return found


def _follow(
    walk: _Walk, given: Greedy, rows: list[Scores], ask: Ask, place: str, tie_width: float, again: bool
) -> None:
    right = [int(token) for token in given.tokens]
    done = 0
    while done < len(right) and walk.diverged <= walk.limit:
        count = len(right) - done
        found = tokens(ask([*map(int, given.prompt), *right[:done]], count), f"the answer to {place}", BadAnswer)
        walk.extra += max(0, len(found) - count)
        differs = next((i for i in range(min(count, len(found))) if found[i] != right[done + i]), None)
        if differs is None:
            walk.compared += min(count, len(found))
            if len(found) < count:
                walk.missing += count - len(found)
                walk.compared += count - len(found)
                walk.diverge(place, done + len(found), "ended", count - len(found))
            return
        walk.compared += differs
        done += differs
        walk.step(place, done, rows[done].gap(found[differs]), tie_width)
        done += 1
        if not again:
            return


def check_forced(
    answers: Iterable[Forced],
    *,
    best_min: float = BEST_MIN,
    gap_max: float = GAP_MAX,
    gaps_beyond_max: float = GAPS_BEYOND_MAX,
    gap_mean_max: float | None = None,
    stops: Iterable[int] = (),
    name: str = "greedy audit",
) -> Check:
    """Greedy answers read by the reference: how far below its best is each token that the candidate chose?

    This needs no second run and no equal prefixes, so it can judge the very answers of a benchmark, whatever batching
    or speculation produced them. Bounds: the share of tokens that are the reference's best, the share of gaps beyond
    ``gap_max`` (logits), the mean gap if ``gap_mean_max`` is given, and that every answer has as many tokens as asked,
    or ends with one of ``stops`` (which is audited like any token).
    """
    for setting, value in (("best_min", best_min), ("gaps_beyond_max", gaps_beyond_max)):
        number(setting, value, 0, 1)
    number("gap_max", gap_max, 0)
    if gap_mean_max is not None:
        number("gap_mean_max", gap_mean_max, 0)
    ends = set(tokens(list(stops), "stops", CheckerError))
    gaps: list[float] = []
    wrong_length = 0
    worst = (-1.0, "")
    given = list(answers)
    same = {tuple(tokens(answer.tokens, f"prompt {place}", BadAnswer)) for place, answer in enumerate(given, 1)}
    for place, answer in enumerate(given, 1):
        wrote = tokens(answer.tokens, f"prompt {place}", BadAnswer)
        whole("asked", answer.asked)
        expect(len(wrote) > 0, f"the answer to prompt {place} is empty")
        short = len(wrote) < answer.asked and wrote[-1] not in ends
        wrong_length += short or len(wrote) > answer.asked
        require(len(answer.rows) == len(wrote), f"prompt {place} has {len(answer.rows)} rows for {len(wrote)} tokens")
        for index, (row, token) in enumerate(zip(answer.rows, wrote, strict=True), 1):
            where = f"token {index} of prompt {place}"
            gap = scores(row, f"the reference's row of {where}", CheckerError).gap(token)
            gaps.append(gap)
            worst = max(worst, (gap, where), key=lambda pair: pair[0])
    require(len(gaps) > 0, "there is nothing to check: give at least one answer")
    found = np.array(gaps)
    best, beyond = float((found <= 0).mean()), float((found > gap_max).mean())
    bounds = [
        Bound("agreement of the best token", best, best_min, least=True),
        Bound(f"share of gaps beyond {gap_max:g}", beyond, gaps_beyond_max),
        Bound("answers of the wrong length", wrong_length, 0),
    ]
    if gap_mean_max is not None:
        bounds.append(Bound("mean gap", float(found.mean()), gap_mean_max))
    feedback = f"{best:.1%} of {len(gaps)} tokens are the reference's best, the largest gap is {worst[0]:.3g}."
    if not all(bound.kept for bound in bounds):
        feedback = (
            f"Read by the reference, {best:.1%} of {len(gaps)} tokens are its best choice (at least {best_min:.1%}); "
            f"{beyond:.2%} are more than {gap_max:g} logits below it (at most {gaps_beyond_max:.2%}), the worst "
            f"{worst[0]:.3g} at {worst[1]}. {wrong_length} answers have the wrong length."
        )
        feedback += " All answers are the same." if len(given) > 1 and len(same) == 1 else ""
    figures = {"largest gap": worst[0]} | ({"mean gap": float(found.mean())} if gap_mean_max is None else {})
    return Check(
        name, tuple(bounds), len(gaps), "tokens", feedback, figures, share_power(len(gaps), best_min, "other tokens")
    )
