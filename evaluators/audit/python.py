"""Rules for Python: each takes a file that has been read and gives the signs that it finds."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from evaluators.audit.ground import Ground
from evaluators.audit.known import ATTRIBUTES, NATIVE, USES, Weight
from evaluators.audit.names import Names
from evaluators.audit.signs import Severity, Sign, clipped

NODES_MAX = 400_000
NESTED_MAX = 5
"""Texts that are run, in texts that are run."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Python file, taken apart."""

    path: str
    lines: tuple[str, ...]
    nodes: tuple[ast.AST, ...]
    names: Names
    ground: Ground
    parents: dict[int, ast.AST] = field(repr=False)
    as_script: frozenset[int] = frozenset()
    """Nodes that run only where the file is started as a program."""
    nested: int = 0
    own: frozenset[str] = frozenset()

    def sign(self, rule: str, node: ast.AST, what: str, severity: Severity = "refuse") -> Sign:
        line = getattr(node, "lineno", 0)
        evidence = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        return Sign(rule, self.path, line, clipped(what, 120), clipped(evidence), severity)

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self.parents.get(id(node))

    def is_loaded(self, node: ast.AST) -> bool:
        """Whether a name or attribute is read rather than assigned to."""
        return isinstance(getattr(node, "ctx", None), ast.Load)


Rule = Callable[[Source], Iterator[Sign]]


