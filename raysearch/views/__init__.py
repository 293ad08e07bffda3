"""The run as people and other tools look at it: a fold over the journal, and plain dictionaries from it.

`pages` are the texts of ``rounds/<n>.md``.
The dictionaries are the content of ``population.json``, ``rounds.json``, ``issues.json``, ``state.json`` and
``attempts/<n>/attempt.json``, and what the command line prints with ``--json``; docs/run-folder.md describes them.
Numbers that are not finite become null.
"""

from raysearch.views.documents import gain, mutators, population, rounds, summary, usage
from raysearch.views.issues import counts
from raysearch.views.projection import Projection, fold
from raysearch.views.round_pages import pages
from raysearch.views.rows import SCHEMA, Row, attempt, candidate_row, entries_of, objective_row, round_row
from raysearch.views.skyline import Skyline
from raysearch.views.spending import Spending, per_dollar, primary_of

__all__ = [
    "SCHEMA",
    "Projection",
    "Row",
    "Skyline",
    "Spending",
    "attempt",
    "candidate_row",
    "counts",
    "entries_of",
    "fold",
    "gain",
    "mutators",
    "objective_row",
    "pages",
    "per_dollar",
    "population",
    "primary_of",
    "round_row",
    "rounds",
    "summary",
    "usage",
]
