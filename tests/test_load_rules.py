"""What counts, what is refused and what is void: by servers that misbehave, in virtual time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load_virtual import Queue, VirtualLoop, virtually

from evaluators.load import (
    Canaries,
    ClosedLoop,
    Constant,
    Exchange,
    GeneratorTrouble,
    OpenLoop,
    Outcome,
    Piece,
    Poisson,
    Prompts,
    Punctuality,
    RepeatProbe,
    Request,
    Scenario,
    ServerTrouble,
    Slo,
    Tolerance,
    Trace,
    Uniform,
    Window,
    Wire,
    measure_over,
    words_and_marks,
)
from evaluators.load.figures import Reading, delays, rates, timed
from raysearch.errors import TargetError

TEN = Prompts(words=8, tokens=10)
SCENARIO = Scenario(OpenLoop(Constant(10.0)), Window(1.0, 10.0), TEN, timeout_s=5.0)


def found(wire: Wire, scenario: Scenario = SCENARIO, watch: Callable[[], str] = lambda: "", seed: int = 1) -> Outcome:
    return virtually(measure_over(wire, scenario, seed=seed, nonce=2, watch=watch))


def steady(request: Request) -> float:
    return 0.05


def answer(request: Request) -> str:
    return "word " * request.tokens


class Talk:
    """A server that says what it is told to: pieces, and how long each takes to come."""

    def __init__(self, say: Callable[[Request], list[tuple[float, Piece]]]) -> None:
        self._say = say

    async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
        for wait_s, piece in self._say(request):
            await asyncio.sleep(wait_s)
            yield piece


def test_a_freeze_is_seen_by_all_who_came_meanwhile() -> None:
    """A server that stops for 3 s in the middle: the open loop goes on asking, and counts from when it should have."""

    def frozen(request: Request) -> float:
        return 3.0 if request.number == 50 else 0.01

    queue = Queue(frozen)
    outcome = found(queue, replace(SCENARIO, repeats=None))
    assert [at_s for at_s, _ in queue.asked] == pytest.approx([number / 10 for number in range(len(queue.asked))])
    waited = [request.e2e_ms for request in outcome.requests if request.e2e_ms > 100]
    assert len(waited) == 33  # 3 s at 10 requests a second, and the backlog's end
    assert max(waited) == pytest.approx(3000)
    assert outcome["e2e_ms.p99"].value > 2500
    # A closed loop of one user meets the freeze once, and its percentiles hide it: which is why there are open loops.
    hidden = found(Queue(frozen), replace(SCENARIO, load=ClosedLoop(1, 0.09)))
    assert hidden["e2e_ms.p90"].value == pytest.approx(10)


def test_a_request_belongs_where_it_was_due_and_an_answer_where_it_came() -> None:
    """Window from 10 s to 20 s; each request takes 4 s. Due at 9: only its answer counts. Due at 18: only its delay."""
    times = Trace([0.0, 9.0, 12.0, 18.0, 21.0, 40.0])
    scenario = replace(SCENARIO, load=OpenLoop(times), window=Window(10.0, 10.0), samples=1, repeats=None)
    outcome = found(Queue(lambda request: 4.0, servers=9), scenario)
    assert outcome["e2e_ms.mean"].conditions["whole window"].endswith("of 2")
    assert outcome["requests_per_s"].value == pytest.approx(2 / 10)
    assert outcome["tokens_per_s"].value == pytest.approx(20 / 10)
    assert "2 in the warm-up, 2 in the window, of which 1 ended in the drain" in outcome.conditions["requests"]


def test_the_load_goes_on_until_the_window_s_last_answer() -> None:
    queue = Queue(lambda request: 2.0, servers=99)
    found(queue, replace(SCENARIO, repeats=None))
    assert queue.asked[-1][0] == pytest.approx(12.9, abs=0.11)  # the last of the window was due at 10.9


def test_a_failure_is_never_faster_than_a_success() -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        if request.number % 2:
            raise ServerTrouble("status 503: busy")
        return [(0.1, Piece(answer(request), last=True))]

    outcome = found(Talk(say), replace(SCENARIO, slo=Slo(e2e_ms=1000)))
    assert outcome["e2e_ms.p90"].value == 5000.0
    assert outcome["failed_share"].value == pytest.approx(0.5)
    assert outcome["goodput_per_s"].value == pytest.approx(5.0)
    assert outcome["requests_per_s"].value == pytest.approx(5.0)
    assert outcome.conditions["failures"] == "50 server"
    refused = found(Talk(say), replace(SCENARIO, failed_max=0.1))
    assert "50 of 100 requests got no whole answer" in refused.refused
    assert "status 503: busy" in refused.refused


def test_an_answer_that_does_not_come_is_given_up_when_its_time_is_over() -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        hang = request.number in (30, 31)
        return [(0.1, Piece("word ")), (1e6 if hang else 0.1, Piece(answer(request)[5:], last=True))]

    outcome = found(Talk(say))
    late = [request for request in outcome.requests if request.failure]
    assert [request.exchange.request.number for request in late] == [30, 31]
    assert all(request.exchange.ended_s == pytest.approx(request.exchange.due_s + 5) for request in late)
    assert outcome.conditions["failures"] == "2 time"


def test_a_server_that_answers_nothing_is_refused() -> None:
    outcome = found(Talk(lambda request: [(1e6, Piece("too late"))]))
    assert outcome.refused.startswith("None of the 100 requests of the window got a whole answer")
    stuck = found(Talk(lambda request: [(1e6, Piece())]), replace(SCENARIO, load=ClosedLoop(1), timeout_s=60.0))
    assert "No request could be sent" in stuck.refused


def test_users_do_not_storm_a_server_that_is_down() -> None:
    calls: list[float] = []

    def say(request: Request) -> list[tuple[float, Piece]]:
        calls.append(asyncio.get_running_loop().time())
        raise ServerTrouble("connection refused")

    found(Talk(say), replace(SCENARIO, load=ClosedLoop(2), repeats=None))
    assert len(calls) == pytest.approx(2 * 11 * 10, abs=4)


@pytest.mark.parametrize("tokens", [0, 1, 5])
def test_answers_that_are_too_short_are_refused(tokens: int) -> None:
    outcome = found(Queue(steady, say=lambda request: "word " * tokens))
    assert f"100 of 100 answers have the wrong length; one has {tokens} tokens where exactly 10" in outcome.refused


def test_one_short_answer_in_a_hundred_is_seen() -> None:
    def say(request: Request) -> str:
        return "word " * (5 if request.number == 60 else 10)

    assert "1 of 100 answers" in found(Queue(steady, say=say)).refused
    assert not found(Queue(steady, say=say), replace(SCENARIO, wrong_length_max=0.05)).refused


def test_padding_is_refused_and_never_counted() -> None:
    def say(request: Request) -> str:
        return "word " * 30

    outcome = found(Queue(steady, say=say))
    assert "one has 30 tokens where exactly 10" in outcome.refused
    slack = found(Queue(steady, say=say), replace(SCENARIO, tolerance=Tolerance(share=3.0)))
    assert slack["tokens_per_s"].value == pytest.approx(100)


def test_answers_may_be_shorter_where_no_exact_length_is_asked() -> None:
    scenario = replace(SCENARIO, prompts=replace(TEN, exact=False))
    outcome = found(Queue(steady, say=lambda request: "word " * 4), scenario)
    assert not outcome.refused
    assert outcome["tokens_per_s"].value == pytest.approx(40)


@pytest.mark.parametrize("cut", [1, 2, 7, 50])
def test_tokens_do_not_depend_on_how_an_answer_is_cut_nor_on_what_the_server_claims(cut: int) -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        text = answer(request)
        pieces = [text[start : start + cut] for start in range(0, len(text), cut)]
        parts = [(0.2 / len(pieces), Piece(piece)) for piece in pieces]
        return [*parts, (0.0, Piece(last=True, usage_tokens=70))]

    outcome = found(Talk(say))
    assert outcome["tokens_per_s"].value == pytest.approx(100, rel=0.01)
    assert outcome.conditions["usage"] == "100 of 100 differ from the recount, 7.000 times as many in all"
    assert float(outcome.conditions["tokens a chunk"]) == pytest.approx(10 / math.ceil(50 / cut), rel=0.01)


def test_text_held_back_does_not_make_tokens_look_fast() -> None:
    """Nine tokens at once and the last a moment later: one token came in that moment, not ten."""

    def say(request: Request) -> list[tuple[float, Piece]]:
        return [(0.9, Piece("word " * 9)), (0.1, Piece("word", last=True))]

    outcome = found(Talk(say))
    assert outcome["itl_ms.mean"].value == pytest.approx(100)
    at_once = found(Talk(lambda request: [(1.0, Piece(answer(request), last=True))]), replace(SCENARIO, streamed=True))
    assert "100 of 100 answers came in one piece" in at_once.refused
    assert not any(measurement.name.startswith("itl_ms") for measurement in at_once.measurements)


def test_blanks_are_no_first_token() -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        return [(0.0, Piece(" ")), (0.0, Piece("\n")), (0.5, Piece("word ")), (0.5, Piece("word " * 9, last=True))]

    assert found(Talk(say))["ttft_ms.p50"].value == pytest.approx(500)


def cached(work_s: float, hit: Callable[[Request], list[tuple[float, Piece]]]) -> Talk:
    """Remembers prompts, and answers by ``hit`` what it has seen before."""
    seen: set[str] = set()

    def say(request: Request) -> list[tuple[float, Piece]]:
        if request.prompt in seen:
            return hit(request)
        seen.add(request.prompt)
        return [(work_s, Piece("word ")), *[(0.01, Piece("word ")) for _ in range(9)], (0.0, Piece(last=True))]

    return Talk(say)


def test_a_response_cache_gains_nothing_from_fresh_prompts_and_is_refused() -> None:
    outcome = found(cached(0.1, lambda request: [(0.0, Piece(answer(request), last=True))]))
    assert outcome["e2e_ms.p50"].value == pytest.approx(190)
    assert "A prompt that is asked again is answered" in outcome.refused
    assert "from memory" in outcome.refused


def test_a_prefix_cache_is_no_response_cache() -> None:
    """What was read before need not be read again; each token still has to be made."""

    def hit(request: Request) -> list[tuple[float, Piece]]:
        return [(0.001, Piece("word ")), *[(0.01, Piece("word ")) for _ in range(9)], (0.0, Piece(last=True))]

    outcome = found(cached(0.5, hit))
    assert not outcome.refused
    assert outcome.conditions["asked again"] == "1.00 times as fast (median of 12 pairs, at least 1.00)"


def test_a_memory_for_answers_alone_is_seen_behind_slow_reading() -> None:
    """The prompt takes its second again, the answer is there at once: 1.1 times as fast in all, and yet remembered."""
    outcome = found(cached(1.0, lambda request: [(1.0, Piece(answer(request), last=True))]))
    assert "from memory" in outcome.refused


def test_a_cache_without_streaming_is_seen_by_the_whole_time() -> None:
    hits = Queue(steady)
    seen: set[str] = set()

    def service_s(request: Request) -> float:
        known = request.prompt in seen
        seen.add(request.prompt)
        return 0.001 if known else 0.05

    assert not found(hits).refused
    assert "from memory" in found(Queue(service_s)).refused
    assert not found(Queue(service_s), replace(SCENARIO, repeats=None)).refused


KNOWN = replace(SCENARIO, prompts=replace(TEN, exact=False, canaries=Canaries(share=0.3)))


def recalls(request: Request, reads: Callable[[str], str] = lambda prompt: prompt) -> str:
    """As a model that follows instructions, having read that much of the prompt."""
    _, told, rest = reads(request.prompt).partition("(The code word is ")
    return rest.partition(".)")[0] if told else "word " * 5


def test_right_answers_pass() -> None:
    outcome = found(Queue(steady, say=recalls), KNOWN)
    right, of = outcome.conditions["canaries"].removesuffix(" right").split(" of ")
    assert right == of
    assert int(of) > 20
    assert not outcome.refused


CHEATS: dict[str, Callable[[Request], str]] = {
    "one answer for all": lambda request: "The code word is bcdfghjklm.",
    "only the start is read": lambda request: recalls(request, lambda prompt: " ".join(prompt.split()[:4])),
    "only the end is read": lambda request: recalls(request, lambda prompt: " ".join(prompt.split()[-8:])),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_answers_that_were_not_worked_for_are_refused(cheat: str) -> None:
    outcome = found(Queue(steady, say=CHEATS[cheat]), KNOWN)
    assert outcome.refused.startswith("Of the requests whose answer is known, ")
    assert not outcome.void


class Stalling(Queue):
    """Its machine is kept from its work at one request: with it, the generator, which is on the same one."""

    def __init__(self, at: int, lasts_s: float) -> None:
        super().__init__(lambda request: 0.02, servers=9)
        self._at, self._lasts_s = at, lasts_s

    async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
        if request.number == self._at:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.stall(self._lasts_s)
        async for piece in super().exchange(request):
            yield piece


def test_a_generator_that_is_late_voids_the_measurement_and_refuses_nobody() -> None:
    outcome = found(Stalling(50, 0.5))
    assert outcome.void.startswith("the load generator could not keep its schedule: 1 % of the requests left more than")
    assert not outcome.refused
    assert not found(Stalling(50, 0.0)).void


def test_lateness_counts_as_latency_all_the_same() -> None:
    """Requests that were held up leave at once, and are measured from when they were due."""
    outcome = found(Stalling(50, 0.5))
    held = [request for request in outcome.requests if request.exchange.late_s > 0.05]
    assert [request.exchange.request.number for request in held] == [51, 52, 53, 54]
    assert all(request.e2e_ms == pytest.approx(20 + request.exchange.late_s * 1e3) for request in held)
    assert all(request.ttft_ms == pytest.approx(request.e2e_ms) for request in held)


def test_a_time_limit_counts_from_when_a_request_was_due() -> None:
    class Hanging(Stalling):
        async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
            async for piece in super().exchange(request):
                await asyncio.sleep(100 if request.number == 52 else 0)
                yield piece

    [hung] = [request for request in found(Hanging(50, 0.5)).requests if request.failure]
    assert hung.exchange.late_s == pytest.approx(0.3)
    assert hung.exchange.ended_s == pytest.approx(hung.exchange.due_s + 5)


def test_nobody_is_refused_for_being_slow_while_the_generator_was_late() -> None:
    """A stall of 3 s where answers must come within 2: it is not the server that was too slow."""
    scenario = replace(SCENARIO, timeout_s=2.0, failed_max=0.0)
    outcome = found(Stalling(50, 3.0), scenario)
    assert outcome.conditions["failures"] == "11 time"
    assert outcome.void
    assert not outcome.refused


def test_lateness_that_is_small_beside_the_answers_is_borne() -> None:
    """4 of 100 requests leave up to 0.4 s late, where answers take 20 ms: void. A bound that allows it: not."""
    bearable = replace(SCENARIO, punctuality=Punctuality(late_ms=500))
    assert not found(Stalling(50, 0.5), bearable).void


def test_long_waits_do_not_excuse_a_late_generator() -> None:
    """2 % of answers that take 4 s would be 80 ms: but tokens are timed too."""

    class Slow(Stalling):
        async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
            async for piece in super().exchange(request):
                await asyncio.sleep(2)
                yield piece

    lax = replace(SCENARIO, punctuality=Punctuality(late_most_ms=80))
    assert not found(Slow(50, 0.07), lax).void
    assert found(Slow(50, 0.07)).void == ""  # 1 % of 100 requests is one
    assert "where 20.0 ms are allowed" in found(Slow(50, 0.2)).void


def test_a_closed_loop_is_voided_by_missed_turns() -> None:
    scenario = replace(SCENARIO, load=ClosedLoop(3), window=Window(1.0, 4.0), repeats=None)
    outcome = found(Stalling(200, 0.5), scenario)
    assert outcome.void.startswith("the load generator did not get its turn")


def test_being_out_of_sockets_is_nobody_s_fault() -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        if request.number == 40:
            raise GeneratorTrouble("OSError: [Errno 24] Too many open files")
        return [(0.05, Piece(answer(request), last=True))]

    outcome = found(Talk(say))
    assert outcome.void.startswith("requests that failed on the load generator's side: 1, ")
    assert not outcome.refused


def test_what_a_server_said_counts_even_if_the_generator_was_late() -> None:
    class Both(Stalling):
        async def exchange(self, request: Request) -> AsyncGenerator[Piece, None]:
            async for piece in super().exchange(request):
                yield replace(piece, text=piece.text[:5])

    outcome = found(Both(50, 0.5))
    assert "wrong length" in outcome.refused
    assert not outcome.void


def test_a_server_that_dies_ends_the_load_at_once() -> None:
    queue = Queue(steady)

    def watch() -> str:
        return "The server ended by itself, with signal SIGSEGV." if len(queue.asked) > 30 else ""

    outcome = found(queue, watch=watch)
    assert outcome.refused == "The server ended by itself, with signal SIGSEGV."
    assert len(queue.asked) < 35


def test_a_mistake_in_a_target_s_own_wire_is_not_hidden() -> None:
    def say(request: Request) -> list[tuple[float, Piece]]:
        raise KeyError("choices")

    with pytest.raises(KeyError, match="choices"):
        found(Talk(say))


def test_a_window_without_requests_is_a_mistake() -> None:
    with pytest.raises(TargetError, match=r"no request is due in a window of 0\.01 s"):
        found(Queue(steady), replace(SCENARIO, window=Window(1.01, 0.01)))


def test_equal_seeds_give_equal_measurements_and_labels_tell_loads_apart() -> None:
    scenario = replace(
        SCENARIO, load=OpenLoop(Poisson(15.0)), prompts=Prompts(words=Uniform(8, 20), tokens=Uniform(3, 9))
    )

    def run(label: str = "", seed: int = 1) -> Outcome:
        return found(Queue(lambda request: 0.01 * request.tokens), replace(scenario, label=label), seed=seed)

    one, same, other, low = run(), run(), run(seed=2), run("low")
    assert one.measurements == same.measurements
    assert one.conditions["load digest"] == same.conditions["load digest"]
    assert one["e2e_ms.mean"] != other["e2e_ms.mean"]
    assert {m.name for m in low.measurements} == {f"low.{m.name}" for m in one.measurements}
    assert low.conditions["load digest"] != one.conditions["load digest"]


def test_users_keep_to_their_own_requests_whatever_the_others_do() -> None:
    """The requests of a closed loop do not depend on which answer came first."""
    asked: dict[float, list[str]] = {}
    for slow_s in (0.05, 0.4):
        queue = Queue(lambda request, slow_s=slow_s: slow_s if request.number % 3 == 0 else 0.1, servers=3)
        found(queue, replace(SCENARIO, load=ClosedLoop(3), repeats=None))
        asked[slow_s] = [request.prompt for _, request in queue.asked if request.number % 3 == 1]
    count = min(map(len, asked.values()))
    assert count > 50
    numbers = [request.number for _, request in queue.asked]
    assert len(set(numbers)) == len(numbers)
    assert asked[0.05][:count] == asked[0.4][:count]


exchanges = st.builds(
    lambda number, due_s, late_s, waits_s, asked, trouble: Exchange(
        Request(number, "?", asked, exact=False),
        due_s,
        due_s + late_s,
        due_s + late_s + sum(waits_s),
        "word " * len(waits_s),
        [due_s + late_s + sum(waits_s[: place + 1]) for place in range(len(waits_s))],
        [5] * len(waits_s),
        due_s + late_s + waits_s[0] if waits_s else None,
        5 if waits_s else 0,
        trouble=trouble,
    ),
    st.integers(0, 10**6),
    st.floats(0, 30),
    st.floats(0, 0.1),
    st.lists(st.floats(0, 3), max_size=8),
    st.integers(1, 12),
    st.sampled_from(["", "", "", "server", "time"]),
)


@given(st.lists(exchanges, min_size=1, max_size=60), st.integers(1, 12))
def test_figures_are_finite_ordered_and_add_up(recorded: list[Exchange], samples: int) -> None:
    window = Window(5.0, 10.0)
    requests = [timed(e, words_and_marks, Tolerance(tokens=99), 60.0) for e in sorted(recorded, key=lambda e: e.due_s)]
    counted = [r for r in requests if window.phase(r.exchange.due_s) == "window"]
    slo = Slo(ttft_ms=2000, itl_ms=1500)
    found = {m.name: m for m in [*rates(requests, window, slo, Reading(samples=samples)), *delays(counted, Reading())]}
    assert all(math.isfinite(sample) and sample >= 0 for m in found.values() for sample in m.samples)
    assert all(1 <= len(m.samples) <= max(samples, 10) for m in found.values())
    whole = [r for r in requests if not r.failure]
    ended = sum(1 for r in whole if window.phase(r.exchange.ended_s) == "window")
    per_s = found["requests_per_s"].samples
    assert sum(per_s) / len(per_s) * window.measure_s == pytest.approx(ended)
    kept = [r for r in counted if slo.holds(r)]
    good = found["goodput_per_s"].samples
    assert sum(good) / len(good) * window.measure_s == pytest.approx(len(kept))
    assert len(kept) <= len(counted)
    tokens = found["tokens_per_s"].samples
    assert sum(tokens) / len(tokens) * window.measure_s <= sum(r.tokens for r in whole) + 1e-6
    for r in requests:
        assert r.ttft_ms <= r.e2e_ms + 1e-6
        assert r.tokens <= r.exchange.request.tokens
        assert not (r.failure and (r.tokens or r.e2e_ms != 60_000))
    if counted:
        assert found["e2e_ms.p50"].value <= found["e2e_ms.p90"].value <= found["e2e_ms.p99"].value or samples > 1


def test_a_repeat_probe_wants_several_pairs() -> None:
    with pytest.raises(TargetError, match="pairs is 1"):
        RepeatProbe(pairs=1)


def test_an_slo_without_a_bound_is_none() -> None:
    with pytest.raises(TargetError, match="at least one bound"):
        Slo()
