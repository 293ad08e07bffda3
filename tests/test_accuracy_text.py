"""Structured outputs and transcripts."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluators.accuracy import (
    BadAnswer,
    CheckerError,
    Normalisation,
    align,
    align_texts,
    check_json,
    check_transcripts,
)

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ADA, BOB = '{"name": "Ada", "age": 36}', ' {"name": "Bob", "age": 4}\n'
words = st.text("abcd", max_size=14)


def test_valid_answers_pass() -> None:
    found = check_json([PERSON] * 2, [ADA, BOB], must_hold=["Ada", "Bob"])
    assert found.passed
    assert found.statistics == {
        "share of valid answers": 1,
        "share that holds the prompt's word": 1,
        "different answers": 2,
    }


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("", "is empty."),
        (" \n", "is empty."),
        ('{"name": "Ada", "age": 3', "looks cut off"),
        ('{"name": "Ad', "looks cut off"),
        ('{"name": "Ada", "age": -1}', "breaks `minimum` at $.age."),
        ('{"name": "Ada"}', "breaks `required` at the value."),
        ('{"name": "Ada", "age": 1, "x": 2}', "breaks `additionalProperties`"),
        ('{"name": "Ada", "age": "1"}', "breaks `type` at $.age."),
        ('{"name": "Ada", "age": NaN}', "NaN is no JSON number"),
        ('{"name": "Ada", "age": 1e999}', "1e999 is beyond double precision"),
        ('{"name": "Ada", "age": 1, "age": 2}', "holds a key twice"),
        (ADA + " Hope this helps!", "Extra data"),
        ("```json\n" + ADA + "\n```", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("9" * 5000, "is not JSON"),
    ],
)
def test_answers_that_are_not_valid(answer: str, told: str) -> None:
    found = check_json([PERSON] * 3, [ADA, BOB, answer])
    assert not found.passed
    assert "1 of 3 answers are not valid. prompt 3: " in found.feedback
    assert told in found.feedback
    assert check_json([PERSON] * 3, [ADA, BOB, answer], valid_min=0.6).passed


def test_more_depth_than_python_can_go() -> None:
    nested = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"}}}}
    found = check_json([nested] * 2, ["[]", "[" * 900 + "]" * 900])
    assert not found.passed
    assert "prompt 2: is nested too deep." in found.feedback


def test_templates_are_caught() -> None:
    """The same valid answer to everything, and one that varies but ignores the prompt."""
    same = check_json([PERSON] * 3, [ADA] * 3)
    assert not same.passed
    assert "All 3 answers are the same text." in same.feedback
    assert check_json([PERSON] * 3, [ADA] * 3, all_equal=True).passed
    ages = [f'{{"name": "x", "age": {age}}}' for age in range(3)]
    ignores = check_json([PERSON] * 3, ages, must_hold=["Ada", "Bob", "Cy"])
    assert not ignores.passed
    assert "Only 0 of 3 answers hold the word of their prompt" in ignores.feedback
    key_only = check_json([True], ['{"Ada": "x"}'], must_hold=["Ada"])
    assert not key_only.passed
    assert check_json([True], ['[{"a": ["so Ada said"]}]'], must_hold=["Ada"]).passed


def test_what_a_share_sees() -> None:
    found = check_json([PERSON] * 100, [ADA, BOB] * 50)
    assert found.power
    assert found.power.unit == "a share of invalid answers"
    assert found.power.effect == pytest.approx(0.0908, abs=2e-4)  # at most 5 bad ones of 100, with probability 0.1


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "objekt"}, "is no JSON Schema"),
        ("object", "is str: an object"),
        ({"$ref": "https://example.org/schema.json"}, "refers to 'https://example.org/schema.json'"),
    ],
)
def test_schemas_that_are_none(schema: Any, told: str) -> None:
    with pytest.raises(CheckerError, match=told):
        check_json([schema], [ADA])


def test_no_reference_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[object] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *words, **settings_: fetched.append(words))
    with pytest.raises(CheckerError, match="which it does not hold"):
        check_json([{"$ref": "https://example.org/schema.json"}], [ADA])
    assert fetched == []


def test_what_check_json_cannot_work_with() -> None:
    for settings_, told in (
        ({"valid_min": 0}, "everything passes"),
        ({"valid_min": 1.2}, "valid_min"),
        ({"must_hold": []}, "fewer words"),
        ({"must_hold": ["a", "b"]}, "more words"),
        ({"must_hold": [""]}, "empty word"),
    ):
        with pytest.raises(CheckerError, match=told):
            check_json([PERSON], [ADA], **settings_)  # type: ignore[arg-type]
    with pytest.raises(CheckerError, match="nothing to check"):
        check_json([], [])
    with pytest.raises(BadAnswer, match="prompt 2 was not answered"):
        check_json([PERSON] * 2, [ADA])
    with pytest.raises(BadAnswer, match="prompt 1 is dict, not text"):
        check_json([PERSON], [{"name": "Ada"}])  # type: ignore[list-item]


def test_drafts_and_formats() -> None:
    old = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True}
    assert not check_json([old], ["3"]).passed
    assert check_json([old], ["4"]).passed
    day = {"type": "string", "format": "date"}
    assert check_json([day], ['"yesterday"']).passed
    assert not check_json([day], ['"yesterday"'], formats=True).passed


def test_without_jsonschema_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['jsonschema'] = None\n"
        "from evaluators.accuracy import check_json\n"
        "try:\n    check_json([True], ['1'])\nexcept ValueError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (
        "check_json needs jsonschema, which is not installed: pip install 'raysearch[accuracy]'"
    )


@settings(deadline=None, max_examples=60)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda x: st.lists(x, max_size=3)))
def test_whatever_json_writes_is_valid(value: object) -> None:
    assert check_json([True], [json.dumps(value)]).passed


def slow_distance(a: str, b: str) -> int:
    """Levenshtein's, by the definition."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


