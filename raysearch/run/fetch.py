"""A run brought here: from a git repository that it was pushed to, from another folder, or out of a job's log."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from raysearch.config.targets import load_target
from raysearch.errors import RepositoryError, RunError, nearest
from raysearch.facts import Entry, Mutated, RunStarted
from raysearch.ledger import RunLock, read_lines
from raysearch.repository import Repository
from raysearch.run.folder import RunFolder
from raysearch.run.parcel import JOURNAL_REF, REMOTE_S, Content, git, pack, refspecs, runs_in, whole_lines
from raysearch.types import Commit

BEGIN, END = "-----BEGIN RAYSEARCH BUNDLE", "-----END RAYSEARCH BUNDLE-----"
LINE_BYTES = 3000
PRINTED_MB_MAX = 200


def fetch(source: str, into: Path, run: str | None = None) -> RunFolder:
    """The run folder ``into/<run>``, made or brought up to date from a git repository or bundle that has the run.

    ``run`` may be left out where ``source`` has one run only. Raises RunError, also if the run has gone on here by
    itself, or is being driven.
    """
    source = str(Path(source).resolve()) if Path(source).exists() else source
    with tempfile.TemporaryDirectory(prefix="raysearch-fetch-") as nowhere:  # in no repository, whose settings count
        name = _chosen(source, run, list(runs_in(source, Path(nowhere))))
    into.mkdir(parents=True, exist_ok=True)
    place = RunFolder(into.resolve() / name)
    if place.path.exists():
        if not place.journal.is_file():
            raise RunError(f"{place.path} exists, and is no run folder: name another DEST")
        lock = RunLock(place.path)
        try:
            _take(place, source, name)
        finally:
            lock.release()
        return place
    partial = RunFolder(place.path.with_name(f".{name}.partial"))
    shutil.rmtree(partial.path, ignore_errors=True)
    try:
        partial.attempts.mkdir(parents=True)
        partial.logs.mkdir()
        Repository.create(partial.workspace)
        _take(partial, source, name)
        partial.path.rename(place.path)
    finally:
        shutil.rmtree(partial.path, ignore_errors=True)
    return place


def fetch_folder(folder: RunFolder, into: Path) -> RunFolder:
    """The same from a run folder, which is only read and may be driven meanwhile. Raises RunError."""
    if into.resolve() == folder.path.parent.resolve():
        raise RunError(f"{folder.path} is there already: name another DEST")
    with tempfile.TemporaryDirectory(prefix="raysearch-fetch-") as temporary:
        parcel = Path(temporary) / "parcel.git"
        pack(folder, parcel)
        return fetch(str(parcel), into, folder.name)


def printed(folder: RunFolder) -> Iterator[str]:
    """Lines of text that hold the whole run, for `from_printed`. Raises RunError."""
    with tempfile.TemporaryDirectory(prefix="raysearch-fetch-") as temporary:
        parcel = Path(temporary) / "parcel.git"
        pack(folder, parcel)
        git(parcel, "bundle", "create", "--quiet", "../bundle", "--branches", "--tags")
        data = (Path(temporary) / "bundle").read_bytes()
    if len(data) > PRINTED_MB_MAX * 1e6:
        raise RunError(
            f"{folder.path}: {len(data) / 1e6:.0f} MB are too much for a job's log: push it from there instead,"
            f" with `raysearch resume {folder.path} --push-to GIT-URL`"
        )
    yield f"{BEGIN} {hashlib.sha256(data).hexdigest()}-----"
    for start in range(0, len(data), LINE_BYTES):
        yield base64.b64encode(data[start : start + LINE_BYTES]).decode()
    yield END


def from_printed(text: str) -> bytes:
    """The git bundle between the markers in a job's output. Raises RunError if it is not there, whole."""
    lines = text.splitlines()
    first = next((index for index, line in enumerate(lines) if line.startswith(BEGIN)), None)
    if first is None or END not in lines:
        raise RunError(f"the job did not print a run: {' '.join(lines[-3:]) or 'it printed nothing'}")
    data = base64.b64decode("".join(lines[first + 1 : lines.index(END)]))
    if hashlib.sha256(data).hexdigest() != lines[first].removeprefix(BEGIN).strip(" -"):
        raise RunError("the run was damaged on its way through the job's log: fetch it again")
    return data


def _chosen(source: str, run: str | None, known: Sequence[str]) -> str:
    if not known:
        raise RunError(f"{source}: holds no run: `raysearch run --push-to` has pushed nothing there")
    if run is None and len(known) == 1:
        return known[0]
    matching = [name for name in known if run is not None and run in name]
    if run in matching or len(matching) == 1:
        return run if run in matching else matching[0]
    several = matching or known
    if run is None or matching:
        raise RunError(f"{source}: holds {len(several)} runs: say --run NAME. {', '.join(several[-5:])}")
    raise RunError(f"{source}: has no run {run!r}.{nearest(run, known)}")


def _take(folder: RunFolder, source: str, run: str) -> None:
    """Objects and refs first, the journal that names them last."""
    every = refspecs(run)
    words = ("fetch", "--quiet", "--no-tags", "--update-head-ok", "--", source)
    git(folder.workspace, *words, every[-1], timeout_s=REMOTE_S)
    repository = Repository(folder.workspace)
    commit, _, message = git(folder.workspace, "show", "--no-patch", "--format=%H%n%B", JOURNAL_REF).partition("\n")
    with tempfile.TemporaryDirectory(prefix=".parcel-", dir=folder.path) as temporary:
        parcel = Path(temporary) / "parcel"
        repository.checkout(Commit(commit), parcel)
        journal = b"".join(piece.read_bytes() for piece in sorted((parcel / "journal").iterdir()))
        if Content.said(message) != Content.of(journal):
            raise RunError(f"{source}: the journal of {run} is damaged")
        before = whole_lines(folder) if folder.journal.exists() else b""
        if not Content.of(before).begins(journal):
            raise RunError(f"{folder.path} has gone on by itself: fetch into another DEST")
        git(folder.workspace, *words, *every, timeout_s=REMOTE_S)
        repository.pack_refs()
        entries = list(read_lines(journal.splitlines(keepends=True), f"{source}: journal"))
        _check(entries, repository, parcel / "target")
        if not folder.target.exists():
            _place_target(parcel / "target", folder)
        (parcel / "run.toml").replace(folder.config)
        (parcel / "journal.jsonl").write_bytes(journal)
        (parcel / "journal.jsonl").replace(folder.journal)


def _check(entries: Sequence[Entry], repository: Repository, target: Path) -> None:
    """What the journal names must have come with it. Raises RunError."""
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, RunStarted) and load_target(target).digest != fact.target_digest:
            raise RunError(f"the target that came with {fact.run} is not the one that its journal names")
        if isinstance(fact, Mutated):
            try:
                there = repository.commit_of(fact.attempt) == fact.change.commit
            except RepositoryError:
                there = False
            if not there:
                raise RunError(f"the commit of attempt {fact.attempt} did not come with the journal: fetch again")


def _place_target(target: Path, folder: RunFolder) -> None:
    """Read-only, as a run keeps it."""
    reference = load_target(target).reference.relative_to(target)
    for path in target.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o555 if path.stat().st_mode & 0o100 else 0o444)
    target.replace(folder.target)
    folder.reference.symlink_to(Path("target") / reference)
