"""A run as a git repository that can travel: pushed to a remote, bundled, and unpacked into a run folder elsewhere.

::

    refs/heads/<run>/best       the best candidate
    refs/tags/<run>/<n>         attempt n
    refs/heads/<run>/journal    one commit with all that git does not know of the run:
                                journal/<k>.jsonl (in order they are journal.jsonl), run.toml, target/

Several runs fit into one repository. The journal comes in pieces, of which only the last one ever changes, since no
host takes files of any size. Everything is done with plain git, so that its credentials and transports work.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysearch.errors import RunError, SandboxFault
from raysearch.ledger import torn_tail
from raysearch.process import run_guarded
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.types import Commit

RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a run may be called where it is a folder's name and part of a ref's."""
PIECE_BYTES = 256 * 1024
LOCAL_S, REMOTE_S = 120.0, 600.0
"""Time for git on this disk, and over a network."""
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")
_JOURNAL_IS = re.compile(r"^journal: (\d+) bytes, sha256 ([0-9a-f]{64})$", re.MULTILINE)


class GitFailed(RunError):
    """git did not do what it was asked; the message has its own words."""


def git(
    folder: Path,
    *words: str,
    stdin: bytes = b"",
    timeout_s: float = LOCAL_S,
    cancel: threading.Event | None = None,
) -> str:
    """What git prints, run in ``folder`` without asking anybody anything. Raises GitFailed.

    It never outlives this process, and is ended when ``cancel`` is set.
    """
    own = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    environment = {**own, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    argv = ["git", "-c", "fetch.fsckObjects=true", "-c", "gc.auto=0", *words]
    try:
        done = run_guarded(argv, cwd=folder, env=environment, timeout_s=timeout_s, stdin=stdin or None, cancel=cancel)
    except SandboxFault as fault:
        raise GitFailed(f"git {words[0]}: {fault}") from fault
    if done.status or done.ended_by:
        said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("hint:")]
        why = f"ended by its limit on {done.ended_by}" if done.ended_by else ""
        raise GitFailed(f"git {words[0]}: {why or '; '.join(said[:3]) or f'status {done.status}'}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Content:
    """What a parcel's journal is, said in its commit."""

    bytes_total: int
    sha256: str

    @classmethod
    def of(cls, journal: bytes) -> Content:
        return cls(len(journal), hashlib.sha256(journal).hexdigest())

    @classmethod
    def said(cls, message: str) -> Content:
        """Raises RunError for a commit that raysearch did not make."""
        found = _JOURNAL_IS.search(message)
        if found is None:
            raise RunError("the branch does not say what its journal is: it is none of raysearch's")
        return cls(int(found[1]), found[2])

    def begins(self, journal: bytes) -> bool:
        """Whether ``journal`` is this one, or goes on from it."""
        return len(journal) >= self.bytes_total and Content.of(journal[: self.bytes_total]) == self


def pack(folder: RunFolder, into: Path) -> Commit:
    """Make, or bring up to date, the bare repository ``into`` that has the run; its journal's commit.

    It borrows objects from the run's own repository and is of no use without that. The run folder is only read; a
    driver may be at work meanwhile. Raises RunError.
    """
    name = folder.name
    if RUN.fullmatch(name) is None:
        raise RunError(f"{folder.path}: {name!r} cannot be part of a git ref's name: rename the folder")
    if not (into / "HEAD").exists():
        into.mkdir(parents=True, exist_ok=True)
        git(into, "init", "--quiet", "--bare", "--template=", ".")
    kept = _kept(into, name)
    content, rest = _read(folder, sum(size for _, size in kept))  # first: what it names is in the repository by now
    objects = folder.workspace.resolve() / ".git" / "objects"
    (into / "objects" / "info").mkdir(exist_ok=True)
    (into / "objects" / "info" / "alternates").write_text(f"{objects}\n")
    refs = (f"+refs/tags/*:refs/tags/{name}/*", f"+refs/heads/best*:refs/heads/{name}/best*")
    git(into, "fetch", "--quiet", "--no-tags", str(folder.workspace.resolve()), *refs)
    git(into, "pack-refs", "--all")  # one file for all attempts, not one for each
    target = Repository(into).write_tree(folder.target)
    blobs = [oid.encode() for oid, _ in kept]
    stream = b"".join(_commit(folder, content, blobs, pieces(rest, PIECE_BYTES), target))
    git(into, "fast-import", "--quiet", "--force", stdin=stream)
    return Commit(git(into, "rev-parse", _journal_ref(name)).strip())


def whole_lines(folder: RunFolder) -> bytes:
    """The journal up to its last whole line. Raises RunError."""
    return _read(folder, 0)[1]


def _kept(parcel: Path, run: str) -> list[tuple[str, int]]:
    """Name and size of the pieces of the journal that are in the parcel to stay: all but its last."""
    try:
        listed = git(parcel, "ls-tree", "--long", _journal_ref(run), "journal/")
    except GitFailed:  # a new one
        return []
    found = [line.split() for line in listed.splitlines()]  # mode, type, name, size, path
    return [(words[2], int(words[3])) for words in found[:-1]]


def _read(folder: RunFolder, kept_bytes: int) -> tuple[Content, bytes]:
    """What the journal is, up to its last whole line, and what follows its first ``kept_bytes``.

    A journal may be large, and only grows: what is kept already is not held in memory. Raises RunError.
    """
    total = hashlib.sha256()
    try:
        with folder.journal.open("rb") as file:
            left = kept_bytes
            while left and (chunk := file.read(min(left, PIECE_BYTES))):
                total.update(chunk)
                left -= len(chunk)
            rest = file.read()
    except OSError as error:
        raise RunError(f"{folder.journal}: {error.strerror}") from error
    rest = rest[: len(rest) - len(torn_tail(rest))]
    total.update(rest)
    return Content(kept_bytes + len(rest), total.hexdigest()), rest


def _commit(
    folder: RunFolder, content: Content, kept: Sequence[bytes], new: Iterator[bytes], target: str
) -> Iterator[bytes]:
    """The journal's commit, as git's fast-import reads it."""
    message = (
        f"{folder.name}: journal, configuration and target\n\n"
        f"journal: {content.bytes_total} bytes, sha256 {content.sha256}\n\n"
        f"`raysearch fetch URL --run {folder.name}` makes a run folder of it.\n"
    ).encode()
    yield f"commit {_journal_ref(folder.name)}\n".encode()
    yield f"committer raysearch <raysearch@localhost> {int(folder.journal.stat().st_mtime)} +0000\n".encode()
    yield b"data %d\n%b\n" % (len(message), message)
    yield _file("run.toml", folder.config.read_bytes())
    for number, blob in enumerate(kept):
        yield b"M 100644 %b journal/%06d.jsonl\n" % (blob, number)
    for number, piece in enumerate(new, start=len(kept)):
        yield _file(f"journal/{number:06}.jsonl", piece)
    yield f"M 040000 {target} target\n\n".encode()


def _file(path: str, data: bytes) -> bytes:
    return b"M 100644 inline %b\ndata %d\n%b\n" % (path.encode(), len(data), data)


def pieces(journal: bytes, piece_bytes: int) -> Iterator[bytes]:
    """The journal cut after lines; as it grows, all but its last piece stay as they are."""
    start = 0
    while start < len(journal):
        end = journal.find(b"\n", start + piece_bytes) + 1 or len(journal)
        yield journal[start:end]
        start = end


def runs_in(source: str, near: Path) -> dict[str, Commit]:
    """Runs that a repository or bundle holds, with their journals' commits, oldest first. Raises GitFailed."""
    listed = git(near, "ls-remote", "--", source, "refs/heads/*/journal", timeout_s=REMOTE_S)
    found = {}
    for line in listed.splitlines():
        commit, _, ref = line.partition("\t")
        name = ref.removeprefix("refs/heads/").removesuffix("/journal")
        if RUN.fullmatch(name):
            found[name] = Commit(commit)
    return dict(sorted(found.items()))


def refspecs(run: str) -> Sequence[str]:
    """Which refs of a parcel become which of a run's own repository; the journal's is last."""
    return (
        f"+refs/tags/{run}/*:refs/tags/*",
        f"+refs/heads/{run}/best*:refs/heads/best*",
        f"+{_journal_ref(run)}:{JOURNAL_REF}",
    )


JOURNAL_REF = "refs/raysearch/journal"
"""Where a run folder that was fetched has the commit that it was made from."""


def _journal_ref(run: str) -> str:
    return f"refs/heads/{run}/journal"
