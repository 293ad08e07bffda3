"""Findings as people and programs read them."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable
from typing import Self

import click

from raysearch.run.findings import Finding, Standing
from raysearch.sinks.lines import one_line

FINE_MAX, TOLD_MAX = 160, 600
"""Characters of what is said of what is fine, and of anything else."""
_COLOUR = {Standing.OK: "green", Standing.NOTE: None, Standing.WARN: "yellow", Standing.FAIL: "red"}


def page(findings: Iterable[Finding], width: int | None = None) -> str:
    """One finding below the other: standing, name, what was found, and how to mend it below that."""
    found = list(findings)
    width = width or min(shutil.get_terminal_size((110, 24)).columns, 120)
    names = max((len(finding.name) for finding in found), default=0)
    indent = " " * (names + 8)
    lines = []
    for finding in found:
        took = f"  ({finding.took_s:.2f} s)" if finding.took_s is not None else ""
        told = textwrap.wrap(one_line(finding.told, _length(finding)) + took, max(width - len(indent), 30)) or [""]
        mark = click.style(f"{finding.standing:<4}", fg=_COLOUR[finding.standing])
        lines.append(f"{mark}  {finding.name:<{names}}  {told[0]}".rstrip())
        lines += [indent + more for more in told[1:]]
        if finding.mend:
            mended = textwrap.wrap(f"→ {one_line(finding.mend, TOLD_MAX)}", max(width - len(indent), 30))
            lines += [indent + more for more in mended]
    return "\n".join(lines)


def _length(finding: Finding) -> int:
    return FINE_MAX if finding.standing is Standing.OK else TOLD_MAX


class Doing:
    """Says on stderr what is being done: on a terminal in one line that goes away, elsewhere line by line."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def __call__(self, words: str) -> None:
        if self._terminal:
            click.echo(f"\r\x1b[K{one_line(words, 70)} …", err=True, nl=False)
        else:
            click.echo(f"raysearch: {words}", err=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            click.echo("\r\x1b[K", err=True, nl=False)


def rows(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """For ``--json``."""
    return [
        {"name": f.name, "standing": f.standing.value, "told": f.told, "mend": f.mend, "took_s": f.took_s}
        for f in findings
    ]
