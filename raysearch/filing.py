"""The board of issues where a job is done: a snapshot to read, an outbox to file into, and what comes of it.

Both files lie in the worker's own folder, beside workspaces, where nothing that a program or an agent starts can reach
them: agents read and file through a server of the worker's process (`raysearch.agents.issues`).
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from raysearch.board.desk import Desk
from raysearch.board.outbox import make_outbox, read_outbox, write_snapshot
from raysearch.board.permissions import permissions_of, permitted
from raysearch.board.types import NAME_MAX, Author, Filing
from raysearch.consultation import Reply
from raysearch.errors import Fault
from raysearch.jobs import Job, Result
from raysearch.types import Stage

ROLES = {Stage.MUTATE: "implementer", Stage.JUDGE: "judge", Stage.BENCHMARK: "performance_evaluator"}
"""As whom those file who do an attempt's jobs."""
REPLY = " reply"
"""Ends the name of the batch that came with a reply, whose names are not those of the outbox."""


def author_of(job: Job) -> Author:
    """As whom whoever does ``job`` files."""
    if job.consultation is not None:
        return Author(job.plugin[:NAME_MAX], f"consultation {job.consultation}")
    return Author(ROLES[job.stage], f"attempt {job.attempt}")


def batch_of(job: Job) -> str:
    """A name that no other job of the run has."""
    whose = f"attempt {job.attempt}" if job.consultation is None else f"consultation {job.consultation}"
    name = f"{whose}: {job.stage} {job.plugin}, try {job.try_number + 1}"
    if len(name) <= NAME_MAX - len(REPLY):
        return name
    return f"{whose}: {blake2b(name.encode(), digest_size=16).hexdigest()}"


def desk_of(job: Job, under: Path) -> Desk | None:
    """Where whoever does ``job`` reads the board and files; None where there is no board for it."""
    if job.board is None:
        return None
    folder, author = under / "board", author_of(job)
    return Desk(folder / "snapshot.json", folder / "outbox.jsonl", author, permissions_of(author.role))


def laid_out(job: Job, under: Path) -> None:
    """Put the files there, the outbox empty. One job at a time has its board below ``under``. Raises OSError."""
    desk = desk_of(job, under)
    if desk is None or job.board is None:
        return
    desk.snapshot.parent.mkdir(exist_ok=True)
    write_snapshot(desk.snapshot, job.board)
    desk.outbox.unlink(missing_ok=True)
    make_outbox(desk.outbox)


def filed(job: Job, result: Result | Fault, under: Path) -> tuple[Result | Fault, tuple[Filing, ...]]:
    """The result, and all that was filed, in the outbox and with a reply: what its author may not file is refused."""
    author, batch, desk = author_of(job), batch_of(job), desk_of(job, under)
    allowed = {author: permissions_of(author.role)}
    received = () if desk is None else read_outbox(desk.outbox, batch=batch, allowed=allowed)
    if not isinstance(result, Reply) or not result.filings:
        return result, received
    replied = permitted(result.filings, batch=batch + REPLY, allowed=allowed, earlier=received)
    return replace(result, filings=()), (*received, *replied)
