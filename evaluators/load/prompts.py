"""Fresh prompts: no two alike, drawn from a secret seed, some of them with an answer that is known.

Lengths come from the seed alone, so two candidates of a run get the same load. The words come from the seed and a
*nonce* besides, which is drawn when the server is already up: a server that finds out the seed (it is an argument of
the benchmark's command, and a process can read the commands of its neighbours) still cannot work ahead. Seed and nonce
together give the same prompts again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evaluators.load.exchange import Kind, Request
from evaluators.load.given import share, whole
from evaluators.load.lengths import Length, as_length
from raysearch.errors import TargetError
from raysearch.seeds import stream

DISTINCT = 2**32
"""So many different prompts, at least, must be possible at the shortest length."""
TRIES = 100
_COMMON = """
able acid aged also area army away baby back ball band bank base bath bean bear beat been bell belt best bird blow
blue boat body bone book born boss both bowl bulk burn bush busy cake call calm came camp card care case cash cast
cell chat chip city club coal coat code cold come cook cool cope copy core cost crew crop dark data date dawn days
deal dear debt deep deny desk dial diet disk does done door down draw drew drop drug dual duke dust duty each earn
east easy edge else even ever face fact fail fair fall farm fast fate fear feed feel feet fell felt file fill film
find fine fire firm fish five flat flow food foot ford form fort four free from fuel full fund gain game gate gave
gear gift girl give glad goal gold gone good gray grew grow gulf hair half hall hand hang hard harm hate have head
hear heat held help here hero high hill hire hold hole holy home hope host hour huge hung hunt idea inch into iron
item join jump jury just keen keep kept kick kind king knew know lack lady laid lake land lane last late lead left
less life lift like line link list live load loan lock logo long look lord lose loss lost love luck made mail main
make male many mark mass matt meal mean meat meet menu mere mile milk mind mine miss mode mood moon more most move
"""
WORDS = tuple(_COMMON.split())
"""Common English words, each one token or two to most models."""
_LETTERS = "bcdfghjklmnpqrstvwxz"


@dataclass(frozen=True, slots=True)
class Canary:
    """A prompt with a known answer: ``right`` says whether a text is one."""

    prompt: str
    right: Callable[[str], bool]


MakeCanary = Callable[[random.Random, str], Canary]
"""From a generator and a filler of fresh words, as long as other prompts are."""


def recall(rng: random.Random, filler: str) -> Canary:
    """Asks for a code word that stands anywhere in the prompt: for models that follow instructions.

    A cached answer, one made from part of the prompt, or one from no model at all does not hold it.
    """
    code = "".join(rng.choices(_LETTERS, k=10))
    words = filler.split()
    place = rng.randrange(len(words) + 1)
    told = [*words[:place], f"(The code word is {code}.)", *words[place:]]
    return Canary(f"{' '.join(told)}\nRepeat the code word.", lambda text: code in text)


@dataclass(frozen=True, slots=True)
class Canaries:
    """Which part of the load has a known answer, and how much of it must be right.

    ``share``: of all prompts, mixed in at random. ``right_min``: share of canaries answered right below which the
    program is refused; give models that may err their due.
    """

    make: MakeCanary = recall
    share: float = 0.1
    right_min: float = 0.9

    def __post_init__(self) -> None:
        share("share", self.share)
        share("right_min", self.right_min)


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is asked: ``words`` a prompt, ``tokens`` an answer.

    ``exact``: answers must have exactly so many tokens (the model's end of text is ignored), which is verified;
    otherwise at most so many. ``shared_words`` open every prompt alike, as a system prompt does; the rest is fresh.
    """

    words: Length | int
    tokens: Length | int
    exact: bool = True
    shared_words: int = 0
    canaries: Canaries | None = None
    vocabulary: Sequence[str] = WORDS

    def __post_init__(self) -> None:
        whole("shared_words", self.shared_words, 0)
        least, kinds = as_length(self.words).least, len(set(self.vocabulary))
        if kinds**least < DISTINCT:
            raise TargetError(
                f"prompts of {least} words out of {kinds} would repeat: make the shortest prompt longer, or the "
                "vocabulary larger"
            )

    def describe(self) -> str:
        answer = as_length(self.tokens).describe()
        prefix = f" after {self.shared_words} shared ones" if self.shared_words else ""
        return (
            f"{as_length(self.words).describe()} words{prefix}; answers {'' if self.exact else 'up to '}{answer} tokens"
        )


class Source:
    """Requests by number; equal seeds and nonces give equal requests, and no prompt comes twice."""

    def __init__(self, prompts: Prompts, *, seed: int, nonce: int, label: str = "") -> None:
        self._prompts = prompts
        self._words, self._tokens = as_length(prompts.words), as_length(prompts.tokens)
        self._seed, self._nonce, self._label = seed, nonce, label
        self._vocabulary = tuple(prompts.vocabulary)
        self._seen: set[str] = set()
        opening = self._draw(stream(seed, nonce, "shared words"), prompts.shared_words)
        self._opening = f"{opening} " if opening else ""

    def request(self, number: int) -> Request:
        """A request that has not been made before. Ask for each number once."""
        prompts = self._prompts
        lengths = stream(self._seed, self._label, "lengths", number)
        count, tokens = self._words.draw(lengths), self._tokens.draw(lengths)
        known = prompts.canaries is not None and lengths.random() < prompts.canaries.share
        rng = stream(self._seed, self._nonce, self._label, "words", number)
        for _ in range(TRIES):
            filler = self._draw(rng, count)
            canary = prompts.canaries.make(rng, filler) if known and prompts.canaries else None
            prompt = self._opening + (canary.prompt if canary else filler)
            if prompt not in self._seen:
                self._seen.add(prompt)
                kind: Kind = "canary" if canary else "fresh"
                return Request(number, prompt, tokens, prompts.exact, kind, canary.right if canary else None)
        raise TargetError(f"{TRIES} prompts in a row had been asked before: let canaries draw what they ask for")

    def _draw(self, rng: random.Random, count: int) -> str:
        return " ".join(rng.choices(self._vocabulary, k=count))
