"""How many issues an evaluation may bring, wherever that is said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from called import Call, call  # noqa: F401 # a fixture
from test_plain_whole_run import PARTS
from toys import make_target

from raysearch.facts import Consulted, Filed
from raysearch.ledger import JOURNAL, read_journal

FLAGS = (
    *("run", "target", "--outer-loop", "plain", "--pool", "inline", "--sandbox", "none", "--seed", "3"),
    *("--mutator", f"{PARTS}:Parts", "--max-rounds", "1"),
    *("--set", f"consultant.performance_evaluator.use={PARTS}:Evaluator"),
    *("--set", "confirm.on=false", "--set", "audit.holdout=false", "--set", "audit.traced=false"),
)


@pytest.mark.parametrize(
    ("words", "file", "text", "kept"),
    [
        (("--max-issues-per-perf-eval", "4"), "", "", 4),
        (("--set", "policy.max_issues_per_perf_eval=5"), "", "", 5),
        (("--config", "agent.toml"), "agent.toml", "[policy]\nmax_issues_per_perf_eval = 1\n", 1),
        ((), "", "", 3),
    ],
)
def test_an_evaluation_brings_as_many_issues_as_it_may(
    call: Call,  # noqa: F811
    words: Sequence[str],
    file: str,
    text: str,
    kept: int,
) -> None:
    """Of the five that it files, none is refused: those beyond its share are closed by the loop."""
    make_target(Path("target"))
    if file:
        Path(file).write_text(text)
    called = call(*FLAGS, *words)
    assert called.status == 0, called.err
    (journal,) = Path().rglob(JOURNAL)
    facts = [entry.fact for entry in read_journal(journal)]
    (asked,) = [fact for fact in facts if isinstance(fact, Consulted)]
    assert [filing.refused for filing in asked.filings] == [""] * 5
    closed = [f for f in facts if isinstance(f, Filed) and f.filing.text.startswith("not wanted")]
    assert len(closed) == 5 - kept
