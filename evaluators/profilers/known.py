"""The profilers by name, and what each is good for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from evaluators.profilers.auto import Auto
from evaluators.profilers.instruments import Instruments
from evaluators.profilers.linux import Linux
from evaluators.profilers.nsys import Nsys
from evaluators.profilers.perf import Perf
from evaluators.profilers.pyspy import PySpy
from evaluators.profilers.pytorch import Torch
from evaluators.profilers.roofline import Roofline
from evaluators.profilers.running import Place
from evaluators.profilers.sample import Sample
from raysearch.profile import Bound, Finding, Profile


class Examiner(Protocol):
    """What is asked of a profiler by its name."""

    def available(self) -> str:
        """Empty where it is installed and made for this machine; else why not, and what to install."""
        ...

    def obstacle(self, place: Place) -> str:
        """Why it does not work in this sandbox, found out by trying; empty where it does."""
        ...

    def examine(self, place: Place, focus: str = "") -> Profile: ...


PROFILERS: dict[str, Callable[[], Examiner]] = {
    "auto": Auto,
    "linux": Linux,
    "py-spy": PySpy,
    "perf": Perf,
    "torch": Torch,
    "nsys": Nsys,
    "roofline": Roofline,
    "sample": Sample,
    "instruments": Instruments,
}
ABOUT: dict[str, str] = {
    "auto": "the most telling of the others that works here",
    "linux": "processor time, waits, page faults and Python functions; works in every sandbox on Linux",
    "py-spy": "Python functions, with almost no effect on the program",
    "perf": "functions of compiled code, and the kernel's share",
    "torch": "PyTorch operators, GPU kernels and gaps between them",
    "nsys": "GPU kernels, copies and CUDA calls of any program",
    "roofline": "how far arithmetic and memory traffic are from this machine's peaks",
    "sample": "functions of one process on macOS, waits included",
    "instruments": "functions of a command and all that it starts, on macOS",
}
ADVICE: dict[Bound, str] = {
    "compute": "It computes for all of that time. Do less (a better algorithm, no work that is not needed, results "
    "that can be kept), or do it with wider instructions, compiled code or more processors.",
    "memory": "It waits for memory. Touch less data and touch it in order: smaller types, blocks that fit the caches, "
    "several passes joined into one, copies that need not be, memory used again rather than asked for anew.",
    "io": "It waits for files. Read and write less, in larger pieces, and while other work goes on.",
    "network": "It waits for the network or another process's messages. Send fewer and larger messages, and let them "
    "travel while other work goes on.",
    "latency": "It waits for one thing after another, or for time to pass. Let independent steps go at once, start "
    "them earlier, make larger ones of many small ones, and see whether the wait is needed at all.",
    "synchronization": "It waits for other threads, processes or the GPU. Wait later and less often, hold locks for "
    "less, and share out the work more evenly.",
    "overhead": "It spends that time around the work: starting, launching, interpreting, copying, calling the kernel. "
    "Make fewer and larger steps of it, and keep what is started.",
    "unknown": "The tool does not say what holds it back. Look at it with another one.",
}


def explained(profile: Profile, finding: Finding) -> str:
    """One finding in words: what it is, what it rests on, what its bound means and what usually helps."""
    lines = [
        f"{finding.component}: {finding.share:.1%} of the profiled time, {finding.share * profile.total_s:.3g} s "
        f"of {profile.total_s:.3g} s, seen by {profile.tool}.",
        f"Evidence: {finding.evidence}" if finding.evidence else "",
        f"Bound by {finding.bound}. {ADVICE[finding.bound]}",
    ]
    most = 1 / (1 - finding.share) if finding.share < 0.999 else float("inf")
    lines.append(f"Were it free, the whole would be at most {most:.3g} times as fast.")
    if profile.slowdown is not None and profile.slowdown > 1.1:
        lines.append(
            f"The profiler itself made the run {profile.slowdown:.2f} times as long: take shares with that in mind."
        )
    return "\n".join(line for line in lines if line)


def table(profile: Profile) -> str:
    """A profile for people and models: a line a finding, numbered from 1."""
    slow = "not measured" if profile.slowdown is None else f"{profile.slowdown:.2f}x of a plain run"
    lines = [f"{profile.tool}: {profile.total_s:.4g} s profiled ({slow}; never scored).", profile.summary]
    lines += [
        f"{place}. {finding.share:6.1%} {finding.bound:<15} {finding.component}"
        + (f" — {finding.evidence}" if finding.evidence else "")
        for place, finding in enumerate(profile.findings, 1)
    ]
    lines += [f"({name}: {said})" for name, said in profile.conditions.items()]
    return "\n".join(lines)
