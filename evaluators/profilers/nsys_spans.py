"""Sums of an Nsight Systems database that its own reports do not give: how long each GPU was busy at all.

    python -I -S nsys_spans.py nsys.sqlite spans.json

Run in the sandbox, where the database came to be: a hostile one is opened there and nowhere else.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from typing import Any

ON_GPU = ("CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
ON_HOST = "CUPTI_ACTIVITY_KIND_RUNTIME"


def spans(path: Path) -> dict[str, Any]:
    """``span_s``: from the first to the last event of CUDA; ``busy_s``: of each device, overlaps counted once."""
    with sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        on_gpu = [table for table in ON_GPU if table in tables]
        if not on_gpu:
            return {"span_s": 0.0, "busy_s": {}}
        union = " UNION ALL ".join(f'SELECT deviceId, start, "end" FROM {table}' for table in on_gpu)
        busy: dict[int, int] = {}
        reached: dict[int, int] = {}
        first = last = None
        for device, begin, end in database.execute(f"{union} ORDER BY 2"):
            first = begin if first is None else first
            last = end if last is None else max(last, end)
            before = reached.get(device, begin)
            if end > before:
                busy[device] = busy.get(device, 0) + end - max(begin, before)
            reached[device] = max(before, end)
        if ON_HOST in tables:
            host = database.execute(f'SELECT MIN(start), MAX("end") FROM {ON_HOST}').fetchone()
            first = min(time for time in (first, host[0]) if time is not None)
            last = max(time for time in (last, host[1]) if time is not None)
    return {"span_s": ((last or 0) - (first or 0)) / 1e9, "busy_s": {str(d): ns / 1e9 for d, ns in busy.items()}}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(spans(Path(sys.argv[1]))))
