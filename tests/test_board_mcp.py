"""The issue board as agents reach it: over stdio and over HTTP, with the protocol's own client, and in a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import mcp.client.stdio
import pytest
from hosted import a_place
from mcp import Client, StdioServerParameters
from test_sandbox import needs_bubblewrap

from raysearch.agents.cli.programs import paths_in
from raysearch.agents.cli.ways import free_ports, relayed_server
from raysearch.agents.interface import McpServer
from raysearch.agents.issues import board_served, board_server
from raysearch.board import READ_ONLY, Action, Author, Board, Filing, Kind, Permissions, permissions_of
from raysearch.board import mcp as server_module
from raysearch.board.desk import TOOLS, Desk, Mistaken, checked
from raysearch.board.outbox import (
    FILINGS_MAX,
    OUTBOX_BYTES_MAX,
    Unfiled,
    make_outbox,
    opened,
    read_outbox,
    read_snapshot,
    write_snapshot,
)

JUDGE, CODER, PERSON = Author("judge", "attempt 3"), Author("implementer", "attempt 4"), Author("person")
ALL = Permissions()


def a_board() -> Board:
    board = Board()
    for seq, (kind, title) in enumerate([(Kind.FEATURE, "serve it"), (Kind.BUG, "it leaks")], start=1):
        board.apply(Filing(Action.CREATE, PERSON, kind=kind, title=title, text=f"All about {title}"), seq)
    return board


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    path = tmp_path / "board.json"
    write_snapshot(path, a_board().snapshot())
    return path


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox.jsonl"


@pytest.fixture
def desk(snapshot: Path, outbox: Path) -> Desk:
    return Desk(snapshot, outbox, JUDGE, ALL)


def merged(outbox: Path, allowed: dict[Author, Permissions], batch: str = "a") -> Board:
    board = a_board()
    for filing in read_outbox(outbox, batch=batch, allowed=allowed):
        board.apply(filing, 3)
    return board


# The desk: what each tool does.


def test_an_agent_sees_its_own_filings_at_once(desk: Desk, outbox: Path) -> None:
    made = desk.call("create_issue", {"kind": "perf", "title": "slow", "body": "very", "priority": 3})
    assert (made["issue"], made["filed"], made["status"]) == ("new-1", "create", "open")
    desk.call("comment_issue", {"issue": "new-1", "text": "40 ms", "evidence": "trace"})
    desk.call("claim_issue", {"issue": 2})
    desk.call("close_issue", {"issue": "#2", "text": "mended", "evidence": "test passes"})
    listed = desk.call("list_issues", {})
    assert [(row["issue"], row["status"]) for row in listed["issues"]] == [
        ("2", "done"),
        ("1", "open"),
        ("new-1", "open"),
    ]
    shown = desk.call("get_issue", {"issue": "new-1"})
    assert (shown["body"], shown["comments"][0]["evidence"], shown["author"]) == ("very", "trace", str(JUDGE))
    assert desk.call("search_issues", {"words": "TRACE, ms"})["issues"] == [
        desk.call("list_issues", {"kind": "perf"})["issues"][0]
    ]
    assert desk.call("list_issues", {"status": "done"})["found"] == 1
    board = merged(outbox, {JUDGE: ALL})
    assert [comment.text for comment in board.issues[3].comments] == ["40 ms"]
    assert board.issues[2].status == "done"


def test_what_has_no_number_yet_gets_another_one_elsewhere(desk: Desk, outbox: Path) -> None:
    """The preview's third issue is the fourth, where another was filed meanwhile."""
    desk.call("create_issue", {"kind": "bug", "title": "mine"})
    desk.call("comment_issue", {"issue": 3, "text": "by the number that it might have had"})
    board = a_board()
    board.apply(Filing(Action.CREATE, PERSON, title="another", name="new-1", batch="b"), 3)
    for filing in read_outbox(outbox, batch="a", allowed={JUDGE: ALL}):
        board.apply(filing, 4)
    assert (board.issues[4].title, len(board.issues[4].comments), board.issues[3].comments) == ("mine", 1, ())
    assert not board.refusals


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("lst_issues", {}, "Did you mean 'list_issues'?"),
        ("get_issue", {}, "get_issue needs issue"),
        ("get_issue", {"issue": 9}, "there is no issue 9: there are 2, from 1 to 2"),
        ("get_issue", {"issue": "new-7"}, "there is no issue new-7"),
        ("get_issue", {"issue": "the leak"}, "is no issue: give a number"),
        ("get_issue", {"issue": True}, "issue must be a text"),
        ("get_issue", {"isue": "1"}, "Did you mean 'issue'?"),
        ("list_issues", {"kind": "bugs"}, "'bugs' is none of bug, feature, perf"),
        ("search_issues", {"words": " , "}, "at least one word"),
        ("create_issue", {"kind": "bug"}, "create_issue needs title"),
        ("create_issue", {"kind": "bug", "title": " "}, "needs a title"),
        ("create_issue", {"kind": "bug", "title": "t" * 300}, "300 characters; at most 200"),
        ("create_issue", {"kind": "bug", "title": "t", "priority": True}, "priority must be a whole number"),
        ("create_issue", {"kind": "bug", "title": "\ud800"}, "lone surrogate"),
        ("prioritise_issue", {"issue": "1", "priority": 5000}, "not within"),
        ("release_issue", {"issue": "1"}, "issue 1 is open; release needs one that is in_progress"),
    ],
)
def test_mistakes_are_answered_and_file_nothing(desk: Desk, outbox: Path, tool: str, arguments: Any, told: str) -> None:
    with pytest.raises((Mistaken, Unfiled)) as caught:
        desk.call(tool, arguments)
    assert told in str(caught.value)
    assert outbox.read_bytes() == b"" if outbox.exists() else True


