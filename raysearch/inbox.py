"""Commands on their way to a run's driver, and its answers: files below ``inbox/`` in the run folder.

``inbox/NAME.json``           sent, in one step; names sort in the order of sending
``inbox/taken/NAME.json``     in the driver's hands, and nobody else's: it is carried out once, or was not sent
``inbox/answers/NAME.json``   what became of it
``inbox/refused/NAME.json``   what could not be read

The driver carries a command out by writing a fact with its id into the journal, and answers after that. Should it die
in between, the next one finds the command in ``taken`` and its id in the journal: it answers, and does nothing twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from raysearch.errors import RunError
from raysearch.steering import Command, Receipt, fault

INBOX = "inbox"
COMMAND_BYTES_MAX = 1 << 20
PENDING_MAX = 1_000
"""Commands that may wait."""
ANSWERS_MAX = 1_000
"""Answers that are kept."""
POLL_S = 0.05

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_COMMAND = msgspec.json.Decoder(Command)
_RECEIPT = msgspec.json.Decoder(Receipt)


def send(folder: Path, command: Command) -> str:
    """Put ``command`` into the inbox of the run in ``folder``, on the disk when this returns; its name, and id.

    Raises RunError.
    """
    if why := fault(command):
        raise RunError(why)
    inbox = folder / INBOX
    try:
        inbox.mkdir(exist_ok=True)
        waiting = _names(inbox)
        if len(waiting) >= PENDING_MAX:
            raise RunError(f"{len(waiting)} commands wait in {inbox} already, as many as may: is the run being driven?")
        name = f"{_number(waiting):020d}-{secrets.token_hex(4)}"
        content = msgspec.json.encode(replace(command, id=name, sent_at_s=round(time.time(), 3)))
        _write(inbox / f"{name}.json", content)
    except UnicodeEncodeError as error:
        raise RunError("the text is not whole: it holds bytes that are not UTF-8") from error
    except OSError as error:
        raise RunError(f"{inbox}: nothing can be sent: {error.strerror}") from error
    return name


def receipt(folder: Path, name: str) -> Receipt | None:
    """What became of the command ``name``; None while it is not answered."""
    try:
        return _RECEIPT.decode((folder / INBOX / "answers" / f"{name}.json").read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def wait(
    folder: Path,
    name: str,
    timeout_s: float,
    driven: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> Receipt:
    """What became of the command ``name``, as soon as its driver says.

    Raises RunError when ``timeout_s`` has gone by: where nobody is ``driven`` by it, the command is withdrawn; where
    somebody is, it stays.
    """
    until_s = time.monotonic() + timeout_s
    while (became := receipt(folder, name)) is None:
        if time.monotonic() >= until_s:
            return _given_up(folder, name, timeout_s, driven)
        sleep(POLL_S)
    return became


def _given_up(folder: Path, name: str, timeout_s: float, driven: Callable[[], bool]) -> Receipt:
    if driven():
        raise RunError(
            f"the driver of {folder.name} has not answered within {timeout_s:g} s; the command stays in its inbox, and"
            f" its answer will be in {folder / INBOX / 'answers' / f'{name}.json'}"
        )
    if withdraw(folder, name):
        raise RunError(
            f"{folder.name} is not being driven, so nobody would carry this out: the command is withdrawn. Go on with"
            f" `raysearch resume {folder.name}`, or say --no-wait to leave it for the next driver"
        )
    became = receipt(folder, name)
    if became is None:
        raise RunError(
            f"the driver of {folder.name} took the command and died before it answered; the next driver answers, in"
            f" {folder / INBOX / 'answers' / f'{name}.json'}"
        )
    return became


def withdraw(folder: Path, name: str) -> bool:
    """Take a command back; False if a driver has it already. It is carried out, or taken back, and never both."""
    try:
        (folder / INBOX / f"{name}.json").unlink()
    except OSError:
        return False
    return True


@dataclass(slots=True)
class Inbox:
    """The driver's side of the inbox of the run in ``folder``; the caller holds the run's lock."""

    folder: Path
    _in_hand: set[str] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        for place in (self._inbox, self._taken, self._answers, self._refused):
            place.mkdir(parents=True, exist_ok=True)

    def take(self, recorded: Mapping[str, Receipt] | None = None) -> list[tuple[str, Command]]:
        """Commands to carry out now, in the order of sending, each once; every one wants an `answer`.

        ``recorded``: ids of commands that the journal holds, and what became of them: they are answered so, and not
        returned. What cannot be read, or is no command, is answered with why, and set aside. Raises OSError.
        """
        found = []
        carried_out = self._in_hand & (recorded or {}).keys()  # and yet there: its answer could not be written
        for name in [*sorted(_names(self._taken) - self._in_hand | carried_out), *self._arrived()]:
            answered = (self._answers / f"{name}.json").exists()
            known = (recorded or {}).get(name)
            if answered:
                (self._taken / f"{name}.json").unlink(missing_ok=True)
            elif known is not None:
                self.answer(name, known)
            else:
                command = self._read(name)
                if isinstance(command, str):
                    self._set_aside(name, command)
                else:
                    found.append((name, command))
        self._in_hand.update(name for name, _ in found)  # not before: what stops this half-way loses nothing
        return found

    def answer(self, name: str, receipt: Receipt) -> None:
        """Say what became of a command, which is then gone from the inbox. Raises OSError."""
        _write(self._answers / f"{name}.json", msgspec.json.encode(receipt))
        (self._taken / f"{name}.json").unlink(missing_ok=True)
        self._in_hand.discard(name)
        kept = sorted(_names(self._answers))
        for old in kept[: max(0, len(kept) - ANSWERS_MAX)]:
            (self._answers / f"{old}.json").unlink(missing_ok=True)

    def _set_aside(self, name: str, why: str) -> None:
        with contextlib.nullcontext() if _NAME.fullmatch(name) else contextlib.suppress(OSError):
            _write(self._answers / f"{name}.json", msgspec.json.encode(Receipt(False, why)))
        (self._taken / f"{name}.json").replace(self._refused / f"{name}.json")

    def _arrived(self) -> Iterable[str]:
        """Names of new commands, which are in our hands from now on."""
        for name in sorted(_names(self._inbox))[:PENDING_MAX]:
            try:
                (self._inbox / f"{name}.json").rename(self._taken / f"{name}.json")
            except FileNotFoundError:  # withdrawn
                continue
            yield name

    def _read(self, name: str) -> Command | str:
        """A taken command, or why it is none."""
        if not _NAME.fullmatch(name):
            return "a command's file is named with letters, digits, '.', '_' and '-', and no more than 100 of them"
        try:
            content = _content(self._taken / f"{name}.json")
            command = _COMMAND.decode(content)
        except OSError as error:
            return f"it cannot be read: {error.strerror or error}"
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"it is no command: {error}"
        if command.id not in {"", name}:
            return f"its id is {command.id!r}, and its name {name!r}: they must be the same"
        return fault(command) or replace(command, id=name)

    @property
    def _inbox(self) -> Path:
        return self.folder / INBOX

    @property
    def _taken(self) -> Path:
        return self._inbox / "taken"

    @property
    def _answers(self) -> Path:
        return self._inbox / "answers"

    @property
    def _refused(self) -> Path:
        return self._inbox / "refused"


def _names(folder: Path) -> set[str]:
    """Of the files that are whole."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        return {
            entry.name.removesuffix(".json")
            for entry in entries
            if entry.name.endswith(".json")
            and not entry.name.startswith(".")
            and not entry.is_dir(follow_symlinks=False)
        }
    return set()


def _number(waiting: Iterable[str]) -> int:
    """The time, or what comes after all that wait, should the clock have been set back."""
    numbers = (int(head) for name in waiting if (head := name.partition("-")[0]).isdecimal() and len(head) <= 20)
    return max(time.time_ns(), 1 + max(numbers, default=0))


def _content(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:  # noqa: PTH123 - a number, not a path
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is no regular file")
        content = stream.read(COMMAND_BYTES_MAX + 1)
    if len(content) > COMMAND_BYTES_MAX:
        raise OSError(f"it is larger than {COMMAND_BYTES_MAX >> 20} MB")
    return content


def _write(path: Path, content: bytes) -> None:
    """A new file in one step, and on the disk, its name too."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 - a number, not a path
            stream.write(content)
            stream.flush()
            os.fsync(descriptor)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
