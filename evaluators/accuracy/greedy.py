"""Greedy decoding: the same tokens as the reference, except where the reference itself is undecided.

Correct implementations differ in the order of their sums, so the best of two nearly equal tokens may differ. What a
model wrote is therefore never compared as a string: a divergence counts if the reference is sure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import BadAnswer, CheckerError, choice, expect, number, pairs, require, tokens, whole
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
Read = Callable[[list[int], list[int]], Sequence[Row]]
"""The reference: given a prompt and what was written to it, its row at each token written, given all before it."""


@dataclass(frozen=True, slots=True)
class Greedy:
    """What the reference wrote to one prompt: its tokens, and at each of them the row that it chose from."""

    prompt: Sequence[int]
    tokens: Sequence[int]
    rows: Sequence[Row]


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
    prompts: Iterable[Sequence[int]],
    answers: Iterable[object],
    read: Read,
    *,
    asked: int | Sequence[int],
    vocabulary: int,
    best_min: float = BEST_MIN,
    gap_max: float = GAP_MAX,
    gaps_beyond_max: float = GAPS_BEYOND_MAX,
    gap_mean_max: float | None = None,
    stops: Iterable[int] = (),
    name: str = "greedy audit",
) -> Check:
    """Greedy answers read by the reference: how far below its best is each token that the candidate chose?

    This needs no second run and no equal prefixes, so it can judge the very answers of a benchmark, whatever batching
    or speculation produced them. Every prompt was to get ``asked`` tokens (one number for all, or one each); each
    answer must have them, or end with one of ``stops``, which is audited like any token. Bounds: the share of tokens
    that are the reference's best, the share of gaps beyond ``gap_max`` (logits), the mean gap if ``gap_mean_max`` is
    given, and that no length is wrong. Token ids from ``vocabulary`` on are a BadAnswer.
    """
    for setting, value in (("best_min", best_min), ("gaps_beyond_max", gaps_beyond_max)):
        number(setting, value, 0, 1)
    number("gap_max", gap_max, 0)
    if gap_mean_max is not None:
        number("gap_mean_max", gap_mean_max, 0)
    ends = set(tokens(list(stops), "stops", CheckerError))
    texts = [tokens(prompt, f"prompt {place}", CheckerError) for place, prompt in enumerate(prompts, 1)]
    counts = [asked] * len(texts) if isinstance(asked, int) else list(asked)
    require(len(counts) == len(texts), f"asked has {len(counts)} numbers for {len(texts)} prompts")
    gaps: list[float] = []
    wrong_length = 0
    worst = (-1.0, "")
    different: set[tuple[int, ...]] = set()
    for index, (place, prompt, answer) in enumerate(pairs(texts, answers, "prompt")):
        wrote, count = tokens(answer, place, BadAnswer), whole("asked", counts[index])
        expect(len(wrote) > 0, f"the answer to {place} is empty")
        expect(max(wrote) < vocabulary, f"{place} holds token {max(wrote)}, of a vocabulary of {vocabulary}")
        different.add(tuple(wrote))
        wrong_length += len(wrote) > count or (len(wrote) < count and wrote[-1] not in ends)
        found = _gaps(read, prompt, wrote[:count], place)
        gaps += found
        worst = max(worst, (max(found), f"token {int(np.argmax(found)) + 1} of {place}"))
    best, beyond = float((np.array(gaps) <= 0).mean()), float((np.array(gaps) > gap_max).mean())
    mean = float(np.mean(gaps))
    bounds = [
        Bound("agreement of the best token", best, best_min, least=True),
        Bound(f"share of gaps beyond {gap_max:g}", beyond, gaps_beyond_max),
        Bound("answers of the wrong length", wrong_length, 0),
    ]
    if gap_mean_max is not None:
        bounds.append(Bound("mean gap", mean, gap_mean_max))
    feedback = f"{best:.1%} of {len(gaps)} tokens are the reference's best, the largest gap is {worst[0]:.3g}."
    if not all(bound.kept for bound in bounds):
        feedback = (
            f"Read by the reference, {best:.1%} of {len(gaps)} tokens are its best choice (at least {best_min:.1%}); "
            f"{beyond:.2%} are more than {gap_max:g} logits below it (at most {gaps_beyond_max:.2%}), the worst "
            f"{worst[0]:.3g} at {worst[1]}. {wrong_length} answers have the wrong length."
        )
        feedback += " All answers are the same." if len(texts) > 1 and len(different) == 1 else ""
    figures = {"largest gap": worst[0], "mean gap": mean}
    power = share_power(len(gaps), best_min, "other tokens")
    return Check(name, tuple(bounds), len(gaps), "tokens", feedback, figures, power)


def _gaps(read: Read, prompt: list[int], wrote: list[int], place: str) -> list[float]:
    rows = read(list(prompt), list(wrote))
    require(len(rows) == len(wrote), f"the reference gives {len(rows)} rows for {len(wrote)} tokens of {place}")
    return [
        scores(row, f"the reference's row {index} of {place}", CheckerError).gap(token)
        for index, (row, token) in enumerate(zip(rows, wrote, strict=True))
    ]
