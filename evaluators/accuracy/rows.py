"""What a model says of the next token: a row of scores, over the whole vocabulary or for the best few tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluators.accuracy.given import Array, BadAnswer, CheckerError, array, number, reals, require, whole

Token = int | str
Row = Mapping[Token, float] | ArrayLike
"""Logits or log-probabilities of all tokens, or log-probabilities by token of the best few."""
Error = type[CheckerError] | type[BadAnswer]
LOGPROB_MAX = 1e-6
"""Log-probabilities are at most 0, but for rounding."""
_BLOCK = 2**22
"""So many numbers of a matrix of rows are looked at together: 32 MB in double precision."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The log-probabilities of one row. A token that is not listed is infinitely unlikely."""

    values: Mapping[Token, float] | Array
    best: float

    def of(self, token: Token) -> float:
        if isinstance(self.values, Mapping):
            return self.values.get(token, -math.inf)
        if isinstance(token, str) or not 0 <= token < len(self.values):
            return -math.inf
        return float(self.values[token])

    def gap(self, token: Token) -> float:
        """By how much ``token`` is less likely than the best one, in nats (or logits: it is the same); at least 0."""
        return self.best - self.of(token)

    def runner_up(self) -> float:
        """The gap of the second best token: infinite where there is none."""
        return self.best - self.rank(2)

    def rank(self, k: int) -> float:
        """The ``k``-th highest log-probability, minus infinity where there are fewer."""
        if isinstance(self.values, Mapping):
            ordered = sorted(self.values.values(), reverse=True)
            return ordered[k - 1] if len(ordered) >= k else -math.inf
        return float(np.partition(self.values, -k)[-k]) if len(self.values) >= k else -math.inf

    def top(self, k: int) -> list[Token]:
        """The ``k`` likeliest tokens, in order; equals in the order of their names."""
        if isinstance(self.values, Mapping):
            return sorted(self.values, key=lambda token: (-self.of(token), str(token)))[:k]
        return [int(token) for token in np.argsort(-self.values, kind="stable")[:k]]


def scores(row: Row, who: str, error: Error) -> Scores:
    """One row, made ready. An array is normalised over all its tokens; a mapping holds log-probabilities already."""
    if not isinstance(row, Mapping):
        listed = log_softmax(reals(row, who, error, 1)[None, :], who, error)[0]
        return Scores(listed, float(listed.max()))
    if not row:
        raise error(f"{who} lists no token")
    values = {token: _logprob(value, f"{who} gives", error) for token, value in row.items()}
    best = max(values.values())
    if best == -math.inf:
        raise error(f"{who} rules every token out")
    return Scores(values, best)


def _logprob(value: object, who: str, error: Error) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.floating) or math.isnan(value):
        raise error(f"{who} {str(value)[:40]!r} as a log-probability: it must be a number")
    if value > LOGPROB_MAX:
        raise error(f"{who} {value:.4g} as a log-probability: none is above 0")
    return float(value)


def log_softmax(logits: Array, who: str, error: Error) -> Array:
    """Log-probabilities of each row (the last axis); minus infinity is a token that is ruled out."""
    best = logits.max(axis=-1, keepdims=True)
    wrong = ~np.isfinite(best)
    if wrong.any():
        fault = "holds +infinity" if np.isposinf(best).any() else "rules every token out"
        raise error(f"{who} {fault}, at row {int(np.argmax(wrong))}")
    shifted = logits - best
    normal: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return normal


def blocks(matrix: NDArray[np.generic]) -> Iterator[slice]:
    """Slices of rows of ``matrix`` that are small enough to be widened."""
    rows = max(1, _BLOCK // max(1, matrix.shape[1]))
    for start in range(0, len(matrix), rows):
        yield slice(start, start + rows)


def matrix_of(value: ArrayLike, who: str, error: Error) -> NDArray[np.generic]:
    """Rows of scores: positions x vocabulary, in its own type, not yet looked at for NaN."""
    found = array(value, who, error)
    if found.ndim != 2:
        raise error(f"{who} has shape {found.shape}: positions x vocabulary was expected")
    return found


def sampling_probabilities(logits: ArrayLike, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Array:
    """The distribution from which a sampler must draw: temperature, then the ``top_k`` likeliest tokens (0: all), then
    the fewest of these whose probabilities sum to ``top_p`` or more (nucleus sampling, Holtzman et al. 2020).

    ``logits``: 1-D, one a token. Among equals the lower token stays. Raises CheckerError.
    """
    values = reals(logits, "logits", CheckerError, 1)
    require(number("temperature", temperature, 0) > 0, "temperature is 0: that is greedy decoding, which needs no test")
    whole("top_k", top_k, 0)
    require(number("top_p", top_p, 0, 1) > 0, "top_p is 0: give a share above 0")
    chances = np.exp(log_softmax(values[None, :] / temperature, "logits", CheckerError))[0]
    order = np.argsort(-chances, kind="stable")
    if top_k:
        chances[order[top_k:]] = 0.0
        chances /= chances.sum()
    before = np.cumsum(chances[order]) - chances[order]
    if top_p < 1:
        chances[order[before >= top_p]] = 0.0
    result: Array = chances / chances.sum()
    return result
