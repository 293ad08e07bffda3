"""What an exported program is worth: measured once more, beside seed and baselines, and commit by commit."""

from __future__ import annotations

import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from called import Call, call  # noqa: F401 # a fixture
from hypothesis import given, settings
from hypothesis import strategies as st

from raysearch.cli.exporting import lineage
from raysearch.protocols import Workspace
from raysearch.repository import Repository
from raysearch.run.ablation import Ablated, Beside, Link, without
from raysearch.run.gains import Against, Gains
from raysearch.run.telling_gains import conclusion, document, page, picture, shown
from raysearch.seeds import number
from raysearch.testing.workspace import write_files
from raysearch.types import AttemptId, Brief, Commit, Comparison, Contest, Mutation

BENCHMARK = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
lines = (pathlib.Path(a.candidate) / "costs.txt").read_text().splitlines()
total = sum(float(line.split()[1]) for line in lines if not line.startswith("#"))
pathlib.Path(a.result).write_text(json.dumps({"schema": "raysearch.metrics/1", "metrics": [
    {"name": "time", "unit": "ms", "direction": "min", "samples": [total]}]}))
"""
CHECKER = """
import argparse, json, pathlib
p = argparse.ArgumentParser()
for name in ("candidate", "reference", "seed", "result"):
    p.add_argument("--" + name)
