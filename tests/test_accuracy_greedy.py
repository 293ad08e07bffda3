"""Greedy decoding: divergences, ties, and answers read by the reference."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.accuracy import BadAnswer, Check, CheckerError, Greedy, check_forced, check_greedy

WORDS = 12
Model = Callable[[Sequence[int]], np.ndarray]  # type: ignore[type-arg]


def toy(before: Sequence[int]) -> np.ndarray:  # type: ignore[type-arg]
    """Logits of the next token: a fixed function of the last three; every fourth is a tie within 0.1."""
    rng = np.random.default_rng([len(before), *before[-3:]])
    logits = 2 * rng.normal(size=WORDS)
    first, second = np.argsort(-logits)[:2]
    logits[second] = logits[first] - (0.1 if sum(before[-3:]) % 4 == 0 else 1.5)
    return logits


def tilted(before: Sequence[int]) -> np.ndarray:  # type: ignore[type-arg]
    """The toy with its ties the other way round."""
    logits = toy(before)
    first, second = np.argsort(-logits)[:2]
    if logits[first] - logits[second] < 0.2:
        logits[second] += 0.15
    return logits


def decode(model: Model, prompt: Sequence[int], count: int) -> list[int]:
    wrote = list(prompt)
    for _ in range(count):
        wrote.append(int(model(wrote).argmax()))
    return wrote[len(prompt) :]


def reference(prompts: int = 6, count: int = 24, seed: int = 0) -> list[Greedy]:
    rng = random.Random(seed)
    found = []
    for _ in range(prompts):
        prompt = [rng.randrange(WORDS) for _ in range(5)]
        wrote = decode(toy, prompt, count)
        found.append(Greedy(prompt, wrote, [toy([*prompt, *wrote[:index]]) for index in range(count)]))
    return found


def asked(model: Model) -> Callable[[list[int], int], list[int]]:
    return lambda prompt, count: decode(model, prompt, count)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 1000), st.sampled_from(["reference", "stop"]))
def test_what_is_the_same_passes(seed: int, after: str) -> None:
    found = check_greedy(reference(seed=seed), asked(toy), tie_width=0.0, after=after)
    assert found.passed
    assert found.statistics["share compared"] == 1
    assert found.statistics["ties"] == 0


def test_ties_are_no_divergences_and_the_rest_is_looked_at() -> None:
    prompts = reference()
    found = check_greedy(prompts, asked(tilted), tie_width=0.2)
    assert found.passed
    assert found.statistics["ties"] > 5
    assert found.statistics["share compared"] == 1
    strict = check_greedy(prompts, asked(tilted), tie_width=0.05)
    assert not strict.passed
    stopped = check_greedy(prompts, asked(tilted), tie_width=0.2, after="stop")
    assert stopped.passed
    assert stopped.statistics["share compared"] < 1
    assert stopped.items < found.items


def test_garbage_after_a_tie() -> None:
    """Where one stops at a tie, it goes unseen; where one goes on, it does not."""

    def ask(prompt: list[int], count: int) -> list[int]:
        wrote = decode(tilted, prompt, count)
        right = decode(toy, prompt, count)
        parted = next((index for index in range(count) if wrote[index] != right[index]), count)
        again = len(prompt) > 5  # the reference's prefix
        return wrote[: parted + 1] + [0] * (count - parted - 1) if not again else [0] * count

    assert check_greedy(reference(), ask, after="stop").passed
    assert not check_greedy(reference(), ask).passed


def test_a_divergence_is_told_with_its_place_and_margin() -> None:
    prompts = reference(prompts=2)

    def ask(prompt: list[int], count: int) -> list[int]:
        wrote = decode(toy, prompt, count)
        return [*wrote[:20], *[(token + 1) % WORDS for token in wrote[20:]]] if count > 4 else wrote

    found = check_greedy(prompts, ask)
    assert not found.passed
    assert "at token 21 of prompt 1 it chose a token" in found.feedback
    assert "The first 20 tokens of each are right." in found.feedback
    assert check_greedy(prompts, ask, diverged_max=0.2).passed
    assert found.statistics["share of diverged tokens"] > 0


def test_a_hopeless_candidate_is_not_asked_for_ever() -> None:
    calls = []

    def ask(prompt: list[int], count: int) -> list[int]:
        calls.append(count)
        return [WORDS + 1] * count

    assert not check_greedy(reference(prompts=50), ask).passed
    assert len(calls) == 9


@pytest.mark.parametrize("length", [0, 1, 23])
def test_an_answer_that_ends_early(length: int) -> None:
    found = check_greedy(reference(), lambda prompt, count: decode(toy, prompt, count)[:length])
    assert not found.passed
    assert f"at token {length + 1} of prompt 1 it ended" in found.feedback
    assert "tokens are missing" in found.feedback


def test_an_answer_that_goes_on() -> None:
    found = check_greedy(reference(), lambda prompt, count: [*decode(toy, prompt, count), 1])
    assert not found.passed
    assert "6 tokens came beyond the number asked for" in found.feedback


def test_rows_of_the_best_few() -> None:
    """A token that a row does not list is infinitely far."""
    given = [Greedy([1], [5, 7], [{5: -0.1, 6: -0.2}, {7: -0.5, 8: -0.9}])]
    assert check_greedy(given, lambda prompt, count: [6, 7][-count:]).passed
    unlisted = check_greedy(given, lambda prompt, count: [4, 7][-count:], tie_width=0.3)
    assert (unlisted.passed, "inf logits" in unlisted.feedback) == (False, True)


@pytest.mark.parametrize("answer", [None, "text", [1.5], [-1], [[1]], {"tokens": [1]}])
def test_answers_that_are_none(answer: object) -> None:
    with pytest.raises(BadAnswer, match="the answer to prompt 1"):
        check_greedy(reference(), lambda prompt, count: answer)


def test_references_that_are_none() -> None:
    one = reference(prompts=1)[0]
    for bad, told in (
        ([], "nothing to check"),
        ([Greedy(one.prompt, one.tokens, one.rows[1:])], "23 rows for 24 tokens"),
        ([Greedy(one.prompt, [], [])], "is empty"),
        ([Greedy(one.prompt, [(token + 1) % WORDS for token in one.tokens], one.rows)], "not greedy"),
        ([Greedy(one.prompt, [0], [[math.nan, 1.0]])], "row 0 of prompt 1 holds NaN"),
        ([Greedy([-1], one.tokens, one.rows)], "the prompt of prompt 1 holds -1 at 0"),
    ):
        with pytest.raises(CheckerError, match=told):
            check_greedy(bad, asked(toy))
    with pytest.raises(CheckerError, match="undecided everywhere"):
        check_greedy([one], asked(toy), tie_width=100)
    with pytest.raises(CheckerError, match="Did you mean 'reference'"):
        check_greedy([one], asked(toy), after="referense")


def questions(prompts: int = 8) -> list[list[int]]:
    rng = random.Random(1)
    return [[rng.randrange(WORDS) for _ in range(5)] for _ in range(prompts)]


def read(prompt: list[int], wrote: list[int]) -> list[np.ndarray]:  # type: ignore[type-arg]
    return [toy([*prompt, *wrote[:index]]) for index in range(len(wrote))]


def audit(model: Model, keep: int = 24, prompts: int = 8, **settings_: Any) -> Check:
    asked_ = questions(prompts)
    answers = [decode(model, prompt, keep) for prompt in asked_]
    return check_forced(asked_, answers, read, **{"asked": 24, "vocabulary": WORDS} | settings_)


def test_answers_read_by_the_reference() -> None:
    right = audit(toy)
    assert right.passed
    assert right.statistics["agreement of the best token"] == 1
    assert right.statistics["mean gap"] == 0
    ties = audit(tilted, best_min=0.6)
    assert ties.passed
    assert ties.statistics["largest gap"] == pytest.approx(0.1)
    assert not audit(tilted, best_min=0.99).passed
    assert not audit(tilted, best_min=0.6, gap_mean_max=1e-4).passed

    def other(before: Sequence[int]) -> np.ndarray:  # type: ignore[type-arg]
        return toy([*before, 3])

    wrong = audit(other)
    assert not wrong.passed
    assert wrong.statistics["share of gaps beyond 1.2"] > 0.5


def test_answers_of_the_wrong_length_are_found() -> None:
    short = audit(toy, keep=23)
    assert not short.passed
    assert "8 answers have the wrong length" in short.feedback
    last = decode(toy, questions(1)[0], 9)[-1]
    assert audit(toy, keep=9, prompts=1, stops=[last]).passed  # it ended, where the reference would have
    assert not audit(toy, keep=9, prompts=1, asked=8).passed
    assert audit(toy, keep=9, prompts=2, asked=[9, 9]).passed


def test_what_check_forced_cannot_work_with() -> None:
    asked_ = questions(1)
    for answers, settings_, kind, told in (
        ([[]], {}, BadAnswer, "the answer to prompt 1 is empty"),
        ([[WORDS]], {}, BadAnswer, "prompt 1 holds token 12, of a vocabulary of 12"),
        ([["a"]], {}, BadAnswer, "prompt 1 holds 'a' at 0"),
        ([], {}, BadAnswer, "prompt 1 was not answered"),
        ([[1]], {"asked": 0}, CheckerError, "asked is 0"),
        ([[1]], {"asked": [1, 2]}, CheckerError, "2 numbers for 1 prompts"),
        ([[1]], {"read": lambda prompt, wrote: []}, CheckerError, "0 rows for 1 tokens of prompt 1"),
        ([[1]], {"best_min": 2}, CheckerError, "best_min"),
    ):
        given_: dict[str, Any] = {"read": read, "asked": 1, "vocabulary": WORDS} | settings_  # type: ignore[operator]
        with pytest.raises(kind, match=told):
            check_forced(asked_, answers, **given_)
    with pytest.raises(CheckerError, match="at least one prompt"):
        check_forced([], [], read, asked=1, vocabulary=WORDS)


def test_an_endless_answer_is_not_read_to_its_end() -> None:
    seen = []

    def reads(prompt: list[int], wrote: list[int]) -> list[np.ndarray]:  # type: ignore[type-arg]
        seen.append(len(wrote))
        return read(prompt, wrote)

    assert not check_forced(questions(1), [[1] * 100_000], reads, asked=4, vocabulary=WORDS).passed
    assert seen == [4]


def test_one_answer_for_all_prompts_is_told() -> None:
    asked_ = questions()
    same = [decode(toy, asked_[0], 24)] * 8
    found = check_forced(asked_, same, read, asked=24, vocabulary=WORDS)
    assert not found.passed
    assert "All answers are the same." in found.feedback
