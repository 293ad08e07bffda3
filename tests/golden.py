"""Texts that must stay as they are. RAYSEARCH_GOLDEN=write writes them anew; look at the difference then."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

FOLDER = Path(__file__).with_name("data")


def same(name: str, text: str) -> None:
    """Raise AssertionError unless ``text`` is that of the file ``name`` below tests/data."""
    place = FOLDER / name
    if os.environ.get("RAYSEARCH_GOLDEN") == "write":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    kept = place.read_text(encoding="utf-8")
    changed = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), name, "now", lineterm=""))
    assert kept == text, changed or "only the end of the last line differs"