def read(
    path: str, content: bytes | str, ground: Ground, own: frozenset[str] = frozenset(), nested: int = 0
) -> Source | None:
    """The file, or None where Python cannot read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes: list[ast.AST] = []
    parents: dict[int, ast.AST] = {}
    for node in ast.walk(tree):
        nodes.append(node)
        for child in ast.iter_child_nodes(node):
            parents[id(child)] = node
        if len(nodes) > NODES_MAX:
            return None
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    lines = tuple(text.splitlines())
    names = Names(tree, own)
    return Source(path, lines, tuple(nodes), names, ground, parents, _only_as_script(tree), nested, own)


def _only_as_script(tree: ast.Module) -> frozenset[int]:
    """What is below ``if __name__ == "__main__":``, and the functions that are named nowhere else."""
    guarded: set[int] = set()
    called: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.If) and _asks_for_main(node.test):
            inner = [part for statement in node.body for part in ast.walk(statement)]
            guarded |= {id(part) for part in inner}
            called |= {part.id for part in inner if isinstance(part, ast.Name)}
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in called}
    while functions:
        named = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in guarded
        }
        private = [name for name in functions if name not in named]
        if not private:
            break
        for name in private:
            guarded |= {id(part) for part in ast.walk(functions.pop(name))}
    return frozenset(guarded)


def _asks_for_main(test: ast.expr) -> bool:
    match test:
        case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")]):
            return True
        case _:
            return False


def uses(source: Source) -> Iterator[Sign]:
    """Functions and values of libraries, under whatever name."""
    for node in source.nodes:
        if not isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            continue
        above = source.parent(node)
        if isinstance(above, ast.Attribute) and source.names.dotted(above) is not None:
            continue  # the whole of it is looked at
        dotted = source.names.dotted(node)
        if dotted is None or (isinstance(node, ast.Call) and source.names.dotted(node.func) == dotted):
            continue
        found = _weight(dotted, source.ground)
        if found is not None:
            yield source.sign(found[0], node, dotted, found[1])
        elif (dotted == "sys.argv" or dotted.startswith("sys.argv.")) and id(node) not in source.as_script:
            yield source.sign("evaluator-process", node, "sys.argv")


def _weight(dotted: str, ground: Ground) -> Weight | None:
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        found = USES.get(".".join(parts[:length]))
        if found is not None:
            return None if found[0] == "network" and ground.network else found
    return None


def attributes(source: Source) -> Iterator[Sign]:
    """Attributes that lead into callers, whatever they are asked of."""
    for node in source.nodes:
        name: str | None = None
        if isinstance(node, ast.Attribute):
            name = node.attr
        elif isinstance(node, ast.Call) and len(node.args) >= 1:
            function = source.names.dotted(node.func)
            if function in ("builtins.getattr", "inspect.getattr_static") and len(node.args) >= 2:
                name = source.names.text(node.args[1])
            elif function in ("operator.attrgetter", "operator.methodcaller"):
                name = source.names.text(node.args[0])
        for part in (name or "").split("."):
            if part in ATTRIBUTES:
                rule, severity = ATTRIBUTES[part]
                yield source.sign(rule, node, f".{part}", severity)
            elif part in NATIVE and _speaks_to_c(source):
                rule, severity = NATIVE[part]
                yield source.sign(rule, node, f".{part}", severity)
        if name == "__subclasses__" and not (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in source.names.defined
        ):
            yield source.sign("hidden-code", node, ".__subclasses__ of a class that is not its own")
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value in NATIVE
            and _speaks_to_c(source)
        ):
            rule, severity = NATIVE[node.value]
            yield source.sign(rule, node, node.value, severity)


def _speaks_to_c(source: Source) -> bool:
    return any(name.partition(".")[0] in ("ctypes", "cffi") for name in source.names.aliases.values())


def hidden_names(source: Source) -> Iterator[Sign]:
    """Names of what is looked up in sensitive modules that only running the program tells."""
    for node in source.nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = source.names.dotted(node.func)
        if function in ("builtins.getattr", "builtins.setattr") and len(node.args) >= 2:
            of = source.names.dotted(node.args[0])
            if of in _SENSITIVE and source.names.text(node.args[1]) is None:
                yield source.sign("hidden-code", node, f"a name of {of} that is not in the source")
        elif function in ("builtins.__import__", "importlib.import_module") and not source.names.text(node.args[0]):
            shape = source.names.folded(node.args[0])
            known = (isinstance(shape, str) and len(shape.partition("{}")[0]) >= 2) or _listed(source, node.args[0])
            yield source.sign(
                "hidden-code", node, "an import whose name is not in the source", "suspicious" if known else "refuse"
            )


def _listed(source: Source, node: ast.expr) -> bool:
    """Whether a text is chosen from some that stand in the source."""
    if isinstance(node, ast.Subscript):
        node = node.value
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        node = node.func.value
    else:
        return False
    display = source.names.texts.get(node.id, node) if isinstance(node, ast.Name) else node
    if isinstance(display, ast.Dict):
        return all(source.names.text(value) is not None for value in display.values)
    return isinstance(display, ast.List | ast.Tuple) and all(source.names.text(v) is not None for v in display.elts)


_SENSITIVE = frozenset(
    {"os", "sys", "builtins", "time", "inspect", "gc", "ctypes", "builtins.__builtins__", "globals", "posix", "socket"}
)


def imports(source: Source) -> Iterator[Sign]:
    """Modules of the evaluator, and those that the target forbids."""
    for node in source.nodes:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Call):
            dotted = source.names.dotted(node)
            is_import = source.names.dotted(node.func) in ("builtins.__import__", "importlib.import_module")
            found = [dotted] if dotted and is_import else []
        else:
            continue
        for name in found:
            yield from _imported(source, node, name)


def _imported(source: Source, node: ast.AST, name: str) -> Iterator[Sign]:
    first = name.partition(".")[0]
    if first in source.ground.modules and first not in source.own:
        yield source.sign("evaluator-modules", node, f"import {first}")
    elif first == "__main__":
        yield source.sign("evaluator-modules", node, "import __main__")
    elif first in source.ground.folders and first not in source.own:
        yield source.sign("evaluator-modules", node, f"import {first}")
    for forbidden in source.ground.forbid_imports:
        if name == forbidden or name.startswith(f"{forbidden}."):
            yield source.sign("forbidden", node, f"import {forbidden}")


def forbidden_names(source: Source) -> Iterator[Sign]:
    """What the target forbids by name: whole dotted names, or their last parts."""
    if not source.ground.forbid_names:
        return
    for node in source.nodes:
        if not isinstance(node, ast.Name | ast.Attribute | ast.Call):
            continue
        dotted = source.names.dotted(node)
        bare = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        for forbidden in source.ground.forbid_names:
            if bare == forbidden or (dotted and f".{dotted}.".find(f".{forbidden}.") >= 0):
                yield source.sign("forbidden", node, forbidden)