a = p.parse_args()
text = (pathlib.Path(a.candidate) / "costs.txt").read_text()
no = "" if "alpha" in text and ("delta" not in text or "needs" in text) else "no alpha, or delta without what it needs"
pathlib.Path(a.result).write_text(json.dumps({"schema": "raysearch.verdict/1", "passed": not no, "feedback": no}))
"""
GAP = "#\n#\n#\n"
SEED = f"alpha 100.3\n{GAP}beta 100\n{GAP}gamma 100\n{GAP}"
EDITS = (
    ("alpha 100.3", "alpha 40.7"),  # a gain
    ("gamma 100\n#", "gamma 100\n# a word"),  # nothing
    ("beta 100", "beta 130"),  # a loss
    ("gamma 100\n# a word\n#\n#\n", "gamma 90\n# a word\n#\n#\n# needs\n"),  # a gain, and the second edit's neighbour
    ("alpha 40.7", "delta 1\nalpha 10.1"),  # a gain, on the first edit's line; it needs the fourth
)
TARGET = """
[candidate]
editable = ["costs.txt"]
[audit]
traced = false
"""
BASELINES = """
[[baselines]]
name = "library"
path = "library"
why = "what | everybody uses"
[[baselines]]
name = "broken"
path = "broken"
"""
OBJECTIVES = """
[[objective]]
name = "time"
direction = "min"
unit = "ms"
primary = true
deterministic = true
"""


class Edits:
    """Makes the first of `EDITS` that is not made yet."""

    def mutate(self, workspace: Workspace, brief: Brief, rng: random.Random) -> Mutation:
        file = workspace.path / "costs.txt"
        text = file.read_text()
        for place, (old, new) in enumerate(EDITS, start=1):
            if self._due(text, place):
                file.write_text(text.replace(old, new, 1))
                return Mutation(f"edit {place} | `of` <some>")
        return Mutation("nothing left")

    def _due(self, text: str, number: int) -> bool:
        made = ("alpha 40.7" in text or "alpha 10.1" in text, "a word" in text, "beta 130" in text, "needs" in text)
        return number == 5 if all(made) else not made[number - 1]


def make(folder: Path, extra: str = "", checker: str = CHECKER) -> Path:
    files = {
        "OBJECTIVE.md": "Lower the sum.\n",
        "README.md": "A toy.\n",
        "reference/costs.txt": SEED,
        "accuracy_checker/checker.py": checker,
        "benchmark/benchmark.py": BENCHMARK,
        "objectives.toml": OBJECTIVES,
        "target.toml": TARGET + extra,
        "library/costs.txt": "alpha 150.9\n",
        "broken/costs.txt": "beta 1\n",
        "seed/costs.txt": SEED,
    }
    return write_files(folder, files)


def ran(call: Call, extra: str = "", edits: int = len(EDITS), checker: str = CHECKER) -> dict[str, Any]:  # noqa: F811
    make(Path("toy"), extra, checker)
    Path("run.toml").write_text("[confirm]\non = false\n[audit]\nholdout = false\n")
    return call(
        *("run", "toy", "--config", "run.toml", "--pool", "inline", "--outer-loop", "chain", "--seed", "1"),
        *("--max-candidates", str(edits), "--json", "--mutator", f"{Path(__file__).resolve()}:Edits"),
    ).object


def test_it_is_measured_beside_the_seed_and_baselines(call: Call) -> None:  # noqa: F811
    found = ran(call, BASELINES, edits=1)
    # the baselines are attempts 1 and 2
    before = {p: p.read_bytes() for p in Path(found["path"]).rglob("*") if p.is_file()}
    called = call("export", "latest", "out", "--candidate", "3", "--seed", "7", "--json")
    said = called.object
    assert {p: p.read_bytes() for p in Path(found["path"]).rglob("*") if p.is_file()} == before
    gains = json.loads(Path("out/gains.json").read_text())
    assert said["gains"] == gains
    assert (gains["measured"], gains["inputs_seed"], gains["ablation"]) == (True, 7, None)
    seed, library, broken = gains["against"]
    (comparison,) = seed["contest"]["comparisons"]
    assert comparison["effect"] == pytest.approx(300.3 / 240.7 - 1)
    assert comparison["low"] <= comparison["effect"] <= comparison["high"]
    assert comparison["verdict"] == "better"
    assert (library["name"], library["contest"]["comparisons"][0]["verdict"]) == ("library", "worse")
    assert broken["contest"] is None
    assert broken["why_not"].startswith("the accuracy checker says no to the baseline: no alpha")
    report = Path("out/README.md").read_text()
    assert "| the seed program | time (min) | 1.248 × | 1.248 × to 1.248 × |" in report
    assert "| baseline library (what \\| everybody uses) | time (min) | 0.6269 × |" in report
    assert "says no to the baseline" in report
    assert "raysearch export" in report
    assert "--candidate 3 --ablate`" in report
    assert "judging the program" in called.err
    assert len(ET.parse("out/gains.svg").findall(".//{*}circle")) == 2


def test_which_commits_carry_the_gain(call: Call) -> None:  # noqa: F811
    ran(call)
    called = call("export", "latest", "out", "--ablate")
    assert "beside the seed program: time 1.299 ×" in called.out
    gains = json.loads(Path("out/gains.json").read_text())
    by_id = {row["id"]: row for row in gains["ablation"]}
    assert {number: row["carries"] for number, row in by_id.items()} == {
        1: "carries",
        2: "none",
        3: "costs",
        4: "carries",
        5: "carries",
    }
    assert "later commits change the same lines" in by_id[1]["left_out"]["why_not"]
    assert "does not come out alone" in by_id[4]["left_out"]["why_not"]
    assert by_id[3]["left_out"]["contest"]["comparisons"][0]["verdict"] == "worse"
    assert by_id[5]["left_out"] == by_id[5]["step"]
    assert [row["parent"] for row in gains["ablation"]] == [0, 1, 2, 3, 4]
    report = Path("out/README.md").read_text()
    assert "**Carries gain: #1, #4, #5; no gain worth claiming: #2; costs: better without it: #3.**" in report
    assert "edit 2 \\| 'of' &lt;some>" in report
    table = [line for line in report.splitlines() if line.startswith("| #")]
    assert len(table) == 10
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "#3" in called.out


def test_nothing_is_measured_where_that_is_not_wished(call: Call) -> None:  # noqa: F811
    ran(call, edits=1)
    said = call("export", "latest", "out", "--no-measure", "--json")
    assert (said.object["gains"]["measured"], said.err) == (False, "")
    report = Path("out/README.md").read_text()
    assert "**Not measured here:** --no-measure was given." in report
    assert not Path("out/gains.svg").exists()
    refused = call("export", "latest", "more", "--no-measure", "--ablate")
    assert refused.status == 2
    assert "leave one out" in refused.told
    assert not Path("more").exists()


def test_what_is_right_for_known_inputs_alone_is_not_measured(call: Call) -> None:  # noqa: F811
    known = number(1, "evaluation", "accuracy")
    ran(call, edits=1, checker=CHECKER.replace('if "alpha" in text', f'if a.seed == "{known}" and "alpha" in text'))
    said = call("export", "latest", "out", "--json")
    assert said.status == 0
    assert "the accuracy checker says no to it" in said.object["gains"]["why_not"]
    assert "no alpha" in Path("out/README.md").read_text()


def test_a_target_that_was_changed_measures_nothing(call: Call) -> None:  # noqa: F811
    found = ran(call, edits=1)
    benchmark = Path(found["path"]) / "target" / "benchmark" / "benchmark.py"
    benchmark.chmod(0o644)
    benchmark.write_text(BENCHMARK.replace("[total]", "[1]"))
    said = call("export", "latest", "out", "--json")
    assert said.status == 0
    assert "is not the one that the run began with" in said.object["gains"]["why_not"]


def test_a_run_without_a_sandbox_is_measured_only_on_demand(call: Call) -> None:  # noqa: F811
    found = ran(call, edits=1)
    config = Path(found["path"]) / "run.toml"
    config.write_text(config.read_text().replace('sandbox = "auto"', 'sandbox = "none"'))
    said = call("export", "latest", "out", "--json").object["gains"]
    assert said["why_not"] == "the run had no sandbox; if you trust its programs, say --sandbox none"
    said = call("export", "latest", "trusted", "--sandbox", "none", "--json").object["gains"]
    assert (said["measured"], said["conditions"]["sandbox"]) == (True, "none")


def test_the_seed_is_not_measured_beside_itself(call: Call) -> None:  # noqa: F811
    ran(call, edits=1)
    said = call("export", "latest", "out", "--candidate", "seed", "--ablate", "--json").object
    assert [row["why_not"] for row in said["gains"]["against"]] == ["it is the seed program"]
    assert said["gains"]["ablation"] == []


def test_the_lineage_goes_by_first_parents() -> None:
    def row(number: int, *parents: int) -> dict[str, Any]:
        return {"id": number, "commit": f"{number:040}", "parents": parents, "mutator": "m", "summary": ""}

    known = {0: row(0), 1: row(1, 0), 2: row(2, 0), 3: row(3, 1, 2), 4: row(4, 3), 5: row(5)}
    origin = Commit("o" * 40)
    links = lineage(AttemptId(4), known, origin)
    assert [(link.id, link.parent, link.merged) for link in links] == [(1, 0, ()), (3, 1, (2,)), (4, 3, ())]
    assert [link.base for link in links] == [origin, known[1]["commit"], known[3]["commit"]]
    assert [(link.id, link.parent, link.base) for link in lineage(AttemptId(5), known, origin)] == [(5, None, origin)]
    assert lineage(AttemptId(0), known, origin) == ()


LINES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(LINES, LINES, LINES)
def test_a_change_that_touches_nothing_else_comes_out(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], second: list[str], third: list[str]
) -> None:
    """Edits in three far places: whichever is taken out, the others stay as they are."""
    folder = tmp_path_factory.mktemp("repository")
    repository = Repository.create(folder / "git")
    parts = ["old\n"] * 3

    def commit() -> Commit:
        write_files(folder / "program", {"x.txt": GAP.replace("#", "gap").join(parts)})
        return repository.commit(repository.write_tree(folder / "program"), (), "x", 0.0)

    states = [commit()]
    for place, lines in enumerate((first, second, third)):
        parts[place] = "".join(f"{line}\n" for line in lines)
        states.append(commit())
    for place in range(3):
        kept = parts[place]
        parts[place] = "old\n"
        assert without(repository, states[3], states[place + 1], states[place]) == repository.tree_of(commit())
        parts[place] = kept


def compared(
    effect: float | None, low: float | None, high: float | None, verdict: Any, relative: bool = True
) -> Beside:
    found = Comparison("time", "min", "ms", relative, effect, low, high, 0.95, 8, 3.0, verdict)
    return Beside(Contest(verdict, (found,), (), 8))


FINITE = st.none() | st.floats(-0.99, 1e6)


@given(
    st.lists(
        st.tuples(FINITE, FINITE, FINITE, st.sampled_from(["better", "worse", "unsettled", "no_worthwhile_gain"])),
        max_size=5,
    ),
    st.booleans(),
    st.text(max_size=30),
)
def test_whatever_was_measured_is_told_whole(rows: list[Any], relative: bool, text: str) -> None:
    parts = tuple(
        Ablated(
            Link(AttemptId(number), Commit("c" * 40), None, Commit("o" * 40), "m", text),
            compared(*row, relative=relative),
            Beside(why=text or "because"),
        )
        for number, row in enumerate(rows, start=1)
    )
    against = tuple(Against("x-1.y", text, part.step) for part in parts)
    gains = Gains(against=against, ablated=parts)
    report = page(gains, "raysearch export x", len(parts), "gains.svg")
    assert all(
        line.startswith("| ") and line.endswith(" |")
        for line in report.splitlines()
        if line.startswith("|") and "---" not in line
    )
    json.dumps(document(gains), allow_nan=False)
    assert conclusion(parts)
    drawn = picture(gains, "time")
    assert bool(drawn) is any(row[0] is not None for row in rows)
    if drawn:
        assert "nan" not in drawn
        ET.fromstring(drawn)


@pytest.mark.parametrize(
    ("verdict", "high", "carries"),
    [
        ("better", 0.2, "carries"),
        ("unsettled", 0.2, "unsettled"),
        ("unsettled", None, "unsettled"),
        ("no_worthwhile_gain", 0.01, "none"),
        ("no_worthwhile_gain", -0.01, "costs"),
        ("worse", -0.01, "costs"),
    ],
)
def test_what_a_commit_is_worth(verdict: Any, high: float | None, carries: str) -> None:
    found = compared(-0.02, -0.1, high, verdict)
    assert found.carries == carries
    link = Link(AttemptId(1), Commit("c" * 40), None, Commit("o" * 40))
    assert Ablated(link, Beside(why="it was not"), found).carries == carries
    assert Ablated(link, found, Beside(why="does not come out alone")).carries == carries
    assert Ablated(link, Beside(why="it was not"), Beside(why="nor this")).carries == "unknown"


def test_gains_are_said_as_people_say_them() -> None:
    times = Comparison("time", "min", "ms", True, 0.5, None, None, 0.95, 8, 3.0, "better")
    apart = Comparison("near", "max", "1", False, 0.5, None, None, 0.95, 8, 3.0, "better")
    assert shown(times, 0.5, "?") == "1.5 ×"
    assert shown(times, 0.0, "?") == "1 ×"
    assert shown(times, 0.00012, "?") == "+0.012 %"
    assert shown(times, -0.00012, "?") == "-0.012 %"
    assert shown(times, None, "-∞") == "0 ×"
    assert shown(times, None, "∞") == "∞"
    assert shown(apart, 0.5, "?") == "+0.5"
    assert shown(apart, -0.5, "?") == "-0.5"
    assert shown(apart, None, "-∞") == "-∞"
