"""Word and character error rates of transcripts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evaluators.accuracy.alignment import Alignment, align
from evaluators.accuracy.check import Bound, Check
from evaluators.accuracy.given import BadAnswer, CheckerError, choice, number, pairs, require, text, whole

UNITS = ("words", "characters")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u02bc": "'", "\u2018": "'"})


@dataclass(frozen=True, slots=True)
class Normalisation:
    """What is made equal before transcripts are compared. Numbers are not spelled out, accents stay.

    In this order: NFKC; ``fold_case``; with ``drop_marks`` every punctuation mark and symbol (Unicode categories P and
    S) becomes a space, except an apostrophe between letters or digits, whose forms are one; white space is one space.
    """

    fold_case: bool = True
    drop_marks: bool = True

    def __call__(self, spoken: str) -> str:
        found = unicodedata.normalize("NFKC", spoken).translate(_APOSTROPHES)
        if self.fold_case:
            found = unicodedata.normalize("NFKC", found.casefold())
        if self.drop_marks:
            found = "".join(
                " " if unicodedata.category(mark)[0] in "PS" and not _inner_apostrophe(found, place) else mark
                for place, mark in enumerate(found)
            )
        return " ".join(found.split())


def _inner_apostrophe(spoken: str, place: int) -> bool:
    return spoken[place] == "'" and spoken[max(0, place - 1)].isalnum() and spoken[place + 1 : place + 2].isalnum()


def align_texts(
    reference: str, answer: str, *, unit: str = "words", normalisation: Normalisation = Normalisation()
) -> Alignment:
    """Normalise both, and align them by words or by characters (code points; a space is one). Its ``rate`` is the word
    or character error rate. Raises CheckerError if nothing is left of the reference."""
    choice("unit", unit, UNITS)
    right = normalisation(text(reference, "the reference", CheckerError))
    found = normalisation(text(answer, "the answer", BadAnswer))
    require(bool(right), "the reference is empty after normalisation")
    return align(right.split(), found.split()) if unit == "words" else align(right, found)


def check_transcripts(
    reference: Iterable[str],
    answers: Iterable[str],
    *,
    rate_max: float | None = None,
    baseline: Iterable[str] | None = None,
    margin: float = 0.01,
    clip_margin: float = 0.10,
    clip_errors: int = 1,
    unit: str = "words",
    normalisation: Normalisation = Normalisation(),
    name: str = "transcripts",
) -> Check:
    """Transcripts against what was said, one text a clip: the error rate over all clips (all errors / all words).

    It must be at most ``rate_max``; or, with the ``baseline`` transcripts of the reference implementation, at most
    ``margin`` above theirs, and no clip may be more than ``clip_margin`` above the same clip of the baseline, unless it
    has at most ``clip_errors`` errors more (a word of a short clip is a large share). Or both. An empty answer is all
    deletions.
    """
    require(rate_max is not None or baseline is not None, "give rate_max, or the baseline's transcripts, or both")
    if rate_max is not None:
        number("rate_max", rate_max, 0)
        require(rate_max < 1, f"rate_max is {rate_max:g}: with 1 and more, empty answers pass")
    number("margin", margin, 0, 1)
    number("clip_margin", clip_margin, 0, 1)
    whole("clip_errors", clip_errors, 0)
    rights = list(reference)
    found = _aligned(rights, answers, unit, normalisation, BadAnswer)
    rate = _rate(found)
    bounds = [] if rate_max is None else [Bound("error rate", rate, rate_max)]
    figures = {kind: float(sum(one.count(kind) for one in found)) for kind in ("substituted", "deleted", "inserted")}
    broken: list[int] = []
    if baseline is not None:
        before = _aligned(rights, baseline, unit, normalisation, CheckerError)
        limit = _rate(before) + margin
        require(limit < 1, f"the baseline's error rate is {_rate(before):.3g}: empty answers would pass")
        broken = [
            index
            for index, (old, new) in enumerate(zip(before, found, strict=True))
            if new.rate > old.rate + clip_margin and new.errors > old.errors + clip_errors
        ]
        bounds += [
            Bound("error rate beside the baseline's", rate, limit),
            Bound("clips that lost too much", len(broken), 0),
        ]
        figures["baseline's error rate"] = _rate(before)
    length = sum(one.length for one in found)
    feedback = f"The error rate is {rate:.2%} over {length} {unit} of {len(found)} clips."
    if not all(bound.kept for bound in bounds):
        feedback = f"The error rate is {rate:.2%} over {length} {unit} of {len(found)} clips. {_blame(found, broken)}"
    return Check(name, tuple(bounds), length, f"{unit} of {len(found)} clips", feedback, figures)


def _aligned(
    rights: Sequence[str],
    answers: Iterable[str],
    unit: str,
    normalisation: Normalisation,
    error: type[CheckerError] | type[BadAnswer],
) -> list[Alignment]:
    found = []
    try:
        for place, right, answer in pairs(rights, answers, "clip"):
            text(right, f"the reference of {place}", CheckerError)
            text(answer, place, error)
            require(bool(normalisation(right)), f"the reference of {place} is empty after normalisation")
            found.append(align_texts(right, answer, unit=unit, normalisation=normalisation))
    except BadAnswer as fault:
        raise error(str(fault) if error is BadAnswer else f"the baseline: {fault}") from None
    return found


def _rate(found: Sequence[Alignment]) -> float:
    return sum(one.errors for one in found) / sum(one.length for one in found)


def _blame(found: Sequence[Alignment], broken: Sequence[int]) -> str:
    """The worst clip, what kind of error it has, and whether its end is missing."""
    worst = max(broken or range(len(found)), key=lambda index: found[index].rate)
    one = found[worst]
    kinds = ", ".join(f"{one.count(kind)} {kind}" for kind in ("substituted", "deleted", "inserted"))
    tail = 0
    for step in reversed(one.steps):
        if step.kind != "deleted":
            break
        tail += 1
    end = f" Its last {tail} are missing: it was cut off." if tail > 1 else ""
    if tail == one.length:
        end = " Nothing was transcribed."
    lost = f" {len(broken)} clips are much worse than the baseline." if broken else ""
    return f"Clip {worst + 1} is the worst, with {one.errors} errors in {one.length} ({kinds}).{end}{lost}"
