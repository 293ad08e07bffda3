"""How each way of ending leaves the process.

======  ====================================================================
status  meaning
======  ====================================================================
0       done
1       the answer is no: the run ended without a single candidate, the target is
        not ready (check), no run can start here (doctor)
2       a person must change something: an argument, a file, a plug-in
70      a bug of raysearch itself; the traceback is in a file that is named
74      the journal cannot be written or read; the run is resumable
129     hung up, 130 interrupted (Ctrl-C), 143 terminated: the run is resumable
======  ====================================================================
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
import traceback
from pathlib import Path

import click

from raysearch.errors import Fault, Invariant, LedgerError, RaysearchError, UserError

EMPTY, USER, BUG, LEDGER, INTERRUPTED = 1, 2, 70, 74, 130
ISSUES = "the project's issue tracker"
LINES_MAX, LINE_CHARS_MAX = 60, 600
"""Of one message."""


def status_of(error: BaseException) -> int:
    """Say on stderr what went wrong, once and without a traceback; return the exit status."""
    match error:
        case SystemExit(code=1):  # how click leaves when whoever read our output has seen enough
            return 0
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None)
        case click.exceptions.Exit():
            return error.exit_code
        case click.ClickException():
            shown = io.StringIO()
            error.show(shown)
            click.echo(clear(shown.getvalue().rstrip("\n")), err=True)
            return error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return _say("interrupted", INTERRUPTED)
        case BrokenPipeError():  # whoever read our output has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        case UserError():
            return _say(str(error), USER)
        case LedgerError():
            return _say(f"{_noted(error)}\nWhat was written before is safe.", LEDGER)
        case OSError() if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return _say(f"no space left: {_noted(error)}", LEDGER)
        case OSError() if error.filename is not None:
            return _say(f"{error.filename}: {error.strerror}", USER)
        case Fault() | RaysearchError():
            return _say(f"{type(error).__name__}: {error}", USER)
        case _:
            return _bug(error)


def _bug(error: BaseException) -> int:
    """A bug of ours: what a report needs is named, and the traceback kept in a file."""
    kind = "an invariant is broken" if isinstance(error, Invariant) else type(error).__name__
    text = "".join(traceback.format_exception(error))
    where = _keep(text)
    lines = [f"internal error: {kind}: {_noted(error)}", f"The traceback is in {where}." if where else text]
    lines.append(f"This is a bug in raysearch. Please report it to {ISSUES} with these lines and that file.")
    return _say("\n".join(lines), BUG)


def _keep(text: str) -> Path | None:
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(prefix="raysearch-bug-", suffix=".txt")
        os.close(handle)
        Path(name).write_text(text, encoding="utf-8", errors="backslashreplace")
        return Path(name)
    return None


def _noted(error: BaseException) -> str:
    """The message, and what was noted on the way: the run, its last entry, how to go on."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


def clear(text: str) -> str:
    """``text`` for a terminal: nothing in it moves the cursor, no line is endless, and there are not too many lines.

    It may quote what somebody typed, or what is in a file.
    """
    lines = text.split("\n")
    if len(lines) > LINES_MAX:
        lines = [*lines[:LINES_MAX], f"… and {len(lines) - LINES_MAX} more lines"]
    return "\n".join(map(_shortened, lines))


def _shortened(line: str) -> str:
    """Printable, and its middle cut out where it is too long: what is wrong stands at either end."""
    if len(line) > LINE_CHARS_MAX:
        half = LINE_CHARS_MAX // 2
        line = f"{line[:half]} … ({len(line) - 2 * half} characters) … {line[-half:]}"
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in line)


def _say(text: str, status: int) -> int:
    click.echo(f"raysearch: {clear(text)}", err=True)
    return status
