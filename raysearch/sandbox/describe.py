"""One plain sentence about how a command ended, for a verdict."""

from __future__ import annotations

import signal

from raysearch.process.command import FLOOD
from raysearch.protocols import Completed
from raysearch.target import SandboxLimits

LINE_MAX = 300


def describe(completed: Completed, limits: SandboxLimits | None = None) -> str:
    """How it ended: the limit that ended it (with its figure, where ``limits`` are given), else what it left
    running, else its exit status and the last line of its stderr. Never empty."""
    if completed.ended_by:
        return _ended(completed, limits)
    status = _status(completed)
    if not completed.leftovers:
        return status
    names = ", ".join(repr(name) for name in dict.fromkeys(completed.leftovers))
    left = f"left {'a process' if len(completed.leftovers) == 1 else 'processes'} running: {names}"
    return left if completed.status == 0 else f"{status}; {left}"


def _ended(completed: Completed, limits: SandboxLimits | None) -> str:
    known = limits or SandboxLimits()
    what, figure = {
        "memory": ("used more than {} of memory", f"{known.memory_mb} MB"),
        "processes": ("had more than {} at once", f"{known.processes} processes"),
        "cpu": ("used more than {} of processor time", f"{known.cpu_s} s"),
        "output": ("printed more than {}", f"{known.output_kb * FLOOD} KB"),
        "files": ("wrote more than {} of files", f"{known.file_mb} MB"),
    }.get(completed.ended_by, ("", ""))
    if what:
        return "ended: " + what.format(figure if limits else "its share")
    reason = "time limit" if completed.ended_by == "time" else completed.ended_by
    return f"ended after {completed.took_s:.3g} s: {reason}"


def _status(completed: Completed) -> str:
    if completed.status < 0:
        try:
            text = f"ended by signal {signal.Signals(-completed.status).name}"
        except ValueError:
            text = f"ended by signal {-completed.status}"
    else:
        text = f"exit status {completed.status}"
    lines = completed.stderr.strip().splitlines()
    if not lines or completed.status == 0:
        return text
    last = lines[-1].strip()
    return f"{text}: {last[:LINE_MAX]}{'…' if len(last) > LINE_MAX else ''}"