@settings(deadline=None, max_examples=150)
@given(words.filter(bool), words)
def test_alignments_are_cheapest_and_whole(reference: str, answer: str) -> None:
    found = align(reference, answer)
    assert found.errors == slow_distance(reference, answer)
    assert [step.reference for step in found.steps if step.reference is not None] == list(range(len(reference)))
    assert [step.answer for step in found.steps if step.answer is not None] == list(range(len(answer)))
    for step in found.steps:
        if step.reference is not None and step.answer is not None:
            same = reference[step.reference] == answer[step.answer]
            assert step.kind == ("equal" if same else "substituted")
        else:
            assert step.kind == ("inserted" if step.reference is None else "deleted")
    assert found.rate == found.errors / len(reference)


@settings(deadline=None, max_examples=60)
@given(words.filter(bool), words.filter(bool), words.filter(bool))
def test_distances_are_a_metric(a: str, b: str, c: str) -> None:
    ab, ba = align(a, b), align(b, a)
    assert ab.errors == ba.errors
    assert ab.count("deleted") - ab.count("inserted") == ba.count("inserted") - ba.count("deleted")
    assert align(a, a).errors == 0
    assert (ab.errors == 0) == (a == b)
    assert align(a, c).errors <= ab.errors + align(b, c).errors


@pytest.mark.parametrize(
    ("reference", "answer", "kinds", "characters"),
    [
        ("the quick brown fox jumps", "the quick brown dog jumped over", (2, 0, 1), 9),
        ("a b c d e f", "a x c d f", (1, 1, 0), 3),
        ("hello world", "hello duck", (1, 0, 0), 5),
        ("one two three", "", (0, 3, 0), 13),
        ("kitten", "sitting", (1, 0, 0), 3),
        ("intention", "execution", (1, 0, 0), 5),
    ],
)
def test_known_pairs(reference: str, answer: str, kinds: tuple[int, int, int], characters: int) -> None:
    """The last two are the textbooks' (Jurafsky & Martin); the others' counts are those of jiwer 4.0."""
    found = align_texts(reference, answer)
    assert tuple(found.count(kind) for kind in ("substituted", "deleted", "inserted")) == kinds
    assert align_texts(reference, answer, unit="characters").errors == characters


def test_endless_answers_are_cut() -> None:
    found = align(["a"] * 10, ["a"] * 10 + ["b"] * 100_000)
    assert (found.count("equal"), found.count("inserted")) == (10, 100_000)
    with pytest.raises(CheckerError, match="cut it into utterances"):
        align("a" * 10_000, "a" * 10_000)
    with pytest.raises(CheckerError, match="the reference is empty"):
        align("", "a")


@pytest.mark.parametrize(
    ("spoken", "normal"),
    [
        ("Hello,  WORLD!", "hello world"),
        ("It\u2019s rock'n'roll, 'tis", "it's rock'n'roll tis"),
        ("well-known e.g. $5", "well known e g 5"),
        ("Stra\u00dfe", "strasse"),
        ("ﬁne ①", "fine 1"),
        ("e\u0301t\u00e9", "\u00e9t\u00e9"),
        ("a\u00a0b\tc\n", "a b c"),
        ("«¿Qué?»", "qué"),
    ],
)
def test_normalisation(spoken: str, normal: str) -> None:
    assert Normalisation()(spoken) == normal


