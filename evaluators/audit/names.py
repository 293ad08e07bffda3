"""What Python source refers to: dotted names behind aliases, and texts behind expressions that build them.

Both follow what stands in one file, as far as that can be told without running it: imports under other names,
assignments, ``getattr``, ``__import__``, ``vars``, ``sys.modules``; texts that are added, joined, reversed, decoded.
What cannot be told gives None, and rules decide what that means.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence

from evaluators.audit.unpacking import DECODERS, decoded, unpacked

HOLE = "{}"
"""Stands for what is not known in a text that is known in part."""
DEPTH_MAX = 60
BUILTIN = frozenset(dir(builtins)) | {"__builtins__", "__loader__", "__spec__"}
_FIELD = re.compile(r"%[-+ #0-9.]*[sdixrf]")
_MODULES_OF = frozenset({"sys.modules"})
_IMPORTS = frozenset({"builtins.__import__", "importlib.import_module", "importlib.__import__"})


class Names:
    """The names of one file. ``own`` are modules that lie beside it."""

    def __init__(self, tree: ast.Module, own: frozenset[str] = frozenset()) -> None:
        self.aliases: dict[str, str] = {}
        self.texts: dict[str, ast.expr] = {}
        self.stars: list[str] = []
        self.own = own
        nodes = list(ast.walk(tree))
        self._bind_imports(nodes)
        self.defined = frozenset(_defined(nodes))
        self._bind_values(tree, nodes)

    def _bind_imports(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    self.aliases[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                for alias in node.names:
                    if alias.name == "*":
                        self.stars.append(node.module)
                    else:
                        self.aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def _bind_values(self, tree: ast.Module, nodes: Sequence[ast.AST]) -> None:
        """Names that are assigned once: to a module, to something in one, or (at the top level) to a constant."""
        once: dict[str, ast.expr] = {}
        count: dict[str, int] = {}
        for node in nodes:
            for name, value in _assigned(node):
                count[name] = count.get(name, 0) + 1
                if value is not None:
                    once[name] = value
        top = {name for node in tree.body for name, _ in _assigned(node)}
        for _ in range(3):  # names of names
            for name, value in once.items():
                if name in self.aliases:
                    continue
                target = self.dotted(value)
                if target is not None and target not in self.texts:
                    self.aliases[name] = target
                elif count[name] == 1 and name in top:
                    self.texts[name] = value

    def dotted(self, node: ast.AST, depth: int = 0) -> str | None:
        """``os.path.join`` for an expression that means it; None for what is the program's own, or unknown."""
        if depth > DEPTH_MAX:
            return None
        match node:
            case ast.Name(id=name):
                return self._name(name)
            case ast.Attribute(value=inner, attr=attr):
                outer = self.dotted(inner, depth + 1)
                return None if outer is None else _joined(outer, attr)
            case ast.NamedExpr(value=inner):
                return self.dotted(inner, depth + 1)
            case ast.Call():
                return self._called(node, depth)
            case ast.Subscript(value=inner, slice=index):
                return self._item(inner, index, depth)
            case _:
                return None

    def _name(self, name: str) -> str | None:
        if name in self.aliases:
            return self.aliases[name]
        if name in self.defined:
            return None
        for star in self.stars:
            module = sys.modules.get(star)
            if module is not None and hasattr(module, name):
                return f"{star}.{name}"
        return f"builtins.{name}" if name in BUILTIN else None

    def _called(self, node: ast.Call, depth: int) -> str | None:
        """What a call gives: a module that it imports, an attribute that it gets."""
        function = self.dotted(node.func, depth + 1)
        if function in _IMPORTS and node.args:
            return self.text(node.args[0], depth + 1) or None
        if function in ("builtins.getattr", "inspect.getattr_static", "operator.getitem") and len(node.args) >= 2:
            outer, name = self.dotted(node.args[0], depth + 1), self.text(node.args[1], depth + 1)
            return None if outer is None or name is None else _joined(outer, name)
        if function in ("builtins.vars", "builtins.__import__", "importlib.reload") and len(node.args) == 1:
            return self.dotted(node.args[0], depth + 1)
        if function == "builtins.globals":
            return "globals"
        if isinstance(node.func, ast.Call) and self.dotted(node.func.func, depth + 1) == "operator.attrgetter":
            outer = self.dotted(node.args[0], depth + 1) if node.args else None
            name = self.text(node.func.args[0], depth + 1) if node.func.args else None
            return None if outer is None or name is None else _joined(outer, name)
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop", "__getitem__") and node.args:
            return self._item(node.func.value, node.args[0], depth)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "__getattribute__" and node.args:
            return self._item(node.func.value, node.args[-1], depth)
        return None

    def _item(self, inner: ast.AST, index: ast.AST, depth: int) -> str | None:
        outer, key = self.dotted(inner, depth + 1), self.text(index, depth + 1)
        if outer is None or key is None:
            return None
        if outer in _MODULES_OF:
            return key or None
        if outer == "globals":
            return "builtins" if key == "__builtins__" else self._name(key)
        if outer == "builtins.__builtins__":
            return f"builtins.{key}"
        return _joined(outer, key) if _is_namespace(inner) else None

    def text(self, node: ast.AST, depth: int = 0) -> str | None:
        """The text that an expression builds, whole; None where a part is not known."""
        found = self.folded(node, depth)
        if isinstance(found, bytes):
            found = found.decode("latin-1")
        return found if isinstance(found, str) and HOLE not in found else None

    def folded(self, node: ast.AST, depth: int = 0) -> str | bytes | None:
        """A text or bytes, with `HOLE` for parts that are not known; None where nothing is."""
        if depth > DEPTH_MAX:
            return None
        match node:
            case ast.Constant(value=str() | bytes() as value):
                return value
            case ast.Name(id=name) if name in self.texts:
                return self.folded(self.texts[name], depth + 10)
            case ast.JoinedStr(values=values):
                return "".join(_text(self.folded(value, depth + 1)) for value in values)
            case ast.FormattedValue(value=value):
                return self.folded(value, depth + 1)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._added(left, right, depth)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self._path(left, right, depth)
            case ast.BinOp(left=left, op=ast.Mod()):
                return self._filled(left, node.right, depth)
            case ast.Subscript(value=inner, slice=index):
                return self._sliced(inner, index, depth)
            case ast.Call():
                return self._built(node, depth)
            case _:
                return None

    def _added(self, left: ast.expr, right: ast.expr, depth: int) -> str | bytes | None:
        one, other = self.folded(left, depth + 1), self.folded(right, depth + 1)
        if one is None and other is None:
            return None
        if isinstance(one, bytes) and isinstance(other, bytes):
            return one + other
        return _text(one) + _text(other)

    def _filled(self, left: ast.expr, right: ast.expr, depth: int) -> str | None:
        """``"/%s/x" % word``."""
        shape = self.folded(left, depth + 1)
        if not isinstance(shape, str):
            return None
        words = right.elts if isinstance(right, ast.Tuple) else [right]
        pieces = _FIELD.split(shape)
        filled = [_text(self.folded(word, depth + 1)) for word in words]
        filled += [HOLE] * (len(pieces) - 1 - len(filled))
        return "".join(piece + word for piece, word in zip(pieces, [*filled, ""], strict=False))

    def _path(self, left: ast.expr, right: ast.expr, depth: int) -> str | None:
        """``Path("a") / "b"``."""
        other = self.folded(right, depth + 1)
        if other is None:
            return None
        return f"{_text(self.folded(left, depth + 1))}/{_text(other)}"

    def _sliced(self, inner: ast.expr, index: ast.expr, depth: int) -> str | bytes | None:
        whole = self.folded(inner, depth + 1)
        if whole is None or not isinstance(index, ast.Slice):
            return None
        bounds = [None if part is None else _number(part) for part in (index.lower, index.upper, index.step)]
        if any(
            part is not None and bound is None
            for part, bound in zip((index.lower, index.upper, index.step), bounds, strict=True)
        ):
            return None
        with contextlib.suppress(ValueError):
            return whole[slice(*bounds)]
        return None

    def _built(self, node: ast.Call, depth: int) -> str | bytes | None:
        function = self.dotted(node.func, depth + 1)
        if function in ("builtins.chr", "builtins.bytes", "builtins.bytearray") and len(node.args) == 1:
            return self._from_numbers(function, node.args[0], depth)
        if function in ("builtins.str", "pathlib.Path", "pathlib.PurePath", "os.fspath", "os.fsencode") and node.args:
            parts = [_text(self.folded(argument, depth + 1)) for argument in node.args]
            return "/".join(parts) if function.startswith("pathlib") else parts[0]
        if function == "os.path.join":
            return "/".join(_text(self.folded(argument, depth + 1)) for argument in node.args)
        if function in (*DECODERS, "codecs.decode") and node.args:
            return self._unpacked(function, node.args, depth)
        if isinstance(node.func, ast.Attribute):
            return self._method(node.func.value, node.func.attr, node.args, depth)
        return None

    def _unpacked(self, function: str, given: Sequence[ast.expr], depth: int) -> str | bytes | None:
        data = self.folded(given[0], depth + 1)
        if data is None:
            return None
        if function in DECODERS:
            return unpacked(function, data)
        codec = self.text(given[1], depth + 1) if len(given) > 1 else None
        return None if codec is None else decoded(data, codec)

    def _from_numbers(self, function: str, argument: ast.expr, depth: int) -> str | bytes | None:
        if function == "builtins.chr":
            code = _number(argument)
            return chr(code) if code is not None and 0 <= code < 0x110000 else None
        if isinstance(argument, ast.List | ast.Tuple):
            codes = [_number(item) for item in argument.elts]
            known = [code for code in codes if code is not None and 0 <= code < 256]
            return bytes(known) if len(known) == len(codes) else None
        return self.folded(argument, depth + 1)

    def _method(self, inner: ast.expr, method: str, given: Sequence[ast.expr], depth: int) -> str | bytes | None:
        if method == "fromhex" and given:
            text = self.text(given[0], depth + 1)
            return None if text is None else unpacked("builtins.bytes.fromhex", text)
        if method == "joinpath":
            parts = [inner, *given]
            return "/".join(_text(self.folded(part, depth + 1)) for part in parts)
        whole = self.folded(inner, depth + 1)
        if whole is None:
            return None
        if method == "join" and len(given) == 1:
            return self._joined(whole, given[0], depth)
        arguments = [self.folded(argument, depth + 1) for argument in given]
        if method == "replace" and len(arguments) == 2:
            old, new = (_text(argument) for argument in arguments)
            return _text(whole).replace(old, new) if old else None
        if method in ("decode", "encode"):
            return whole
        if method in ("strip", "lower", "upper", "swapcase", "rstrip", "lstrip", "casefold") and not arguments:
            return str(getattr(_text(whole), method)())
        if method == "format" and isinstance(whole, str):
            for argument in arguments:
                whole = whole.replace("{}", _text(argument), 1) if argument is not None else whole
            return whole
        return None

    def _joined(self, between: str | bytes, parts: ast.expr, depth: int) -> str | bytes | None:
        if isinstance(parts, ast.List | ast.Tuple):
            texts = [_text(self.folded(part, depth + 1)) for part in parts.elts]
            return _text(between).join(texts)
        if isinstance(parts, ast.Call) and self.dotted(parts.func) in ("builtins.map", "builtins.reversed"):
            last = parts.args[-1] if parts.args else None
            if self.dotted(parts.func) == "builtins.reversed" and last is not None:
                text = self.folded(last, depth + 1)
                return None if text is None else _text(text)[::-1]
            if last is not None and self.dotted(parts.args[0]) == "builtins.chr":
                return self._characters(last)
        spells = (
            isinstance(parts, ast.GeneratorExp | ast.ListComp)
            and isinstance(parts.elt, ast.Call)
            and self.dotted(parts.elt.func) == "builtins.chr"
        )
        if spells and isinstance(parts, ast.GeneratorExp | ast.ListComp) and len(parts.generators) == 1:
            return self._characters(parts.generators[0].iter)
        return None

    def _characters(self, numbers: ast.expr) -> str | None:
        if isinstance(numbers, ast.List | ast.Tuple):
            codes = [_number(item) for item in numbers.elts]
            if all(code is not None and 0 <= code < 0x110000 for code in codes):
                return "".join(chr(code) for code in codes if code is not None)
        return None


