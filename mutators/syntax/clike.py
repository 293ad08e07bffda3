"""C and C++, read by tree-sitter; edits are of the text, so that every byte outside of them stays as it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import tree_sitter
import tree_sitter_c
import tree_sitter_cpp

from mutators.syntax.clike_reader import Reader
from mutators.syntax.clike_words import grammar
from mutators.syntax.outline import READABLE_DEPTH_MAX, Checked, Outline, Unreadable


@dataclass(frozen=True, slots=True)
class CLike:
    """One of the two languages. What its grammar does not know, such as macros, is left alone."""

    name: str
    suffixes: tuple[str, ...]
    grammar: tree_sitter.Language = field(repr=False)
    empty: str = ";"
    hints: tuple[str, ...] = ("#pragma GCC unroll 4", "#pragma GCC unroll 8", "#pragma GCC ivdep")

    def read(self, text: bytes) -> Outline:
        """Raises Unreadable."""
        try:
            text.decode()
        except UnicodeDecodeError:
            raise Unreadable(1, "it is not UTF-8") from None
        tree = self._parsed(text)
        checked = self._checked(tree)
        if checked.depth > READABLE_DEPTH_MAX:
            raise Unreadable(1, "it is nested too deeply")
        reader = Reader(text)
        reader.walk(tree.root_node)
        if not reader.functions and tree.root_node.has_error:
            raise Unreadable(1, "no function in it can be read")
        return Outline(
            text,
            checked,
            grammar(text),
            tuple(reader.expressions),
            tuple(reader.statements),
            tuple(reader.literals),
            tuple(reader.operators),
            tuple(name.binding for name in reader.kinds.names),
            tuple(reader.functions),
            tuple(reader.loops),
            tuple(reader.reads),
        )

    def check(self, text: bytes) -> Checked | None:
        return self._checked(self._parsed(text))

    def _parsed(self, text: bytes) -> tree_sitter.Tree:
        return tree_sitter.Parser(self.grammar).parse(text)

    def _checked(self, tree: tree_sitter.Tree) -> Checked:
        tokens: list[bytes] = []
        errors = depth = 0
        cursor = tree.walk()
        while True:
            node = cursor.node
            assert node is not None
            depth = max(depth, cursor.depth)
            errors += node.is_error or node.is_missing
            if node.child_count and cursor.goto_first_child():
                continue
            if node.type != "comment" and node.text:
                tokens.append(node.text)
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return Checked(tree.root_node.descendant_count, tuple(tokens), depth, errors)

    def guarded(self, condition: str, inside: str, indent: str, step: str) -> str:
        lines = inside.split("\n")
        inner = "\n".join([lines[0], *(step + line if line else "" for line in lines[1:])])
        return f"if ({condition}) {{\n{indent}{step}{inner}\n{indent}}}"

    def assignment(self, name: str, operator: str, value: str) -> str:
        return f"{name} {operator}= {value};"

    def leaving(self, word: str, value: str = "") -> str:
        return f"{word} {value}".rstrip() + ";"


def c() -> CLike:
    return CLike("C", (".c",), tree_sitter.Language(tree_sitter_c.language()))


def cpp() -> CLike:
    suffixes = (".cpp", ".cc", ".cxx", ".h", ".hh", ".hpp", ".hxx")
    return CLike("C++", suffixes, tree_sitter.Language(tree_sitter_cpp.language()))