def test_who_may_not_is_told_so(desk: Desk) -> None:
    judge = replace(desk, permissions=permissions_of("judge"))
    judge.call("create_issue", {"kind": "bug", "title": "one"})
    for tool, arguments, told in (
        ("create_issue", {"kind": "bug", "title": "two"}, "may create 1 issues, and has created 1"),
        ("create_issue", {"kind": "perf", "title": "two"}, "kind perf"),
        ("close_issue", {"issue": "1"}, "may not close"),
    ):
        with pytest.raises(Mistaken, match=told):
            judge.call(tool, arguments)
    names = [tool.name for tool in judge.tools]
    assert names == ["list_issues", "get_issue", "search_issues", "create_issue", "comment_issue"]
    reader = replace(desk, permissions=READ_ONLY)
    assert [tool.name for tool in reader.tools] == names[:3]
    with pytest.raises(Mistaken, match="not change it"):
        reader.call("comment_issue", {"issue": "1", "text": "x"})
    others = replace(desk, author=Author("judge", "attempt 9"), permissions=permissions_of("judge"))
    assert others.call("create_issue", {"kind": "bug", "title": "theirs"})["issue"] == "new-2"


def test_a_role_reads_what_was_refused_of_it(desk: Desk, snapshot: Path) -> None:
    board = a_board()
    board.apply(Filing(Action.CLOSE, JUDGE, 7, text="gone"), 3)
    write_snapshot(snapshot, board.snapshot())
    assert desk.call("list_issues", {})["refused"] == [{"title": "gone", "why": board.refusals[0].reason}]
    assert "refused" not in replace(desk, author=CODER).call("list_issues", {})


def test_every_tool_says_what_it_takes() -> None:
    for tool in TOOLS:
        schema = tool.schema
        assert set(schema["required"]) <= set(schema["properties"])
        assert all(each["description"] for each in schema["properties"].values())
    assert checked(TOOLS[0], {"kind": None}) == {}


# The outbox: what comes back to the driver.


