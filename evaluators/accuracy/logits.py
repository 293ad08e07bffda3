"""Teacher-forced agreement: both models read the same tokens, and say how likely each next one is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import (
    Array,
    BadAnswer,
    CheckerError,
    expect,
    number,
    pairs,
    reals,
    require,
    whole,
)
from evaluators.accuracy.power import share_power
from evaluators.accuracy.rows import LOGPROB_MAX, Row, Scores, Token, blocks, log_softmax, matrix_of, scores

KL_MEAN_MAX = 0.02
BEST_MIN = 0.92
GAP_MAX = 1.2
GAPS_BEYOND_MAX = 0.002
"""A band that was empty between eleven implementations of one language model (SmolLM2-135M, about 1,000 positions,
against float32): bfloat16, int8 and mixed kernels that work had a mean divergence of at most 0.0072, at least 0.949
equal best tokens and no gap above 0.74; those that were broken, 0.071, 0.886 and 1.9. Measure your own model's."""
PROMPT_FACTOR = 5.0
"""How many times as far off as all prompts together a single one may be: chosen, so that a few bad prompts cannot hide
among many good ones."""


def check_logprobs(
    reference: Iterable[ArrayLike],
    answers: Iterable[ArrayLike],
    *,
    mean_max: float,
    max_max: float,
    prompt_factor: float = PROMPT_FACTOR,
    name: str = "log-probabilities",
) -> Check:
    """Log-probabilities (nats) of given tokens: one list a prompt, one number a token, the same tokens for both.

    ``mean_max`` and ``max_max`` bound the absolute differences, over all tokens; the mean of a single prompt may be
    ``prompt_factor`` times ``mean_max``. Raises CheckerError also where one and the same answer for every token would
    pass, since such a check sees nothing; BadAnswer for lists of the wrong length, NaN, or values above 0.
    """
    number("mean_max", mean_max, 0)
    number("max_max", max_max, 0)
    number("prompt_factor", prompt_factor, 1)
    rights: list[Array] = []
    founds: list[Array] = []
    for place, wanted, answer in pairs(reference, answers, "prompt"):
        right = reals(wanted, f"the reference of {place}", CheckerError, 1)
        require(
            bool(np.isfinite(right).all()), f"the reference of {place} holds an infinity: such a token tells nothing"
        )
        require(
            bool((right <= LOGPROB_MAX).all()), f"the reference of {place} is above 0: these are no log-probabilities"
        )
        found = reals(answer, place, BadAnswer, 1)
        expect(len(found) == len(right), f"{place} has {len(found)} log-probabilities, for {len(right)} tokens")
        expect(bool((found <= LOGPROB_MAX).all()), f"{place} holds {found.max():.4g}: no log-probability is above 0")
        rights.append(right)
        founds.append(found)
    constant = _of_a_constant(np.concatenate(rights))
    require(
        constant[0] > mean_max or constant[1] > max_max,
        f"{name}: the same answer for every token would pass (mean difference {constant[0]:.3g}, largest "
        f"{constant[1]:.3g}): lower mean_max or max_max, or take tokens that are less alike",
    )
    offs = [np.abs(found - right) for found, right in zip(founds, rights, strict=True)]
    flat = np.concatenate(offs)
    means = [float(off.mean()) for off in offs]
    bounds = (
        Bound("mean difference", float(flat.mean()), mean_max),
        Bound("largest difference", float(flat.max()), max_max),
        Bound("worst prompt's mean difference", max(means), prompt_factor * mean_max),
    )
    feedback = f"The log-probabilities of {flat.size} tokens agree: they differ by {flat.mean():.3g} nats on average."
    if not all(bound.kept for bound in bounds):
        feedback = (
            f"Log-probabilities of the same tokens differ from the reference's by {flat.mean():.3g} nats on average "
            f"(at most {mean_max:g}) and by up to {flat.max():.3g} (at most {max_max:g}). {_where(offs, max_max)}"
            f"{_sameness(founds)} Look for what changes the arithmetic there: precision, masks, positions, stale state."
        )
    figures = {"mean difference of a constant": constant[0]}
    return Check(name, bounds, flat.size, "tokens", feedback, figures)


