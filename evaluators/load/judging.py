"""Whether figures count: what makes a program refused, and what makes a measurement void.

*Refused* is the program's doing: it stays refused however often it is asked. *Void* is the measuring machine's doing:
it says nothing about the program, and the measurement must be made again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evaluators.load.driver import Recording
from evaluators.load.exchange import Exchange
from evaluators.load.figures import Timed, share_of
from evaluators.load.given import positive, share
from evaluators.load.prompts import Canaries
from evaluators.load.quantiles import quantile
from evaluators.load.repeats import RepeatProbe, speedup
from evaluators.load.window import Window


@dataclass(frozen=True, slots=True)
class Punctuality:
    """When the generator was itself too slow to measure.

    The 99th percentile of its lateness, in sending and in waking up, may be ``late_share`` of the median end-to-end
    time, ``late_ms`` in any case, and never more than ``late_most_ms``: long waits would excuse anything, and single
    tokens are timed as well. Its use of one core may be ``busy_max``.
    """

    late_ms: float = 2.0
    late_share: float = 0.02
    late_most_ms: float = 20.0
    busy_max: float = 0.9

    def __post_init__(self) -> None:
        positive("late_ms", self.late_ms)
        share("late_share", self.late_share)
        positive("late_most_ms", self.late_most_ms)
        positive("busy_max", self.busy_max)


@dataclass(frozen=True, slots=True)
class Lateness:
    """What the generator missed by, 99th percentiles in milliseconds, and its share of one core."""

    sent_ms: float
    woken_ms: float
    busy: float

    def void(self, punctuality: Punctuality, median_e2e_ms: float) -> str:
        """Why the measurement is void; empty if it stands."""
        scaled_ms = min(punctuality.late_most_ms, punctuality.late_share * median_e2e_ms)
        bound_ms = max(punctuality.late_ms, scaled_ms)
        if self.sent_ms > bound_ms:
            return (
                f"the load generator could not keep its schedule: 1 % of the requests left more than "
                f"{self.sent_ms:.1f} ms late, where {bound_ms:.1f} ms are allowed"
            )
        if self.woken_ms > bound_ms:
            return (
                f"the load generator did not get its turn: 1 % of its wake-ups came more than {self.woken_ms:.1f} ms "
                f"late, where {bound_ms:.1f} ms are allowed"
            )
        if self.busy > punctuality.busy_max:
            return (
                f"the load generator was busy for {self.busy:.0%} of the time, where {punctuality.busy_max:.0%} are "
                "allowed: it measured itself"
            )
        return ""


def lateness(recording: Recording, window: Window) -> Lateness:
    """Of the requests that were due in the window, and of the whole load."""
    late_s = [e.late_s for e in recording.exchanges if window.phase(e.due_s) == "window"]
    return Lateness(
        sent_ms=quantile(late_s, 0.99) * 1e3 if late_s else 0.0,
        woken_ms=quantile(recording.beats_s, 0.99) * 1e3 if recording.beats_s else 0.0,
        busy=recording.cpu_s / recording.took_s if recording.took_s else 0.0,
    )


def own_trouble(exchanges: Sequence[Exchange]) -> str:
    """Why the measurement is void because this machine could not send or receive; empty if it could."""
    ours = [exchange.reason for exchange in exchanges if exchange.trouble == "generator"]
    return f"requests that failed on the load generator's side: {len(ours)}, such as: {ours[0]}" if ours else ""


def wrong_answers(requests: Sequence[Timed], canaries: Canaries | None) -> tuple[str, str]:
    """Why the program is refused for what it answered (empty: it is not), and how canaries went (empty: none ran).

    Counts canaries with a whole answer, wherever they were due.
    """
    asked = [r for r in requests if r.exchange.request.right and not r.exchange.trouble]
    if not canaries or not asked:
        return "", ""
    wrong = [r for r in asked if r.exchange.request.right and not r.exchange.request.right(r.exchange.text)]
    right = len(asked) - len(wrong)
    told = f"{right} of {len(asked)} right"
    if right >= canaries.right_min * len(asked):
        return "", told
    return (
        f"Of the requests whose answer is known, {told}, where {canaries.right_min:.0%} must be. "
        f"One of the wrong answers begins {wrong[0].exchange.text[:120]!r}.",
        told,
    )


def wrong_lengths(window_requests: Sequence[Timed], share_max: float) -> str:
    """Why the program is refused for answers that are not as long as asked; empty if it is not."""
    wrong = [r for r in window_requests if r.failure in ("short", "long", "empty")]
    if len(wrong) <= share_max * len(window_requests):
        return ""
    one = wrong[0]
    asked = one.exchange.request
    exactly = "exactly" if asked.exact else "at most"
    return (
        f"{len(wrong)} of {len(window_requests)} answers have the wrong length; one has {one.counted} tokens where "
        f"{exactly} {asked.tokens} were asked for (counted from its text)."
    )


def unstreamed(window_requests: Sequence[Timed]) -> str:
    """Why the program is refused where answers should have come in pieces, and most did not; empty if it is not."""
    whole = [r for r in window_requests if not r.failure and r.counted > 1]
    at_once = [r for r in whole if r.itl_ms is None]
    if 2 * len(at_once) <= len(whole):
        return ""
    return f"{len(at_once)} of {len(whole)} answers came in one piece, where they should be streamed."


def too_many_failures(window_requests: Sequence[Timed], share_max: float) -> str:
    """Why the program is refused for requests without a whole answer; empty if it is not."""
    failed = [r for r in window_requests if r.failure in ("time", "server")]
    if len(failed) <= share_max * len(window_requests):
        return ""
    return (
        f"{len(failed)} of {len(window_requests)} requests got no whole answer, where {share_max:.0%} may. "
        f"One of the reasons: {failed[0].exchange.reason}"
    )


def remembered(pairs: Sequence[tuple[Timed, Timed]], how: RepeatProbe) -> tuple[str, str]:
    """Why the program is refused for answering from memory (empty: it is not), and the speed-up that was seen."""
    found = speedup(pairs)
    if found is None:
        return "", "unknown: no pair of answers was whole"
    told = f"{found.value:.2f} times as fast (median of {found.count} pairs, at least {found.low:.2f})"
    if found.low <= how.speedup_max:
        return "", told
    return (
        f"A prompt that is asked again is answered {told}, where {how.speedup_max:g} times are allowed: the server "
        "answers from memory.",
        told,
    )


def failures(window_requests: Sequence[Timed]) -> str:
    """Failed requests by kind; empty if there are none."""
    kinds = Counter(r.failure for r in window_requests if r.failure)
    return ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))


def failed_share(window_requests: Sequence[Timed]) -> float:
    """Share of the requests of the window that failed in any way."""
    return share_of(window_requests, lambda request: bool(request.failure))
