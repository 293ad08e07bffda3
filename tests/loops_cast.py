"""A cast of scripted models for whole runs of the loops: who is asked is told from the prompt.

Parts, in turn: good, bad (refused), lazy (changes nothing), cheating (touches what is not its own), crashing (no usable
reply).
"""

from __future__ import annotations

import hashlib
import json
import re

from raysearch.testing.models import Request, Tokens, Turn

TOKENS = Tokens(prompt=1000, output=100)
VALUE = re.compile(r"^VALUE = (-?\d+)", re.MULTILINE)
ROLES = {
    "triage": "You decide whether the next round",
    "planner": "You plan the next step",
    "performance_evaluator": "You read what a framework has measured",
    "lessons_writer": "You turn what attempts at a program",
}
PARTS = ("good", "bad", "good", "lazy", "good", "cheating", "good", "crashing")


def role_of(request: Request) -> str:
    """Whose system prompt it is."""
    return next((role for role, begins in ROLES.items() if request.system.startswith(begins)), "implementer")


def drawn(request: Request, sides: int) -> int:
    """A number that is the same whenever the same words are said."""
    said = request.system + "".join(message.text for message in request.messages)
    return hashlib.sha256(said.encode()).digest()[0] % sides


def cast(request: Request) -> Turn:
    """One model that plays everybody."""
    role = role_of(request)
    if drawn(request, 11) == 0 and role != "implementer":
        return Turn("I would rather not say.", tokens=TOKENS)
    match role:
        case "triage":
            said: object = {"profile": drawn(request, 3) == 0, "focus": "the loop", "why": "to know"}
        case "planner":
            back = {"revert_to_round": 0} if drawn(request, 7) == 1 else {}
            said = {"title": "nearer", "change": "Bring VALUE nearer to 42.", "metric": "score", **back}
        case "performance_evaluator":
            issue = {"kind": "perf", "title": f"VALUE is off ({drawn(request, 200)})", "evidence": "the score"}
            said = {"explanation": "it is off", "issues": [issue] * (drawn(request, 4) > 0)}
        case "lessons_writer":
            said = {"lessons": ["go up"], "direction": "further"}
        case _:
            return implementer(request)
    return Turn(json.dumps(said), tokens=TOKENS)


def implementer(request: Request) -> Turn:
    """Patches the line that it was shown."""
    shown = VALUE.search("\n".join(message.text for message in request.messages))
    value = int(shown[1]) if shown else 3
    part = PARTS[request.number % len(PARTS)]
    better = value if value <= 100 else 3  # what was refused is mended
    line, new = f"VALUE = {value}", f"VALUE = {better + 1 + drawn(request, 5)}"
    if part == "crashing":
        return Turn("I have no idea.", tokens=TOKENS)
    if part == "bad":
        new = f"VALUE = {value + 1000}"
    if part == "lazy":
        new = line
    patch = f"answer.py\n<<<<<<< SEARCH\n{line}\n=======\n{new}\n>>>>>>> REPLACE\n"
    if part == "cheating":
        patch = "OBJECTIVE.md\n<<<<<<< SEARCH\n=======\nNothing matters.\n>>>>>>> REPLACE\n" + patch
    return Turn(f"Done.\n{patch}\nSUMMARY: {part}\nMEMORY: tried {new}\n", tokens=TOKENS)