def test_lines_that_are_no_filings_become_refusals(outbox: Path, desk: Desk) -> None:
    desk.call("comment_issue", {"issue": 1, "text": "first"})
    with outbox.open("ab") as file:
        file.write(b'{"action":"fly"}\n\n\xff\xfe\n{"action":"comment","author"')
    desk.call("comment_issue", {"issue": 1, "text": "after a torn line"})
    received = read_outbox(outbox, batch="a", allowed={JUDGE: ALL})
    assert [bool(filing.refused) for filing in received] == [False, True, True, True, False]
    assert received[1].text == '{"action":"fly"}'
    board = merged(outbox, {JUDGE: ALL})
    assert [comment.text for comment in board.issues[1].comments] == ["first", "after a torn line"]
    assert [refusal.filing.author for refusal in board.refusals] == [JUDGE] * 3
    assert {filing.batch for filing in received} == {"a"}


def test_an_outbox_has_an_end(outbox: Path, desk: Desk) -> None:
    line = b'{"action":"comment","author":{"role":"judge"},"issue":1,"text":"x"}\n'
    outbox.write_bytes(line * (FILINGS_MAX - 1))
    desk.call("comment_issue", {"issue": 1, "text": "the last"})
    with pytest.raises(Unfiled, match="full"):
        desk.call("comment_issue", {"issue": 1, "text": "one too many"})
    outbox.write_bytes(line * (FILINGS_MAX + 5))
    received = read_outbox(outbox, batch="a", allowed={JUDGE: ALL})
    assert (len(received), "left out" in received[-1].refused) == (FILINGS_MAX + 1, True)
    outbox.write_bytes(b"x" * (2 * OUTBOX_BYTES_MAX))
    assert [bool(filing.refused) for filing in read_outbox(outbox, batch="a", allowed={JUDGE: ALL})] == [True, True]


def test_an_outbox_that_is_something_else_is_not_followed(tmp_path: Path, outbox: Path, desk: Desk) -> None:
    assert read_outbox(outbox, batch="a", allowed={JUDGE: ALL}) == ()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    outbox.symlink_to(secret)
    received = read_outbox(outbox, batch="a", allowed={JUDGE: ALL})
    assert "cannot be read" in received[0].refused
    assert "secret" not in str(received)
    with pytest.raises(Unfiled, match="cannot be opened"):
        desk.call("list_issues", {})
    outbox.unlink()
    os.mkfifo(outbox)
    assert "no regular file" in read_outbox(outbox, batch="a", allowed={JUDGE: ALL})[0].refused
    with pytest.raises(Unfiled, match="no regular file"):
        desk.call("list_issues", {})


def test_a_disk_that_is_full_files_nothing(outbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filing = Filing(Action.COMMENT, JUDGE, 1, text="x")
    with opened(outbox) as box:
        box.append(filing)
        before = outbox.read_bytes()
        write = os.write
        monkeypatch.setattr(os, "write", lambda descriptor, line: write(descriptor, line[:7]))
        with pytest.raises(Unfiled, match="disk took 7"):
            box.append(filing)
    monkeypatch.undo()
    assert outbox.read_bytes() == before


def test_a_snapshot_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unfiled, match="cannot be read"):
        read_snapshot(tmp_path / "absent")
    (tmp_path / "odd").write_text("[]")
    with pytest.raises(Unfiled, match="no snapshot"):
        read_snapshot(tmp_path / "odd")


# The server: the protocol's own client, over stdio and HTTP.


async def _talk(transport: Any, work: Callable[[Client], Awaitable[None]], mode: str = "auto") -> None:
    async with Client(transport, mode=mode) as client:
        await work(client)


def stdio(server: McpServer) -> Any:
    return mcp.client.stdio.stdio_client(StdioServerParameters(command=server.command[0], args=[*server.command[1:]]))