def _of_a_constant(right: Array) -> tuple[float, float]:
    """The mean and the largest difference of the two constants that come nearest in either."""
    middle = (right.max() + right.min()) / 2
    return float(np.abs(right - np.median(right)).mean()), float(np.abs(right - middle).max())


def _where(offs: Sequence[Array], limit: float) -> str:
    """The worst place, and where in its prompt the first one beyond ``limit`` lies."""
    worst = max(range(len(offs)), key=lambda index: float(offs[index].max()))
    told = f"The worst is token {int(offs[worst].argmax()) + 1} of prompt {worst + 1}."
    firsts = [int(np.argmax(off > limit)) for off in offs if (off > limit).any()]
    if firsts and min(firsts) > 0:
        told += f" In no prompt is one of the first {min(firsts)} tokens beyond the limit."
    return told


def _sameness(founds: Sequence[Array]) -> str:
    flat = np.concatenate(founds)
    return " It answered the same number for every token." if flat.size > 1 and (flat == flat[0]).all() else ""


def check_logits(
    reference: Iterable[ArrayLike],
    answers: Iterable[ArrayLike],
    *,
    kl_mean_max: float = KL_MEAN_MAX,
    best_min: float = BEST_MIN,
    gap_max: float = GAP_MAX,
    gaps_beyond_max: float = GAPS_BEYOND_MAX,
    prompt_factor: float = PROMPT_FACTOR,
    name: str = "logits",
) -> Check:
    """Whole rows: one matrix a prompt, positions x vocabulary, of logits or log-probabilities (any constant added).

    Bounds, over all positions: the mean Kullback-Leibler divergence KL(reference || candidate) in nats; that of the
    worst prompt (``prompt_factor`` times as much); the share of positions at which the candidate's best token is one
    of the reference's best; and the share at which it is more than ``gap_max`` below the reference's best. Thresholds
    mean something from about 500 positions on. Either side is read one prompt at a time, so both may be generators.
    """
    number("kl_mean_max", kl_mean_max, 0)
    for setting, value in (("best_min", best_min), ("gaps_beyond_max", gaps_beyond_max)):
        number(setting, value, 0, 1)
    number("gap_max", gap_max, 0)
    number("prompt_factor", prompt_factor, 1)
    diverged: list[Array] = []
    gaps: list[Array] = []
    entropy, uniform = 0.0, 0.0
    for place, wanted, answer in pairs(reference, answers, "prompt"):
        right = matrix_of(wanted, f"the reference of {place}", CheckerError)
        found = matrix_of(answer, place, BadAnswer)
        expect(found.shape == right.shape, f"{place} has logits of shape {found.shape}: {right.shape} was asked for")
        parts = [_compared(right[part], found[part], place) for part in blocks(right)]
        diverged.append(np.concatenate([part[0] for part in parts]))
        gaps.append(np.concatenate([part[1] for part in parts]))
        entropy += sum(part[2] for part in parts)
        uniform += len(right) * math.log(right.shape[1])
    flat, behind = np.concatenate(diverged), np.concatenate(gaps)
    blind = (uniform - entropy) / flat.size
    require(
        blind > kl_mean_max, f"{name}: equal logits for all tokens would pass kl_mean_max={kl_mean_max:g}: lower it"
    )
    beyond = float((behind > gap_max).mean())
    agreeing = float((behind <= 0).mean())
    bounds = (
        Bound("mean KL", float(flat.mean()), kl_mean_max),
        Bound("worst prompt's mean KL", max(float(part.mean()) for part in diverged), prompt_factor * kl_mean_max),
        Bound("agreement of the best token", agreeing, best_min, least=True),
        Bound(f"share of gaps beyond {gap_max:g}", beyond, gaps_beyond_max),
    )
    feedback = f"At {flat.size} positions the logits agree: mean KL {flat.mean():.3g}, best token {agreeing:.1%}."
    if not all(bound.kept for bound in bounds):
        feedback = (
            f"The distribution over the next token is off: mean KL {flat.mean():.3g} nats (at most {kl_mean_max:g}); "
            f"the best token agrees at {agreeing:.1%} of {flat.size} positions (at least {best_min:.1%}); its largest "
            f"gap is {behind.max():.3g}. {_where(diverged, prompt_factor * kl_mean_max)} Coarse quantisation, a "
            "skipped layer, a wrong mask or stale state look like this."
        )
    figures = {"largest gap": float(behind.max()), "mean KL of equal logits": blind}
    return Check(
        name,
        bounds,
        flat.size,
        "positions",
        feedback,
        figures,
        share_power(flat.size, best_min, "differing best tokens"),
    )


