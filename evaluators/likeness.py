"""A program's text without what makes no difference to it: white space, comments, names of local variables.

Equal normal forms are programs that do the same; different ones may do so all the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping

CLIKE = frozenset(
    {".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cu", ".cuh", ".metal", ".m", ".mm", ".hip", ".cl"}
)
"""Files whose texts are told apart by their tokens."""
_TOKEN = re.compile(
    r"""(?P<comment>/\*.*?(?:\*/|\Z)|//[^\n]*)
    |(?:u8|[uUL])?R"(?P<tag>[^()\\\s]{0,16})\(.*?\)(?P=tag)"
    |(?:u8|[uUL])?"(?:\\.|[^"\\\n])*"
    |(?:u8|[uUL])?'(?:\\.|[^'\\\n])+'
    |[A-Za-z_$]\w*
    |\.?\d(?:[eEpP][+-]|[\w.'])*
    |(?P<line>\n)
    |(?P<space>\s+?)
    |<<=|>>=|\.\.\.|->\*|<=>|::|\+\+|--|->|<<|>>|<=|>=|==|!=|&&|\|\||\#\#|[-+*/%&|^]=|.""",
    re.DOTALL | re.VERBOSE,
)
_BY_NAME = frozenset({"locals", "vars", "dir", "eval", "exec", "globals", "__doc__"})
"""With one of these a program may ask for its own names and texts."""
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def normal(path: str, text: str) -> str:
    """The normal form of a file. Of a kind that is not known here, and of Python with an error: its lines."""
    suffix = path[path.rfind(".") :] if "." in path else ""
    if suffix in (".py", ".pyi"):
        try:
            return "python " + _python(ast.parse(text))
        except (SyntaxError, ValueError, RecursionError):
            pass
    if suffix in CLIKE:
        return "tokens " + "\0".join(_tokens(text))
    return "lines " + "\n".join(line.rstrip() for line in text.splitlines() if line.strip())


def _tokens(text: str) -> Iterator[str]:
    """Words, numbers, texts and marks; the ends of lines only where they end a directive."""
    directive, first = False, True
    for match in _TOKEN.finditer(text.replace("\\\r\n", "").replace("\\\n", "")):
        if match["line"] is not None:
            if directive:
                yield "\n"
            directive, first = False, True
        elif match["space"] is None and match["comment"] is None:
            directive |= first and match.group() == "#"
            first = False
            yield match.group()
        elif match["comment"] is not None and "\n" in match.group() and not directive:
            first = True


def _python(tree: ast.Module) -> str:
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    named |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    if not named & _BY_NAME:
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                _drop_docstring(node)
        _Locals({}).visit(tree)
    return ast.dump(tree)


def _drop_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    match node.body:
        case [ast.Expr(ast.Constant(str())), *rest]:
            node.body = rest
        case _:
            pass


class _Locals(ast.NodeTransformer):
    """Calls a function's local variables by their order; parameters are part of how it is called, and stay."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.known = known
        """New name of every variable of the functions around."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = self.known.get(node.id, node.id)
        return node

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self.known.get(node.name, node.name) if node.name else node.name
        return self.generic_visit(node)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        node.names = [self.known.get(name, name) for name in node.names]
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        taken = {argument.arg for argument in _parameters(node.args)}
        node.args = self.visit(node.args)
        node.body = _Locals({old: new for old, new in self.known.items() if old not in taken}).visit(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """What a class's body binds are attributes: they keep their names, and may hide a variable around it."""
        for part in ("decorator_list", "bases", "keywords"):
            setattr(node, part, [self.visit(item) for item in getattr(node, part)])
        hidden = _bound(node)
        inside = _Locals({old: new for old, new in self.known.items() if old not in hidden})
        node.body = [inside.visit(statement) for statement in node.body]
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.decorator_list = [self.visit(item) for item in node.decorator_list]
        node.args = self.visit(node.args)
        if node.returns is not None:
            node.returns = self.visit(node.returns)
        taken = {argument.arg for argument in _parameters(node.args)}
        own = [name for name in _bound(node) if name not in taken]
        known = {old: new for old, new in self.known.items() if old not in taken}
        known |= {name: f"<{len(self.known)}.{place}>" for place, name in enumerate(own)}
        inside = _Locals(known)
        node.body = [inside.visit(statement) for statement in node.body]
        return node


def _parameters(arguments: ast.arguments) -> list[ast.arg]:
    extra = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *extra]


def _bound(scope: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> dict[str, None]:
    """The variables that a scope's own statements bind, in the order in which they do.

    Names of functions, classes and modules are left alone; so is what another scope owns.
    """
    found: dict[str, None] = {}
    elsewhere: set[str] = set()
    waiting: list[ast.AST] = list(reversed(scope.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, _SCOPES):
            elsewhere |= {node.name} if not isinstance(node, ast.Lambda) else set()
            continue
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.ExceptHandler(name=str(name)):
                found.setdefault(name)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                elsewhere.update(names)
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                elsewhere.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                elsewhere.add(name)
            case _:
                pass
        waiting += reversed(list(ast.iter_child_nodes(node)))
    return {name: None for name in found if name not in elsewhere}
