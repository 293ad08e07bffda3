"""Candidates are commits: one git repository a run, one ref an attempt.

Objects are made with libgit2 in this process (no process is spawned for a candidate). Any worker may write
objects; only the driver writes refs. ``refs/tags/<n>`` names attempt n, so that ``git diff 17 42`` works.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import pygit2
from pygit2.enums import CheckoutStrategy, FileMode, Option

from raysearch.errors import RepositoryError
from raysearch.types import AttemptId, Commit, Tree

BEST = "refs/heads/best"
_AUTHOR = ("raysearch", "raysearch@localhost")


class TooLarge(RepositoryError):
    """A folder holds more bytes than a program may."""


class Unfit(RepositoryError):
    """A folder holds what a program must not: a device, a nested repository, a link that leads outside."""


class Repository:
    """The git repository of a run, at ``<run>/workspace``."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises RepositoryError."""
        try:
            self._git = pygit2.Repository(str(path))
        except pygit2.GitError as error:
            raise RepositoryError(f"{path}: {error}") from error
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Repository:
        """Make an empty one; its objects are synced to disk before anything names them."""
        git = pygit2.init_repository(str(path), initial_head="best")
        git.config["gc.auto"] = 0  # what a worker has just written is not yet named by a ref
        git.config["core.hooksPath"] = os.devnull
        git.config["core.logAllRefUpdates"] = False
        return cls(path)

    def write_tree(self, folder: Path, bytes_max: int | None = None) -> Tree:
        """The tree of a folder's files. Raises TooLarge or Unfit."""
        pygit2.option(Option.ENABLE_FSYNC_GITDIR, True)
        budget = [bytes_max if bytes_max is not None else 1 << 62]
        oid = self._write_tree(os.fspath(folder), folder, budget)
        return Tree(str(oid if oid is not None else self._git.TreeBuilder().write()))

    def _write_tree(self, folder: str, root: Path, budget: list[int]) -> pygit2.Oid | None:
        builder = self._git.TreeBuilder()
        with os.scandir(folder) as entries:
            for entry in entries:
                kept = self._write_entry(entry, root, budget)
                if kept is not None:
                    try:
                        builder.insert(entry.name, *kept)
                    except pygit2.GitError as error:  # names that some file system would take for .git
                        raise Unfit(f"{entry.name!r} is no name for a file in git: {error}") from error
        return builder.write() if len(builder) else None

    def _write_entry(
        self, entry: os.DirEntry[str], root: Path, budget: list[int]
    ) -> tuple[pygit2.Oid, FileMode] | None:
        if entry.name == "__pycache__":
            return None
        if entry.name.lower() == ".git":
            raise Unfit(f"{entry.name} inside a program")
        if not entry.name.isascii() and os.fsencode(entry.name).decode(errors="replace") != entry.name:
            raise Unfit(f"a file's name is not UTF-8: {entry.name!a}")
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISLNK(mode):
            return self._git.create_blob(os.fsencode(_link(Path(entry.path), root))), FileMode.LINK
        if stat.S_ISDIR(mode):
            oid = self._write_tree(entry.path, root, budget)
            return None if oid is None else (oid, FileMode.TREE)
        if not stat.S_ISREG(mode):
            raise Unfit(f"{entry.name} is neither file, folder nor link")
        budget[0] -= entry.stat().st_size
        if budget[0] < 0:
            raise TooLarge(f"{entry.name} makes the program too large")
        blob = self._git.create_blob(_content(entry.path))
        return blob, FileMode.BLOB_EXECUTABLE if mode & stat.S_IXUSR else FileMode.BLOB

    def holds(self, folder: Path, tree: Tree) -> bool:
        """Whether a folder's files are a tree's, content and modes; as `write_tree` would find, but nothing is written.

        Raises Unfit.
        """
        return self._holds(os.fspath(folder), folder, self._git[pygit2.Oid(hex=tree)].peel(pygit2.Tree))

    def _holds(self, folder: str, root: Path, tree: pygit2.Tree) -> bool:
        due = {item.name: item for item in tree}
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name == "__pycache__":
                    continue
                item = due.pop(entry.name, None)
                if item is None:
                    if not entry.is_dir(follow_symlinks=False) or self._write_tree(entry.path, root, [1 << 62]):
                        return False  # empty folders are no difference
                elif not self._same(entry, root, item):
                    return False
        return not due

    def _same(self, entry: os.DirEntry[str], root: Path, item: pygit2.Object) -> bool:
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode):
            return isinstance(item, pygit2.Tree) and self._holds(entry.path, root, item)
        if stat.S_ISLNK(mode):
            kind, content = FileMode.LINK, os.fsencode(_link(Path(entry.path), root))
        elif stat.S_ISREG(mode):
            kind = FileMode.BLOB_EXECUTABLE if mode & stat.S_IXUSR else FileMode.BLOB
            content = _content(entry.path)
        else:
            raise Unfit(f"{entry.name} is neither file, folder nor link")
        return bool(item.filemode == kind and item.id == pygit2.hash(content))

    def commit(self, tree: Tree, parents: Sequence[Commit], message: str, at_s: float) -> Commit:
        """A commit that no ref names yet; equal arguments give the same commit."""
        author = pygit2.Signature(*_AUTHOR, int(at_s), 0)
        oid = self._git.create_commit(None, author, author, message, pygit2.Oid(hex=tree), [*map(_oid, parents)])
        return Commit(str(oid))

    def name(self, attempt: AttemptId | str, commit: Commit) -> None:
        """Point ``refs/tags/<attempt>`` at a commit; one that exists already is moved. Raises RepositoryError."""
        try:
            self._git.references.create(f"refs/tags/{attempt}", _oid(commit), force=True)
        except pygit2.GitError as error:
            raise RepositoryError(f"{self.path}: {error}") from error

    def commit_of(self, attempt: AttemptId | str) -> Commit:
        """Raises RepositoryError."""
        try:
            return Commit(str(self._git.references[f"refs/tags/{attempt}"].target))
        except KeyError as error:
            raise RepositoryError(f"{self.path}: no attempt {attempt} with a commit") from error

    def tree_of(self, commit: Commit) -> Tree:
        return Tree(str(self._commit(commit).tree.id))

    def checkout(self, commit: Commit, folder: Path) -> None:
        """Write a commit's files into an empty folder, without any ``.git``."""
        self._checkout(self._commit(commit).tree, os.fspath(folder))

    def _checkout(self, tree: pygit2.Tree, folder: str) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102
        for item in tree:
            path = f"{folder}/{item.name}"
            if isinstance(item, pygit2.Tree):
                self._checkout(item, path)
            else:
                _write(item, path)

    def restore(self, commit: Commit, path: str, folder: Path) -> None:
        """Make ``path`` below ``folder`` what it is in a commit: the same file or link, or nothing."""
        place = folder / path
        if place.is_symlink() or place.exists():
            place.unlink()
        try:
            item = self._commit(commit).tree / path
        except KeyError:
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        _write(item, os.fspath(place))

    def show(self, commit: Commit, path: str) -> str:
        """Text of a file in a commit. Raises FileNotFoundError."""
        try:
            return _data(self._commit(commit).tree / path).decode(errors="replace")
        except (KeyError, TypeError) as error:
            raise FileNotFoundError(f"{path} in commit {commit[:12]}") from error

    def diff(self, old: Commit, new: Commit) -> str:
        """Unified diff between two commits."""
        return self._git.diff(self._commit(old), self._commit(new)).patch or ""

    def merge_base(self, one: Commit, other: Commit) -> Commit | None:
        """The latest common ancestor of two commits (one of them, if there are several)."""
        found: pygit2.Oid | None = self._git.merge_base(self._commit(one).id, self._commit(other).id)
        return None if found is None else Commit(str(found))

    def changed(self, old: Tree, new: Tree) -> list[PurePosixPath]:
        """Paths that differ between two trees, both sides of a rename included, sorted."""
        if old == new:
            return []
        difference = (
            self._git[pygit2.Oid(hex=old)]
            .peel(pygit2.Tree)
            .diff_to_tree(self._git[pygit2.Oid(hex=new)].peel(pygit2.Tree))
        )
        paths = {p for d in difference.deltas for p in (d.old_file.path, d.new_file.path)}
        return sorted(map(PurePosixPath, paths))

    def show_best(self, commit: Commit) -> None:
        """Move the branch ``best`` to a commit and check it out in the repository's own folder."""
        self._git.references.create(BEST, _oid(commit), force=True)
        self._git.set_head(BEST)
        tree = self._commit(commit).tree
        self._git.checkout_tree(tree, strategy=CheckoutStrategy.FORCE)  # type: ignore[no-untyped-call] # pygit2

    def unlock(self) -> None:
        """Remove what a driver that was killed left locked, where git would refuse to write ever after.

        For the run's only driver, before it writes. Raises RepositoryError.
        """
        home = Path(self._git.path)
        try:
            for lock in (*home.glob("*.lock"), *(home / "refs").rglob("*.lock")):
                lock.unlink(missing_ok=True)
        except OSError as error:
            raise RepositoryError(f"{self.path}: {error.filename}: {error.strerror}") from error

    def pack_refs(self) -> None:
        """Gather the attempts' loose refs into one file, so that a hundred thousand of them stay quick to list.

        For the run's only driver. (libgit2 takes and gives back a lock for every ref: minutes for so many.)
        """
        home = Path(self._git.path)
        with contextlib.suppress(OSError, ValueError):  # an optimisation only
            _pack(home, home / "refs" / "tags")

    def attempts(self) -> Iterator[AttemptId]:
        """Numbers of the attempts that have a ref."""
        for name in self._git.references:
            last = name.removeprefix("refs/tags/")
            if last.isdigit():
                yield AttemptId(int(last))

    def _commit(self, commit: Commit) -> pygit2.Commit:
        try:
            return self._git[_oid(commit)].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.InvalidSpecError) as error:
            raise RepositoryError(f"{self.path}: no commit {commit}") from error