def _compared(right: NDArray[np.generic], found: NDArray[np.generic], place: str) -> tuple[Array, Array, float]:
    """Of each position the divergence and the reference's gap at the candidate's best token; the sum of entropies."""
    p = log_softmax(
        reals(right, f"the reference of {place}", CheckerError, 2), f"the reference of {place}", CheckerError
    )
    q = log_softmax(reals(found, place, BadAnswer, 2), place, BadAnswer)
    weight = np.exp(p)
    with np.errstate(invalid="ignore"):
        divergence = np.where(weight > 0, weight * (p - q), 0.0).sum(axis=1)
        entropy = -float(np.where(weight > 0, weight * p, 0.0).sum())
    gap = p.max(axis=1) - np.take_along_axis(p, q.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.maximum(divergence, 0.0), gap, entropy


def check_topk(
    reference: Iterable[Sequence[Row]],
    answers: Iterable[Sequence[Row]],
    *,
    k: int,
    overlap_min: float,
    difference_max: float,
    best_min: float = BEST_MIN,
    tie_width: float = 0.0,
    name: str = "top-k",
) -> Check:
    """The ``k`` likeliest tokens at each position: one list of rows a prompt, each a mapping of tokens to
    log-probabilities (the best ``k`` or more), or an array of all logits.

    ``overlap_min``: share of the candidate's best ``k`` that belong to the reference's; a token counts where the
    reference has it at most ``tie_width`` below its own ``k``-th. ``best_min``: the same for the best one alone.
    ``difference_max``: largest difference (nats) of the log-probability of a token that both list.
    """
    whole("k", k)
    require(number("overlap_min", overlap_min, 0, 1) > 0, "overlap_min is 0: then everything passes")
    number("difference_max", difference_max, 0)
    number("best_min", best_min, 0, 1)
    number("tie_width", tie_width, 0)
    shares: list[Array] = []
    bests = 0
    far = 0.0
    for place, wanted, answer in pairs(reference, answers, "prompt"):
        held: list[float] = []
        for where, right_row, row in pairs(wanted, answer, f"{place}, position"):
            right = scores(right_row, f"the reference of {where}", CheckerError)
            found = scores(row, where, BadAnswer)
            require(right.rank(k) > -math.inf, f"the reference of {where} lists fewer than k={k} tokens")
            expect(found.rank(k) > -math.inf, f"{where} lists fewer than {k} tokens")
            least = right.rank(k) - tie_width
            top = found.top(k)
            held.append(sum(right.of(token) >= least for token in top) / k)
            bests += right.gap(top[0]) <= tie_width
            far = max([far, *(_apart(right, found, token) for token in top)])
        shares.append(np.array(held))
    flat = np.concatenate(shares)
    overlap, agreeing = float(flat.mean()), bests / flat.size
    bounds = (
        Bound(f"overlap of the best {k}", overlap, overlap_min, least=True),
        Bound("agreement of the best token", agreeing, best_min, least=True),
        Bound("largest difference", far, difference_max),
    )
    feedback = f"The best {k} tokens agree at {flat.size} positions: overlap {overlap:.1%}, best token {agreeing:.1%}."
    if not all(bound.kept for bound in bounds):
        worst = min(range(len(shares)), key=lambda index: float(shares[index].mean()))
        feedback = (
            f"Of the {k} likeliest tokens {overlap:.1%} are right (at least {overlap_min:.1%}), of the best ones "
            f"{agreeing:.1%} (at least {best_min:.1%}); log-probabilities of the same token differ by up to {far:.3g} "
            f"(at most {difference_max:g}). Prompt {worst + 1} is the worst, with {shares[worst].mean():.1%}."
        )
    return Check(
        name, bounds, flat.size, "positions", feedback, {}, share_power(flat.size, best_min, "differing best tokens")
    )


def _apart(right: Scores, found: Scores, token: Token) -> float:
    """How far apart both are about ``token``; 0 where the reference does not list it, which the overlap counts."""
    known = right.of(token)
    return abs(known - found.of(token)) if known > -math.inf else 0.0