async def _usual(client: Client) -> None:
    tools = {tool.name for tool in (await client.list_tools()).tools}
    assert tools >= {"list_issues", "get_issue", "search_issues", "create_issue", "comment_issue"}
    made = await client.call_tool("create_issue", {"kind": "bug", "title": "it crashes"})
    assert not made.is_error
    assert made.structured_content["issue"] == "new-1"
    await client.call_tool("comment_issue", {"issue": "new-1", "text": "always"})
    mistake = await client.call_tool("comment_issue", {"issue": "77", "text": "?"})
    assert mistake.is_error
    assert "no issue 77" in mistake.content[0].text
    more = await client.call_tool("create_issue", {"kind": "bug", "title": "another"})
    assert more.is_error
    assert "has created 1" in more.content[0].text
    shown = await client.call_tool("get_issue", {"issue": "new-1"})
    assert json.loads(shown.content[0].text) == shown.structured_content


def test_over_stdio(snapshot: Path, outbox: Path) -> None:
    judge = permissions_of("judge")
    anyio.run(_talk, stdio(board_server(snapshot, outbox, JUDGE, judge)), _usual, "legacy")
    board = merged(outbox, {JUDGE: judge})
    assert (board.issues[3].title, len(board.issues[3].comments), board.issues[3].author) == ("it crashes", 1, JUDGE)
    assert not board.refusals


def test_over_http(snapshot: Path, outbox: Path) -> None:
    """Clients of today, and those of before 2026, which shake hands first."""
    judge = permissions_of("judge")
    for mode in ("auto", "legacy"):
        outbox.unlink(missing_ok=True)
        with board_served(snapshot, outbox, JUDGE, judge) as server:
            anyio.run(_talk, server.url, _usual, mode)
            bare = server.url.replace(server.url.split("/")[3] + "/", "")
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(bare)
        assert merged(outbox, {JUDGE: judge}).issues[3].title == "it crashes"
    assert not [thread for thread in threading.enumerate() if thread.name == "raysearch-issues"]


