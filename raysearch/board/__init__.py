"""The issue board of a run: what stands on it, what may be filed, and how it comes from agents to the driver.

Pure but for `raysearch.board.outbox` (two files) and `raysearch.board.mcp` (the server that agents call).
"""

from raysearch.board.board import Board, Snapshot
from raysearch.board.permissions import READ_ONLY, ROLES, Permissions, permissions_of, permitted
from raysearch.board.types import Action, Author, Comment, Filing, Issue, Kind, Refusal, Status, order

__all__ = [
    "READ_ONLY",
    "ROLES",
    "Action",
    "Author",
    "Board",
    "Comment",
    "Filing",
    "Issue",
    "Kind",
    "Permissions",
    "Refusal",
    "Snapshot",
    "Status",
    "order",
    "permissions_of",
    "permitted",
]
