"""Load on servers, for the benchmarks of targets: docs/serving-benchmarks.md.

What is sent (`Prompts`, `Canaries`) and when (`OpenLoop` of `Poisson`, `Constant` or `Trace`; `ClosedLoop`), over which
protocol (`Chat`, `Completions`, or a `Dialect` or `Wire` of a target's own), for how long (`Window`): a `Scenario`.
`Server` runs what is measured, `measure` measures it, `run_benchmark` is the frame of the script around both.
"""

from evaluators.call import VOID_STATUS, Call
from evaluators.load.arrivals import Arrivals, ClosedLoop, Constant, Load, OpenLoop, Poisson, Trace
from evaluators.load.exchange import Exchange, GeneratorTrouble, Piece, Request, ServerTrouble
from evaluators.load.figures import Slo, Timed
from evaluators.load.http import HttpWire
from evaluators.load.judging import Punctuality
from evaluators.load.lengths import Fixed, Length, LogNormal, Uniform
from evaluators.load.measuring import Outcome, Scenario, measure, measure_over
from evaluators.load.openai import Chat, Completions
from evaluators.load.prompts import Canaries, Canary, Prompts, recall
from evaluators.load.repeats import RepeatProbe
from evaluators.load.script import run_benchmark, write_result
from evaluators.load.server import Server
from evaluators.load.sse import Events, Lines, Whole
from evaluators.load.tokens import Tolerance, words_and_marks
from evaluators.load.window import Window
from evaluators.load.wire import Dialect, Post, Wire

__all__ = [
    "VOID_STATUS",
    "Arrivals",
    "Call",
    "Canaries",
    "Canary",
    "Chat",
    "ClosedLoop",
    "Completions",
    "Constant",
    "Dialect",
    "Events",
    "Exchange",
    "Fixed",
    "GeneratorTrouble",
    "HttpWire",
    "Length",
    "Lines",
    "Load",
    "LogNormal",
    "OpenLoop",
    "Outcome",
    "Piece",
    "Poisson",
    "Post",
    "Prompts",
    "Punctuality",
    "RepeatProbe",
    "Request",
    "Scenario",
    "Server",
    "ServerTrouble",
    "Slo",
    "Timed",
    "Tolerance",
    "Trace",
    "Uniform",
    "Whole",
    "Window",
    "Wire",
    "measure",
    "measure_over",
    "recall",
    "run_benchmark",
    "words_and_marks",
    "write_result",
]
