"""Roofline headroom: how far from this machine's peaks a program's arithmetic and memory traffic are.

S. Williams, A. Waterman, D. Patterson: Roofline: an insightful visual performance model for multicore architectures,
Communications of the ACM 52 (4), 2009. No program can be faster than its arithmetic at the peak of the processors, nor
than its traffic at the peak of the memory; what is above the larger of the two is headroom.
"""

from __future__ import annotations

import math
import random
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evaluators.profilers.findings import Cost, Reading, findings, summed_up
from evaluators.profilers.reading import json_of, number
from evaluators.profilers.running import Place, environment, run_plain
from evaluators.results import MetricsResult, clean
from raysearch.errors import EvaluatorFault
from raysearch.profile import Profile
from raysearch.protocols import Workspace
from raysearch.sandbox import read_untrusted

PEAKS, SCRIPT = "peaks.json", Path(__file__).with_name("peaks.py")
PROBE_TIMEOUT_S = 120.0
_UNIT = re.compile(r"^(?P<prefix>[kMGTP]?)(?P<what>FLOP/s|FLOPS|B/s)$")
_PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}


@dataclass(frozen=True, slots=True)
class Peaks:
    """What a machine can do at most, and who says so."""

    flop_per_s: float
    bytes_per_s: float
    source: str


class Roofline:
    """Headroom below measured or given peaks.

    What is achieved, the target's benchmark must say: metrics in the units ``FLOP/s`` and ``B/s`` (with k, M, G, T or
    P), objectives or side metrics. Options: ``peak_flop_per_s`` and ``peak_bytes_per_s`` (0: measured in the sandbox,
    on its processors; give both for a GPU), ``probe_s``.
    """

    name = "roofline"

    def __init__(self, peak_flop_per_s: float = 0.0, peak_bytes_per_s: float = 0.0, probe_s: float = 1.0) -> None:
        if not (peak_flop_per_s >= 0 and peak_bytes_per_s >= 0 and 0 < probe_s <= 60):
            raise ValueError("peaks are from 0, probe_s is above 0 and at most 60")
        self.given = (peak_flop_per_s, peak_bytes_per_s)
        self.probe_s = probe_s

    def available(self) -> str:
        return ""

    def obstacle(self, place: Place) -> str:  # noqa: ARG002
        return ""

    def profile(self, workspace: Workspace, focus: str, rng: random.Random) -> Profile:  # noqa: ARG002
        return self.examine(workspace, focus)

    def examine(self, place: Place, focus: str = "") -> Profile:
        """Raises Refused where the program cannot be measured, EvaluatorFault where the benchmark names no rates."""
        ran = run_plain(place)
        achieved = rates(ran.result)
        reading = headroom(achieved.get("FLOP/s", 0.0), achieved.get("B/s", 0.0), self._peaks(place), ran.took_s)
        found = Profile(self.name, findings(reading, focus), ran.took_s, None, conditions=reading.conditions)
        return replace(found, summary=f"{summed_up(found, focus)} {reading.summary}")

    def _peaks(self, place: Place) -> Peaks:
        flops, traffic = self.given
        if flops and traffic:
            return Peaks(flops, traffic, "given")
        words = ["python", "-I", str(SCRIPT), f"{{scratch}}/{PEAKS}", f"{self.probe_s:g}"]
        (place.scratch / PEAKS).unlink(missing_ok=True)
        done = place.run(words, timeout_s=PROBE_TIMEOUT_S, cwd="{scratch}", env=environment(place))
        try:
            found = json_of(read_untrusted(place.scratch, PEAKS), PEAKS)
        except FileNotFoundError:
            raise EvaluatorFault(
                f"the machine's peaks could not be measured ({clean(done.stderr.strip())[-200:]}): "
                "give peak_flop_per_s and peak_bytes_per_s"
            ) from None
        measured = f"measured on {number(found, 'processors'):.0f} processors"
        peaks = (flops or number(found, "flop_per_s"), traffic or number(found, "bytes_per_s"))
        return Peaks(*peaks, measured if not any(self.given) else f"one given, one {measured}")


def rates(result: MetricsResult | None) -> Mapping[str, float]:
    """The largest median of the metrics in ``FLOP/s`` and in ``B/s``. Raises EvaluatorFault where there is neither."""
    found: dict[str, float] = {}
    for metric in result.metrics if result else ():
        if unit := _UNIT.match(metric.unit):
            what = unit["what"].replace("FLOPS", "FLOP/s")
            value = statistics.median(metric.samples) * _PREFIX[unit["prefix"]]
            found[what] = max(found.get(what, 0.0), value)
    if not any(found.values()):
        have = ", ".join(f"{m.name} ({m.unit or 'no unit'})" for m in result.metrics) if result else "none"
        raise EvaluatorFault(
            f"roofline: the benchmark reports no rate in FLOP/s or B/s; its metrics: {have}. Let it count its "
            "arithmetic, its traffic or both, and report them as side metrics in these units (or GFLOP/s and GB/s)"
        )
    return found


def headroom(flop_per_s: float, bytes_per_s: float, peaks: Peaks, took_s: float) -> Reading:
    """What of the time the peaks explain, and what they do not. Raises EvaluatorFault for peaks that are no numbers.

    Rates above a peak (by caches, or a peak that was measured too low) count as the peak.
    """
    if not (0 < peaks.flop_per_s < math.inf and 0 < peaks.bytes_per_s < math.inf):
        raise EvaluatorFault(
            f"roofline: the peaks {peaks.flop_per_s:g} FLOP/s and {peaks.bytes_per_s:g} B/s are not above 0"
        )
    of = {"compute": flop_per_s / peaks.flop_per_s, "memory": bytes_per_s / peaks.bytes_per_s}
    said = {
        "compute": f"{flop_per_s:.4g} FLOP/s, {of['compute']:.1%} of the peak of {peaks.flop_per_s:.4g}",
        "memory": f"{bytes_per_s:.4g} B/s, {of['memory']:.1%} of the peak of {peaks.bytes_per_s:.4g}",
    }
    names = {"compute": "floating-point arithmetic", "memory": "memory traffic"}
    binding = "compute" if of["compute"] >= of["memory"] else "memory"
    other = "memory" if binding == "compute" else "compute"
    reached = min(1.0, of[binding])
    detail = f"{said[binding]}; {names[other]}: {said[other]}" if of[other] else said[binding]
    if flop_per_s and bytes_per_s:
        ridge = peaks.flop_per_s / peaks.bytes_per_s
        detail += f"; {flop_per_s / bytes_per_s:.3g} FLOP a byte, and the roof's ridge is at {ridge:.3g}"
    costs = (
        Cost(names[binding], reached * took_s, "compute" if binding == "compute" else "memory", detail),
        Cost(
            "(headroom)",
            (1 - reached) * took_s,
            "overhead",
            "neither the processors' nor the memory's peak explains it",
        ),
    )
    above = max(of.values()) > 1.02
    summary = f"At most {1 / reached:.3g} times faster by this roof." if reached > 0 else ""
    summary += " A rate is above its peak: caches serve it, or the peak is too low." if above else ""
    return Reading(costs, took_s, summary, {"peaks": peaks.source})
