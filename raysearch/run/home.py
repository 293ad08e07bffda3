"""Results come home while a run is driven: its commits and its journal are pushed to a git remote."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from raysearch.errors import RunError
from raysearch.repository import BEST
from raysearch.run.folder import RunFolder
from raysearch.run.parcel import REMOTE_S, Content, git, pack, runs_in, whole_lines

FIRST_S = 10.0
"""After the start: so that a remote that does not answer is known before much is spent."""
EVERY_S = 180.0
SHARE = 20
"""Pauses are this many times as long as a push takes."""
LAST_S = 120.0
"""For the push at the end of a session."""

log = logging.getLogger(__name__)


class Elsewhere(RunError):
    """The remote has another continuation of the run, which must not be lost."""


class Courier:
    """Pushes a run to ``remote`` every few minutes while its best improves, and at the end of the session.

    The work is done by a thread and by git, neither of which can hold up or end the run: what fails is said once,
    and tried again. The caller drives the run.
    """

    def __init__(self, folder: RunFolder, remote: str, first_s: float = FIRST_S, every_s: float = EVERY_S) -> None:
        self._folder = folder
        self._remote = remote
        self._every_s = every_s
        self._parcel = folder.path / "parcel.git"
        self._closing = threading.Event()
        self._told = ""
        self._pushed: str | None = None
        self._best = ""
        self._thread = threading.Thread(target=self._go, args=(first_s,), name="courier", daemon=True)

    def __enter__(self) -> Courier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """One more push, in at most `LAST_S`."""
        self._closing.set()
        self._thread.join()
        if not self._try(None, LAST_S):
            log.warning("the results are in %s alone: `raysearch fetch` brings them home", self._folder.path)

    def _go(self, pause_s: float) -> None:
        while not self._closing.wait(pause_s):
            began_s = time.monotonic()
            if self._pushed is None or self._best_here() != self._best:
                self._try(self._closing, REMOTE_S)
            pause_s = max(self._every_s, SHARE * (time.monotonic() - began_s))

    def _try(self, cancel: threading.Event | None, timeout_s: float) -> bool:
        """Whether it was pushed, or there is nothing to push; if not, the reason is said unless it was before."""
        if not self._folder.journal.exists():
            return True
        try:
            self._push(cancel, timeout_s)
        except (RunError, OSError) as error:
            self._pushed = None  # whatever the remote has now
            if str(error) != self._told and not (cancel and cancel.is_set()):
                self._told = str(error)
                log.warning("not pushed to %s: %s", self._remote, error)
            return False
        self._told = ""
        return True

    def _push(self, cancel: threading.Event | None, timeout_s: float) -> None:
        best = self._best_here()
        journal = pack(self._folder, self._parcel)
        there = self._there() if self._pushed is None else self._pushed
        if (there, self._best) != (journal, best):
            name = self._folder.name
            branch = f"refs/heads/{name}/journal"
            words = ("push", "--quiet", "--atomic", f"--force-with-lease={branch}:{there}", "--", self._remote)
            others = (f"+refs/tags/{name}/*:refs/tags/{name}/*", f"+refs/heads/{name}/best*:refs/heads/{name}/best*")
            git(self._parcel, *words, *others, f"{branch}:{branch}", timeout_s=timeout_s, cancel=cancel)
        self._pushed, self._best = journal, best

    def _there(self) -> str:
        """The journal's commit that the remote has; empty if none. Raises Elsewhere if this run is not its future."""
        name = self._folder.name
        if name not in runs_in(self._remote, self._parcel):
            return ""
        branch = f"refs/heads/{name}/journal"
        git(self._parcel, "fetch", "--quiet", "--no-tags", "--", self._remote, branch, timeout_s=REMOTE_S)
        found, _, message = git(self._parcel, "show", "--no-patch", "--format=%H%n%B", "FETCH_HEAD").partition("\n")
        if not Content.said(message).begins(whole_lines(self._folder)):
            raise Elsewhere(
                f"{name} has gone on there by another driver, which a push would overwrite. Name another repository"
                " with --push-to"
            )
        return found

    def _best_here(self) -> str:
        return git(self._folder.workspace, "for-each-ref", "--format=%(objectname)", BEST)


def courier(folder: RunFolder, remote: str) -> Courier:
    """Raises RunError if ``remote`` is a path at which there is no folder, before anything is spent."""
    place = Path(remote)
    if place.is_absolute() and not place.is_dir():
        raise RunError(f"{remote}: no such git repository. Make one with `git init --bare {remote}`")
    return Courier(folder, remote)
