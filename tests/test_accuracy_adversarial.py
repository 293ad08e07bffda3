"""Candidates that are right where it is easy: each must be caught by the checks that claim to see it.

The reference is a small recurrent model. An honest candidate computes the same with rounding errors of the size that
bfloat16 leaves, and must pass with every seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from evaluators.accuracy import (
    BadAnswer,
    Check,
    Greedy,
    check_categories,
    check_forced,
    check_greedy,
    check_images,
    check_json,
    check_logits,
    check_logprobs,
    check_tensor,
    check_topk,
    check_transcripts,
    check_values,
    sampling_probabilities,
)

Array = NDArray[np.float64]
WORDS, WIDTH, LONG = 40, 24, 64
_weights = np.random.default_rng(0)
EMBED = _weights.normal(size=(WORDS, WIDTH))
MIX = _weights.normal(size=(WIDTH, WIDTH)) / 5
HEAD = 1.5 * _weights.normal(size=(WIDTH, WORDS))
Model = Callable[[Sequence[int]], Array]
"""From tokens to rows of logits: positions x words."""


def right(tokens: Sequence[int]) -> Array:
    state, rows = np.zeros(WIDTH), []
    for token in tokens:
        state = np.tanh(state @ MIX + EMBED[token])
        rows.append(state @ HEAD)
    return np.array(rows)


def honest(tokens: Sequence[int]) -> Array:
    """Rounding errors that depend on the tokens, of 1 % of the spread of the logits."""
    rows = right(tokens)
    noise = np.random.default_rng([len(tokens), *tokens[-8:]])
    return rows + 0.06 * noise.normal(size=rows.shape)


def garbage_from(start: int) -> Model:
    """Right up to ``start`` tokens; then as if it had read others."""

    def model(tokens: Sequence[int]) -> Array:
        rows = honest(tokens)
        rows[start:] = np.roll(rows[start:], 3, axis=1)
        return rows

    return model


def constant(tokens: Sequence[int]) -> Array:
    return np.tile(right([1])[-1], (len(tokens), 1))


def forgets(tokens: Sequence[int]) -> Array:
    """A window of 2 tokens where the model has no limit."""
    return np.array([right(tokens[max(0, place - 1) : place + 1])[-1] for place in range(len(tokens))])


def prompts(seed: int) -> list[list[int]]:
    """Thirty-six short ones, and only four that are longer than 64 tokens."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, WORDS, size=size).tolist() for size in [*[6, 12, 24, 48] * 9, 70, 80, 90, 100]]


def decode(model: Model, prompt: Sequence[int], count: int) -> list[int]:
    wrote = list(prompt)
    for _ in range(count):
        wrote.append(int(model(wrote)[-1].argmax()))
    return wrote[len(prompt) :]


def read(prompt: Sequence[int], wrote: Sequence[int]) -> Array:
    return right([*prompt, *wrote])[len(prompt) - 1 : -1]


def log_softmax(rows: Array) -> Array:
    shifted = rows - rows.max(axis=1, keepdims=True)
    result: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def chosen(model: Model, prompt: Sequence[int]) -> Array:
    """Log-probabilities of the prompt's own tokens, but for the first."""
    rows = log_softmax(model(prompt))
    return rows[np.arange(len(prompt) - 1), list(prompt[1:])]


def best_few(model: Model, prompt: Sequence[int]) -> list[dict[int | str, float]]:
    return [{int(token): float(row[token]) for token in np.argsort(-row)[:5]} for row in log_softmax(model(prompt))]


def logits(model: Model, seed: int) -> Check:
    return check_logits(map(right, prompts(seed)), map(model, prompts(seed)))


def logprobs(model: Model, seed: int) -> Check:
    asked = prompts(seed)
    return check_logprobs(
        [chosen(right, prompt) for prompt in asked],
        [chosen(model, prompt) for prompt in asked],
        mean_max=0.1,
        max_max=0.6,
    )


def topk(model: Model, seed: int) -> Check:
    asked = prompts(seed)
    return check_topk(
        [right(prompt) for prompt in asked],
        [best_few(model, prompt) for prompt in asked],
        **{"k": 5, "overlap_min": 0.9, "difference_max": 0.6},
    )


def forced(model: Model, seed: int) -> Check:
    asked = prompts(seed)[::3]
    answers = [decode(model, prompt, 12) for prompt in asked]
    return check_forced(asked, answers, read, asked=12, vocabulary=WORDS)


def greedy(model: Model, seed: int) -> Check:
    asked = prompts(seed)[::3]
    wrote = [decode(right, prompt, 12) for prompt in asked]
    reference = [Greedy(*pair, read(*pair)) for pair in zip(asked, wrote, strict=True)]
    return check_greedy(reference, lambda prompt, count: decode(model, prompt, count), tie_width=0.6)


def sampled(model: Model, seed: int) -> Check:
    rng = np.random.default_rng(seed)
    asked = prompts(seed)[::3]
    drawn = [rng.choice(WORDS, size=400, p=sampling_probabilities(model(prompt)[-1])).tolist() for prompt in asked]
    return check_categories(
        [sampling_probabilities(right(prompt)[-1]) for prompt in asked], drawn, samples=400, kl_allowed=0.01
    )


CHECKS = [logits, logprobs, topk, forced, greedy, sampled]


