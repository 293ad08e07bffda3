"""One lock a device, for all searches of all users of a machine.

Locks are flock(2) on files of one folder. The kernel lets go of one when the last open file that shares it is closed,
so it can neither be left behind nor be taken from who is alive. The folder is everybody's and sticky, as /tmp is;
what is in it is not trusted: files are opened in the folder itself, never through a link, and what is no plain file
with one name is not used. Nothing of another user's is ever written but a line into such a file.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from raysearch.errors import EvaluatorFault

MACHINE_FOLDER = Path("/tmp/raysearch-devices")
"""The same for all, whatever TMPDIR says. Containers that share a machine can mount one folder here."""
EVERYBODY, SHARED = 0o1777, stat.S_IWGRP | stat.S_IWOTH
NOTE_BYTES_MAX = 200
SETTLE_S = 0.5
"""How long somebody else's new folder may take until it is everybody's."""
FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class Locks:
    """The open folder. ``number`` is its file descriptor, which `close` closes."""

    folder: Path
    number: int

    @classmethod
    def open(cls, folder: Path = MACHINE_FOLDER) -> Locks:
        """Make the folder if it is not there. Raises EvaluatorFault if it cannot be trusted."""
        end_s = time.monotonic() + SETTLE_S
        while True:
            number = _opened(folder)
            if number >= 0:
                return cls(folder, number)
            if time.monotonic() > end_s:
                raise EvaluatorFault(
                    f"{folder} is for locks of all users, but others may neither use it nor be kept from each other's"
                    f" files: `chmod 1777 {folder}`, or remove it"
                )
            time.sleep(0.01)

    def take(self, name: str, note: str) -> int | None:
        """The lock ``name``, as an open file to be closed; None if somebody has it or it cannot be used.

        ``note`` says who has it, for others to read.
        """
        while True:
            number = self._file(name)
            if number is None:
                return None
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(number)
                return None
            except OSError as error:
                os.close(number)
                raise EvaluatorFault(f"{self.folder} cannot hold locks: {error.strerror}") from error
            if self._is_named(number, name):
                _write(number, note)
                return number
            os.close(number)  # removed by a sweep of temporary files before it was locked

    def taken(self, name: str) -> bool:
        """Whether somebody has the lock."""
        try:
            number = os.open(name, os.O_RDONLY | FLAGS, dir_fd=self.number)
        except OSError:
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(number)
        return False

    def note(self, name: str) -> str:
        """What whoever has the lock wrote; whatever stands there, on one printable line."""
        try:
            number = os.open(name, os.O_RDONLY | FLAGS, dir_fd=self.number)
        except OSError as error:
            return f"cannot be used: {error.strerror}"
        try:
            if not _is_plain(os.fstat(number)):
                return f"cannot be used: {self.folder / name} is no plain file with one name; remove it"
            text = os.read(number, NOTE_BYTES_MAX).decode("utf-8", "replace")
        finally:
            os.close(number)
        return "".join(letter if letter.isprintable() else " " for letter in text).strip() or "somebody"

    def close(self) -> None:
        os.close(self.number)

    def _file(self, name: str) -> int | None:
        """The file, made if need be; None if it is none that can be used.

        Never opened with O_CREAT where it is there: in a sticky folder Linux refuses that for other users' files
        (fs.protected_regular). Without the right to write it can be locked all the same.
        """
        for flags in (os.O_RDWR, os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_EXCL, os.O_RDWR):
            try:
                number = os.open(name, flags | FLAGS, 0o666, dir_fd=self.number)
            except OSError:
                continue
            if flags & os.O_CREAT:
                os.fchmod(number, 0o666)  # whatever the umask
            if _is_plain(os.fstat(number)):
                return number
            os.close(number)
            return None
        return None

    def _is_named(self, number: int, name: str) -> bool:
        """Whether the open file is still the one of that name."""
        try:
            named = os.stat(name, dir_fd=self.number, follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(named, os.fstat(number))


def _opened(folder: Path) -> int:
    """The folder's file descriptor, or -1 if it is not yet as it must be. Raises EvaluatorFault."""
    try:
        try:
            folder.mkdir(0o700)
            folder.chmod(EVERYBODY)
        except FileExistsError:
            pass
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise EvaluatorFault(f"{folder} must be a folder, for locks on devices: {error.strerror}") from error
    found = os.fstat(number)
    private = found.st_uid == os.geteuid() and not found.st_mode & SHARED  # of this user's searches alone
    shared = found.st_mode & EVERYBODY == EVERYBODY
    if private or shared:
        return number
    os.close(number)
    return -1


def _is_plain(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1


def _write(number: int, note: str) -> None:
    """Say who has the lock, and be young in the eyes of sweeps of temporary files."""
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        return
    os.ftruncate(number, 0)
    os.pwrite(number, note.encode("utf-8", "replace")[:NOTE_BYTES_MAX], 0)
