"""The real programs of coding agents at the issue board, in the real sandbox, asking a scripted model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from test_agent_clis import KINDS, WORK, World, a_world
from test_board_mcp import JUDGE, merged
from test_board_mcp import snapshot as snapshot  # noqa: PLC0414 - a fixture
from test_sandbox import needs_bubblewrap

from raysearch.agents.issues import board_served, board_server
from raysearch.board import permissions_of
from raysearch.testing.models import Request, ToolCall, Turn

pytestmark = [pytest.mark.slow, pytest.mark.programs, pytest.mark.timeout(300), needs_bubblewrap]


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield from a_world(request.param, tmp_path, monkeypatch)


def filing(request: Request) -> Turn:
    """Files an issue, comments on it, and tries to close one that it must not close."""
    steps = (
        ("create_issue", {"kind": "bug", "title": "x is 5"}),
        ("comment_issue", {"issue": "new-1", "text": "it should be 7"}),
        ("comment_issue", {"issue": "99", "text": "?"}),
    )
    if request.step >= len(steps):
        return Turn("Done.")
    name, arguments = steps[request.step]
    tool = next((tool for tool in request.tools if tool.name.endswith(name)), None)
    return Turn("Done.") if tool is None else Turn(calls=(ToolCall(tool.name, arguments, namespace=tool.namespace),))


@pytest.mark.parametrize("way", ["stdio", "http"])
def test_an_agent_files(way: str, world: World, snapshot: Path, tmp_path: Path) -> None:
    judge = permissions_of("judge")
    if way == "stdio":
        outbox = world.place.checkout.scratch / "outbox.jsonl"
        world.ask(filing, replace(WORK, servers=(board_server(snapshot, outbox, JUDGE, judge),)))
    else:
        outbox = tmp_path / "outbox.jsonl"
        with board_served(snapshot, outbox, JUDGE, judge) as server:
            world.ask(filing, replace(WORK, servers=(server,)))
    board = merged(outbox, {JUDGE: judge})
    assert (board.issues[3].title, board.issues[3].author) == ("x is 5", JUDGE)
    assert [comment.text for comment in board.issues[3].comments] == ["it should be 7"]
    assert not board.refusals
    assert "no issue 99" in world.requests[-1].results[-1].text
