"""Counted loops of C and C++: their heads, and the same in steps."""

from __future__ import annotations

import re

from tree_sitter import Node

from mutators.syntax.clike_kinds import place_of, text_of
from mutators.syntax.outline import Loop, Place

_COUNTED = re.compile(
    r"for\s*\(\s*(?P<type>[\w\s:]+?)\s+(?P<name>\w+)\s*=\s*(?P<start>[^;,]+?)\s*;"
    r"\s*(?P=name)\s*<\s*(?P<end>[^;,&|]+?)\s*;\s*(?:(?P=name)\s*\+\+|\+\+\s*(?P=name)|(?P=name)\s*\+=\s*1)\s*\)",
)


def loop(node: Node, body: Node) -> Loop:
    """The loop of a ``for`` statement with a body."""
    source = text_of(node)
    head = source.encode()[: body.start_byte - node.start_byte].decode().rstrip()
    place = Place(node.start_byte, node.start_byte + len(head.encode()))
    return Loop(place_of(node), place, nested=_nested(body), tiled=_tiled(head))


def _nested(body: Node) -> Place | None:
    """The head of the ``for`` statement that ``body`` is, in braces or not."""
    inner = body
    if body.type == "compound_statement":
        parts = [child for child in body.named_children if child.type != "comment"]
        if len(parts) != 1:
            return None
        inner = parts[0]
    end = inner.child_by_field_name("body")
    if inner.type != "for_statement" or end is None:
        return None
    head = text_of(inner).encode()[: end.start_byte - inner.start_byte].rstrip()
    return Place(inner.start_byte, inner.start_byte + len(head))


def _tiled(head: str) -> str:
    """For a loop that counts up by one from a start to an end."""
    said = _COUNTED.fullmatch(head)
    if said is None or "{" in head:
        return ""
    kind, name, start, end = said["type"], said["name"], said["start"], said["end"]
    outer = f"{name}_0"
    return (
        f"for ({kind} {outer} = {start}; {outer} < {end}; {outer} += {{0}}) "
        f"for ({kind} {name} = {outer}; {name} < {end} && {name} < {outer} + {{0}}; {name}++)"
    )
