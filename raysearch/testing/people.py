"""People at terminals, and the inbox through which they reach a driver, in a simulated run."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from raysearch.board.types import Action, Author, Filing, Kind
from raysearch.steering import Command, Receipt, Steer

LOOKS_MAX = 60
"""A command is sent before the driver's so manieth look into its inbox."""
PERSON = Author("person", "somebody")


@dataclass(slots=True)
class SimInbox:
    """What `raysearch.inbox.Inbox` does with files: it outlives drivers, and each gets it with `driven`."""

    rng: random.Random
    full: float = 0.0
    """How often an answer cannot be written, as a probability from 0 to 1."""
    taken: dict[str, Command] = field(default_factory=dict)
    """In a driver's hands, or left there by one that died."""
    answers: dict[str, list[Receipt]] = field(default_factory=dict)
    """All that were given, by the command's name."""
    _sent: int = 0
    _looks: int = 0
    _coming: list[tuple[int, Command]] = field(default_factory=list)
    _in_hand: set[str] = field(default_factory=set)

    def driven(self, commands: Sequence[tuple[int, Command]]) -> SimInbox:
        """With a new driver, to whom ``commands`` are sent before the look of that number, counted from 1."""
        left = any(command.kind is Steer.PAUSE for command in self.taken.values())
        # The end that it was to have went with the last driver.
        end = [(LOOKS_MAX, Command(Steer.UNPAUSE))] if left else []
        self._looks, self._coming = 0, sorted([*commands, *end], key=lambda pair: pair[0])
        self._in_hand.clear()
        return self

    def take(self, recorded: Mapping[str, Receipt]) -> Sequence[tuple[str, Command]]:
        self._looks += 1
        while self._coming and self._coming[0][0] <= self._looks:
            self._sent += 1
            name = f"{self._sent:04d}"
            self.taken[name] = replace(self._coming.pop(0)[1], id=name, sent_at_s=float(self._sent), sender="somebody")
        found = []
        for name in sorted(self.taken):
            if name in recorded:
                self.answer(name, recorded[name])
            elif name not in self._in_hand:
                found.append((name, self.taken[name]))
        self._in_hand.update(name for name, _ in found)
        return found

    def answer(self, name: str, receipt: Receipt) -> None:
        if self.rng.random() < self.full:
            raise OSError("no space left on device")
        self.answers.setdefault(name, []).append(receipt)
        del self.taken[name]


def commands(rng: random.Random, attempts_max: int) -> tuple[tuple[int, Command], ...]:
    """What people say in one session, each with the driver's look before which it is sent. A pause has an end."""
    said: list[tuple[int, Command]] = []
    for _ in range(rng.randint(0, 8)):
        at = rng.randint(1, LOOKS_MAX)
        kind = rng.choice([*Steer, Steer.FILING, Steer.BUDGET])
        said.append((at, _command(kind, rng, attempts_max)))
        if kind is Steer.PAUSE:
            said.append((at + rng.randint(0, 20), Command(Steer.UNPAUSE)))
    return tuple(said)


def _command(kind: Steer, rng: random.Random, attempts_max: int) -> Command:
    match kind:
        case Steer.BUDGET:
            limits: dict[str, int | float | None] = {
                "open_max": rng.randint(1, 6),
                "attempts_max": rng.randint(attempts_max // 2, attempts_max + 6),
                "run_s": rng.choice((None, rng.uniform(1.0, 60.0))),
                "cost_usd": rng.choice((None, rng.uniform(0.1, 2.0))),
                "opne_max": 3,
            }
            names = rng.sample(sorted(limits), rng.randint(1, 2))
            return Command(kind, limits={name: limits[name] for name in names})
        case Steer.FILING:
            return Command(kind, filing=_filing(rng))
        case Steer.MESSAGE:
            return Command(kind, text=rng.choice(("try the other way", "smaller steps", " ")))
        case _:
            return Command(kind, text=rng.choice(("", "lunch")))


def _filing(rng: random.Random) -> Filing:
    kind, number = rng.choice(list(Kind)), rng.randint(1, 5)
    if rng.random() < 0.5:
        return Filing(Action.CREATE, PERSON, kind=kind, title=f"idea {number}", priority=rng.randint(-5, 5))
    return Filing(rng.choice(list(Action)), PERSON, number, text=rng.choice(("", "so it is")), title="another")