def _link(path: Path, root: Path) -> Path:
    """Where a link leads, which must stay inside the program in every folder that it is checked out to."""
    target = path.readlink()
    try:
        inside = not target.is_absolute() and path.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # a loop
        inside = False
    if not inside:
        raise Unfit(f"{path.name} is a link that leads outside the program, or in circles")
    return target


PACKED_HEAD = b"# pack-refs with: peeled fully-peeled sorted \n"
_LOOSE = re.compile(rb"[0-9a-f]{40}\n")


def _pack(home: Path, tags: Path) -> None:
    """Put the loose tags with numbers into git's packed refs. Raises OSError; ValueError for a strange file.

    The new file is on disk before a loose ref, which until then says the same, is removed.
    """
    loose = {name: (tags / name).read_bytes() for name in os.listdir(tags) if name.isdigit()}  # noqa: PTH208
    lines: dict[bytes, bytes] = {}
    if (home / "packed-refs").exists():
        head, *entries = (home / "packed-refs").read_bytes().splitlines(keepends=True)
        if head != PACKED_HEAD:
            raise ValueError("packed in another way")
        name = b""
        for line in entries:
            if not line.startswith(b"^"):  # which says where the tag before it leads
                name = line[41:].rstrip(b"\n")
            lines[name] = lines.get(name, b"") + line
    packed = {f"refs/tags/{name}".encode(): text for name, text in loose.items() if _LOOSE.fullmatch(text)}
    lines.update((name, text.rstrip(b"\n") + b" " + name + b"\n") for name, text in packed.items())
    lock = home / "packed-refs.lock"
    with lock.open("xb") as file:
        file.writelines([PACKED_HEAD, *(lines[name] for name in sorted(lines))])
        file.flush()
        os.fsync(file.fileno())
    lock.replace(home / "packed-refs")
    for number, text in loose.items():
        if _LOOSE.fullmatch(text):
            (tags / number).unlink()


def _oid(commit: Commit) -> pygit2.Oid:
    return pygit2.Oid(hex=commit)


def _write(item: pygit2.Object, path: str) -> None:
    if item.filemode == FileMode.LINK:
        os.symlink(os.fsdecode(_data(item)), path)  # noqa: PTH211
        return
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(_data(item))
    if item.filemode == FileMode.BLOB_EXECUTABLE:
        os.chmod(path, 0o755)  # noqa: PTH101


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _data(item: pygit2.Object) -> bytes:
    if not isinstance(item, pygit2.Blob):
        raise TypeError(f"{item.name} is no file")
    return item.data