def _text(value: str | bytes | None) -> str:
    if value is None:
        return HOLE
    return value if isinstance(value, str) else value.decode("latin-1")


def _number(node: ast.expr) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


def _joined(outer: str, attr: str) -> str:
    if attr == "__dict__":
        return outer
    if outer == "globals":
        return "globals"
    if outer in ("builtins.__builtins__", "__builtins__"):
        return f"builtins.{attr}"
    return f"{outer}.{attr}"


def _is_namespace(node: ast.AST) -> bool:
    """Whether subscripting the expression looks a name up: ``x.__dict__``, ``vars(x)``, or an alias of one."""
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__"
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id == "vars"
    return isinstance(node, ast.Name)


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Names that a statement or expression assigns to, and the value where it is theirs alone."""
    match node:
        case ast.Assign(targets=targets, value=value):
            for target in targets:
                yield from _paired(target, value)
        case (
            ast.AnnAssign(target=ast.Name(id=name), value=value) | ast.NamedExpr(target=ast.Name(id=name), value=value)
        ):
            yield name, value
        case ast.AugAssign(target=ast.Name(id=name)):
            yield name, None
            yield name, None
        case ast.For(target=target) | ast.AsyncFor(target=target) | ast.comprehension(target=target):
            for part in ast.walk(target):
                if isinstance(part, ast.Name):
                    yield part.id, None
        case ast.withitem(optional_vars=ast.Name(id=name)):
            yield name, None
        case _:
            pass


def _paired(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr | None]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple | ast.List):
        values = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for place, item in enumerate(target.elts):
            if isinstance(item, ast.Name):
                yield item.id, values[place] if len(values) == len(target.elts) else None


def _defined(nodes: Sequence[ast.AST]) -> Iterator[str]:
    """Names that the file gives a meaning of its own, so that they are no builtins there."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        else:
            yield from (name for name, _ in _assigned(node))