def test_as_a_command_over_http(snapshot: Path, outbox: Path) -> None:
    words = [sys.executable, "-m", "raysearch.board.mcp", str(snapshot), f"--outbox={outbox}", "--role=judge"]
    with subprocess.Popen([*words, "--http=127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        anyio.run(_talk, process.stdout.readline().strip(), _usual)
        process.terminate()
    assert len(merged(outbox, {Author("judge"): permissions_of("judge")}).issues) == 3


@pytest.mark.parametrize("way", ["stdio", "http"])
def test_two_at_once_lose_nothing(way: str, snapshot: Path, outbox: Path) -> None:
    """Two clients, each with a server of its own, share an outbox."""
    each = 8
    authors = {JUDGE: ALL, CODER: ALL}

    async def file(name: str, client: Client) -> None:
        for number in range(each):
            made = await client.call_tool("create_issue", {"kind": "perf", "title": f"{name} {number}"})
            issue = made.structured_content["issue"]
            said = await client.call_tool("comment_issue", {"issue": issue, "text": f"{name} on {number}"})
            assert not said.is_error

    async def both(transports: Sequence[Any]) -> None:
        async with anyio.create_task_group() as group:
            for author, transport in zip(authors, transports, strict=True):
                group.start_soon(_talk, transport, lambda client, name=author.role: file(name, client))

    if way == "stdio":
        make_outbox(outbox)
        words = [
            (
                sys.executable,
                "-I",
                "-m",
                "raysearch.board.mcp",
                str(snapshot),
                f"--outbox={outbox}",
                f"--role={a.role}",
                f"--name={a.name}",
                "--actions=create,comment",
                "--kinds=perf",
                "--creates-max=50",
            )
            for a in authors
        ]
        anyio.run(both, [stdio(McpServer("issues", command)) for command in words])
    else:
        with board_served(snapshot, outbox, JUDGE, ALL) as one, board_served(snapshot, outbox, CODER, ALL) as other:
            anyio.run(both, [one.url, other.url])
    board = merged(outbox, authors)
    assert not board.refusals
    found = {(issue.title, str(issue.author), tuple(c.text for c in issue.comments)) for issue in board.issues.values()}
    for author in authors:
        for number in range(each):
            assert (f"{author.role} {number}", str(author), (f"{author.role} on {number}",)) in found
    assert len(board.issues) == 2 + 2 * each


def test_the_command_line_says_what_is_wrong(snapshot: Path, tmp_path: Path) -> None:
    for words, told in (
        ([str(tmp_path / "absent"), "--outbox=o", "--role=judge"], "the board cannot be read"),
        ([str(snapshot), "--outbox=o", "--role=judge", "--kinds=bugs"], "Did you mean 'bug'?"),
        ([str(snapshot), "--outbox=o", "--role=judge", "--actions=coment"], "Did you mean 'comment'?"),
        ([str(snapshot), "--outbox=o", "--role=judge", "--http=here"], "needs HOST:PORT"),
        ([str(snapshot), "--outbox=o", "--role="], "a role and a name"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "raysearch.board.mcp", *words],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            cwd=tmp_path,
        )
        assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (2, True, False), done.stderr


def test_what_the_server_loads_is_light() -> None:
    script = (
        "import sys, raysearch.board.mcp as m, raysearch.board.desk; print([n for n in sys.modules if n in sys.argv])"
    )
    heavy = ["ray", "numpy", "pydantic", "mcp", "raysearch.engine", "raysearch.config"]
    done = subprocess.run([sys.executable, "-c", script, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert server_module.NAME == "issues"


# In the sandbox in which agents run.

CLIENT = """
import anyio, json, sys
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
words = sys.argv[1:]
async def main():
    started = stdio_client(StdioServerParameters(command=words[0], args=words[1:]))
    async with Client(words[0] if words[0].startswith("http") else started) as client:
        print(len((await client.call_tool("list_issues", {})).structured_content["issues"]))
        made = await client.call_tool("create_issue", {"kind": "bug", "title": "from inside"})
        print(made.structured_content["issue"])
        print((await client.call_tool("close_issue", {"issue": "1"})).content[0].text)
anyio.run(main)
"""
SAID = "2\nnew-1\na judge may not close issues; it may comment, create\n"


@pytest.mark.parametrize("kind", [pytest.param("bubblewrap", marks=needs_bubblewrap), "none"])
def test_a_guest_starts_the_server_itself(kind: str, tmp_path: Path, snapshot: Path) -> None:
    place = a_place(kind, tmp_path, 9)
    (place.checkout.path / "raysearch.py").write_text("raise SystemExit('planted')")
    (place.checkout.path / "mcp.py").write_text("raise SystemExit('planted')")
    outbox = place.checkout.scratch / "outbox.jsonl"
    server = board_server(snapshot, outbox, JUDGE, permissions_of("judge"))
    done = place.run([sys.executable, "-I", "-c", CLIENT, *server.command], readable=paths_in(server.command))
    assert (done.stdout, done.status) == (SAID, 0), done.stderr
    board = merged(outbox, {JUDGE: permissions_of("judge")})
    assert (board.issues[3].title, board.issues[3].author) == ("from inside", JUDGE)


@needs_bubblewrap
def test_a_guest_reaches_a_server_outside(tmp_path: Path, snapshot: Path, outbox: Path) -> None:
    place = a_place("bubblewrap", tmp_path, 9)
    with board_served(snapshot, outbox, JUDGE, permissions_of("judge")) as server:
        relay, inside = relayed_server(server, free_ports(1)[0])
        place.relay = relay
        done = place.run([sys.executable, "-I", "-c", CLIENT, inside.url])
    assert (done.stdout, done.status) == (SAID, 0), done.stderr
    assert merged(outbox, {JUDGE: permissions_of("judge")}).issues[3].title == "from inside"