def test_normalisation_may_keep_more() -> None:
    assert Normalisation(fold_case=False, drop_marks=False)(" A,  b ") == "A, b"
    assert align_texts("Hello, you", "hello you").errors == 0
    assert align_texts("Hello, you", "hello you", normalisation=Normalisation(fold_case=False)).errors == 1


@settings(deadline=None, max_examples=80)
@given(st.text(max_size=40))
def test_normalisation_twice_is_once(spoken: str) -> None:
    once = Normalisation()(spoken)
    assert Normalisation()(once) == once


SPOKEN = ["the cat sat on the mat", "a dog barked all night long", "seven birds flew over the old house today"]


def test_transcripts_that_are_right() -> None:
    found = check_transcripts(SPOKEN, [text.upper() + "." for text in SPOKEN], rate_max=0.0)
    assert found.passed
    assert found.items == 20
    assert found.statistics["error rate"] == 0


def test_transcripts_beside_a_baseline() -> None:
    baseline = ["the cat sat on a mat", SPOKEN[1], SPOKEN[2]]
    assert check_transcripts(SPOKEN, baseline, baseline=baseline).passed
    one_more = [*baseline[:2], SPOKEN[2].replace("old", "cold")]
    found = check_transcripts(SPOKEN, one_more, baseline=baseline)
    assert found.statistics["baseline's error rate"] == 0.05
    assert not found.passed
    assert check_transcripts(SPOKEN, one_more, baseline=baseline, margin=0.05).passed
    moved = [SPOKEN[0], SPOKEN[1], "seven birds"]  # the same errors in all would be fine; in one clip they are not
    lost = check_transcripts(SPOKEN, moved, baseline=baseline, margin=0.5)
    assert not lost.passed
    assert "Clip 3 is the worst, with 6 errors in 8" in lost.feedback
    assert "Its last 6 are missing: it was cut off." in lost.feedback
    silent = check_transcripts(SPOKEN, ["", "", ""], rate_max=0.5)
    assert "Nothing was transcribed." in silent.feedback


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 8), st.integers(0, 8), st.floats(0, 0.99))
def test_more_errors_are_never_better(few: int, more: int, limit: float) -> None:
    few, more = sorted((few, more))

    def spoilt(count: int) -> list[str]:
        heard = SPOKEN[2].split()
        return [*SPOKEN[:2], " ".join(["x"] * count + heard[count:])]

    one, two = (check_transcripts(SPOKEN, spoilt(count), rate_max=limit) for count in (few, more))
    assert one.statistics["error rate"] <= two.statistics["error rate"]
    assert one.passed or not two.passed


def test_what_check_transcripts_cannot_work_with() -> None:
    for reference, answers, given_, kind, told in (
        (SPOKEN, SPOKEN, {}, CheckerError, "rate_max, or the baseline"),
        (SPOKEN, SPOKEN, {"rate_max": 1.0}, CheckerError, "empty answers pass"),
        (SPOKEN, SPOKEN, {"rate_max": 0.1, "unit": "word"}, CheckerError, "Did you mean 'words'"),
        (["?!"], ["a"], {"rate_max": 0.1}, CheckerError, "the reference of clip 1 is empty after normalisation"),
        ([], [], {"rate_max": 0.1}, CheckerError, "nothing to check"),
        ([None], ["a"], {"rate_max": 0.1}, CheckerError, "the reference of clip 1 is NoneType"),
        (SPOKEN, SPOKEN[:2], {"rate_max": 0.1}, BadAnswer, "clip 3 was not answered"),
        (SPOKEN, [*SPOKEN, "a"], {"rate_max": 0.1}, BadAnswer, "more answers"),
        (SPOKEN, [1, 2, 3], {"rate_max": 0.1}, BadAnswer, "clip 1 is int, not text"),
        (SPOKEN, SPOKEN, {"baseline": SPOKEN[:1]}, CheckerError, "the baseline: clip 2 was not answered"),
        (SPOKEN, SPOKEN, {"baseline": ["", "", ""]}, CheckerError, "empty answers would pass"),
    ):
        with pytest.raises(kind, match=told):
            check_transcripts(reference, answers, **given_)  # type: ignore[arg-type]