@pytest.mark.parametrize("check", CHECKS)
def test_honest_candidates_pass_with_every_seed(check: Callable[[Model, int], Check]) -> None:
    for seed in range(4):
        found = check(honest, seed)
        assert found.passed, found.feedback


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "model", [garbage_from(LONG), constant, forgets], ids=["garbage from 64 on", "constant", "forgets"]
)
def test_candidates_that_are_right_where_it_is_easy_are_caught(
    check: Callable[[Model, int], Check], model: Model
) -> None:
    found = check(model, 0)
    assert not found.passed
    assert found.feedback


@pytest.mark.parametrize("start", [1, 5, 20, 64, 95])
def test_garbage_is_caught_wherever_it_begins(start: int) -> None:
    assert not logits(garbage_from(start), 1).passed
    found = logprobs(garbage_from(start), 1)
    assert not found.passed
    assert f"In no prompt is one of the first {start} tokens beyond the limit." in found.feedback


def test_one_wrong_token_is_caught_where_all_count() -> None:
    asked = prompts(0)
    reference = [chosen(right, prompt) for prompt in asked]
    found = [part.copy() for part in reference]
    found[-1][-1] -= 0.7
    assert not check_logprobs(reference, found, mean_max=0.1, max_max=0.6).passed


@pytest.mark.parametrize("keep", [0, 1, 11])
def test_truncated_answers_are_caught(keep: int) -> None:
    asked = prompts(0)[:8]
    wrote = [decode(right, prompt, 12) for prompt in asked]
    reference = [Greedy(*pair, read(*pair)) for pair in zip(asked, wrote, strict=True)]
    assert not check_greedy(reference, lambda prompt, count: decode(right, prompt, count)[:keep], tie_width=0.6).passed
    short = [text[: max(1, keep)] for text in wrote]
    audit = check_forced(asked, short, read, asked=12, vocabulary=WORDS)
    assert "8 answers have the wrong length" in audit.feedback
    cut_json = check_json([{"type": "object"}] * 2, ['{"a": 1, "b": 2}'[:keep], '{"a": 1}'])
    assert not cut_json.passed
    spoken = ["one two three four five six seven eight nine ten eleven twelve", "and so on and on"]
    assert not check_transcripts(spoken, [" ".join(text.split()[:keep]) for text in spoken], rate_max=0.05).passed


def test_truncated_rows_are_no_answer() -> None:
    asked = prompts(0)[:8]
    rows = [right(prompt) for prompt in asked]
    scores = [chosen(right, prompt) for prompt in asked]
    with pytest.raises(BadAnswer, match=r"prompt 8 has logits of shape \(47, 40\): \(48, 40\) was asked for"):
        check_logits(rows, [*rows[:7], rows[7][:-1]])
    with pytest.raises(BadAnswer, match="prompt 8 was not answered"):
        check_logits(rows, rows[:7])
    with pytest.raises(BadAnswer, match="prompt 1 has 4 log-probabilities, for 5 tokens"):
        check_logprobs(scores, [part[:-1] for part in scores], mean_max=1, max_max=1)
    with pytest.raises(BadAnswer, match="prompt 1, position 6 was not answered"):
        check_topk(rows, [best_few(right, p)[:5] for p in asked], k=5, overlap_min=0.9, difference_max=1)
    with pytest.raises(BadAnswer, match="the answer to prompt 1 is empty"):
        check_forced(asked, [[]] * 8, read, asked=12, vocabulary=WORDS)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_constant_answers_are_caught(value: float) -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.random(size=(16, 16, 3)) for _ in range(3)]
    flat = [np.full((16, 16, 3), value)] * 3
    assert not check_images(pictures, flat, span=(0, 1)).passed
    assert not check_images(pictures, flat, span=(0, 1), psnr_min=None, ssim_min=0.5).passed
    tensor = rng.normal(size=(8, 8))
    assert not check_tensor(tensor, np.full((8, 8), value), "fp8_e5m2").passed
    assert not check_values([rng.random(300)], [np.full(100, value)], samples=100).passed
    assert not check_json([True] * 3, [str(value)] * 3).passed
    asked = prompts(0)
    reference = [chosen(right, prompt) for prompt in asked]
    assert not check_logprobs(reference, [np.full(len(p) - 1, -value) for p in asked], mean_max=0.1, max_max=0.6).passed


def test_the_first_picture_for_every_request_is_caught() -> None:
    rng = np.random.default_rng(6)
    pictures = [rng.integers(0, 256, size=(16, 16, 3), dtype=np.uint8) for _ in range(3)]
    found = check_images(pictures, [pictures[0]] * 3)
    assert not found.passed
    assert "They are all the same image." in found.feedback


def test_feedback_never_quotes_the_reference() -> None:
    """What a checker says reaches those who write candidates: a text or token of the reference must not be in it."""
    spoken = ["zebra crossing", "quagga walking"]
    heard = check_transcripts(spoken, ["a b", "c"], rate_max=0.1)
    held = check_json([{"type": "object"}] * 2, ["[]", "[1]"], must_hold=["zebra", "quagga"])
    listed = check_topk(
        [[{"zebra": -0.1, "quagga": -3.0}]], [[{"x": -0.1, "y": -3.0}]], k=2, overlap_min=0.9, difference_max=1
    )
    for found in (heard, held, listed):
        assert not found.passed
        for word in ("zebra", "quagga", "crossing", "walking"):
            assert word not in found.feedback + str(found.to_case())
    wrote = decode(right, [3, 4, 5], 12)
    secret = check_greedy(
        [Greedy([3, 4, 5], wrote, read([3, 4, 5], wrote))], lambda prompt, count: [WORDS - 1] * count, tie_width=0.1
    )
    assert not secret.passed
    assert f"{wrote[0]} " not in secret.feedback.replace(f"{secret.items} compared", "")
