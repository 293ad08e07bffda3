"""Rules for Python about what a program changes and asks of its surroundings: modules, environment, arguments."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator

from evaluators.audit.known import TEST_MODULES, TEST_VARIABLES, TUNING_VARIABLES
from evaluators.audit.python import Source
from evaluators.audit.signs import Sign

_SETTERS = {"builtins.setattr": 2, "builtins.delattr": 1, "operator.setitem": 2, "type.__setattr__": 2}
_STREAMS = frozenset({"sys.stdout", "sys.stderr", "sys.stdin"})
_SETTINGS = frozenset({"sys.dont_write_bytecode", "sys.tracebacklimit", "sys.ps1", "sys.ps2"})
_UPDATES = frozenset({"update", "setdefault", "__setitem__", "pop", "clear", "popitem", "__delitem__", "__ior__"})


def patching(source: Source) -> Iterator[Sign]:
    """Assignments to what other modules hold."""
    for node in source.nodes:
        for target, value in _stores(node):
            for part in _flat(target):
                yield from _stored(source, part, value)
        if isinstance(node, ast.Call):
            yield from _set_by_call(source, node)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            for decorator in node.decorator_list:
                yield from _set_by_decorator(source, decorator)


def _stores(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """What a statement stores into, and the value if it is told."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((target, value) for target in targets)
        case ast.AugAssign(target=target, value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            yield target, value
        case ast.For(target=target) | ast.withitem(optional_vars=ast.expr() as target):
            yield target, None
        case ast.Delete(targets=targets):
            yield from ((target, None) for target in targets)
        case _:
            pass


def _flat(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        for item in target.elts:
            yield from _flat(item)
    else:
        yield target


def _stored(source: Source, target: ast.expr, value: ast.expr | None) -> Iterator[Sign]:
    if isinstance(target, ast.Attribute):
        outer = source.names.dotted(target.value)
        if outer is not None:
            yield from _replaced(source, target, f"{outer}.{target.attr}", value)
        elif target.attr in ("__code__", "__bases__") and not _is_self(target.value):
            yield source.sign("patching", target, f"assignment to .{target.attr}")
        elif target.attr == "__class__" and not _is_self(target.value):
            yield source.sign("patching", target, "assignment to .__class__", "suspicious")
    elif isinstance(target, ast.Subscript):
        outer, key = source.names.dotted(target.value), source.names.text(target.slice)
        if outer == "sys.modules":
            if _own_name(target.slice) is None and (key or "").partition(".")[0] not in source.own:
                yield source.sign("patching", target, f"sys.modules[{key or '…'}] = …")
        elif outer in ("builtins", "builtins.__builtins__"):
            yield source.sign("patching", target, f"builtins[{key!r}] = …")
        elif outer in ("os.environ", "os.environb"):
            yield from _variable_set(source, target, key)
        elif outer == "globals":
            pass  # the program's own
        elif outer is not None and (_is_dict_of(target.value) or _is_module(source, outer)):
            yield from _replaced(source, target, f"{outer}.{key or '…'}", value)


def _is_module(source: Source, dotted: str) -> bool:
    """Whether a dotted name is a module's: what is put into one by subscript goes into its dictionary."""
    return "." not in dotted and (dotted in sys.stdlib_module_names or dotted in source.ground.imports)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def _is_dict_of(node: ast.expr) -> bool:
    if isinstance(node, ast.Attribute) and node.attr == "__dict__":
        return True
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "vars"


def _replaced(source: Source, node: ast.AST, dotted: str, value: ast.expr | None) -> Iterator[Sign]:
    """``time.perf_counter = …``; a plain constant is a setting, as in ``torch.backends.cudnn.benchmark = True``."""
    first = dotted.partition(".")[0]
    if first in source.own or dotted.startswith("os.environ.") or first == "globals":
        return
    if dotted in _STREAMS:
        yield source.sign("patching", node, f"{dotted} = …", "suspicious")
        return
    watched = first in source.ground.imports or first in source.ground.modules or first == "builtins"
    setting = dotted in _SETTINGS or (isinstance(value, ast.Constant) and value.value is not None)
    if setting and not (first in _PLAIN and dotted not in _SETTINGS):
        return
    protected = watched or source.ground.protects(first)
    yield source.sign("patching", node, f"{dotted} = …", "refuse" if protected else "suspicious")


_PLAIN = frozenset(
    {"time", "builtins", "random", "math", "json", "os", "statistics", "hashlib", "subprocess", "pathlib"}
)
"""Modules without settings: whatever is assigned there replaces something."""


def _set_by_call(source: Source, node: ast.Call) -> Iterator[Sign]:
    function = source.names.dotted(node.func)
    if function in _SETTERS and len(node.args) >= 2:
        outer, name = source.names.dotted(node.args[0]), source.names.text(node.args[1])
        if outer is not None and not outer.startswith("globals"):
            value = node.args[2] if len(node.args) > 2 else None
            yield from _replaced(source, node, f"{outer}.{name or '…'}", value)
    elif function is not None and function.endswith(".__setattr__") and len(node.args) >= 2:
        outer = source.names.dotted(node.args[0])  # most often the program's own object, frozen to others
        if outer is not None:
            yield from _replaced(source, node, f"{outer}.{source.names.text(node.args[1]) or '…'}", None)
    elif isinstance(node.func, ast.Attribute) and node.func.attr in _UPDATES:
        outer = source.names.dotted(node.func.value)
        if outer == "sys.modules":
            yield source.sign("patching", node, "changes sys.modules")
        elif outer == "os.environ":
            keys = [*(word.arg for word in node.keywords), *_keys(source, node)]
            for key in keys or [None]:
                yield from _variable_set(source, node, key)
        elif outer is not None and (_is_dict_of(node.func.value) or _is_module(source, outer)):
            yield from _replaced(source, node, f"{outer}.…", None)
    elif function in ("os.putenv", "os.unsetenv") and node.args:
        yield from _variable_set(source, node, source.names.text(node.args[0]))
    elif function == "importlib.reload" and node.args:
        yield source.sign("patching", node, "importlib.reload", "suspicious")


def _keys(source: Source, node: ast.Call) -> list[str | None]:
    found: list[str | None] = []
    for argument in node.args[:1]:
        if isinstance(argument, ast.Dict):
            found += [None if key is None else source.names.text(key) for key in argument.keys]
        else:
            found.append(source.names.text(argument))
    return found


def _set_by_decorator(source: Source, decorator: ast.expr) -> Iterator[Sign]:
    """``@partial(setattr, time, "time")``: a decorator that is handed the function to put somewhere."""
    if isinstance(decorator, ast.Call) and any(source.names.dotted(a) == "builtins.setattr" for a in decorator.args):
        yield source.sign("patching", decorator, "setattr as a decorator")


def _variable_set(source: Source, node: ast.AST, name: str | None) -> Iterator[Sign]:
    if name is None:
        yield source.sign("environment", node, "sets a variable whose name is not in the source")
    elif not TUNING_VARIABLES.fullmatch(name) or name in ("PATH", "HOME", "TMPDIR"):
        severe = name.startswith(("LD_", "PYTHON", "DYLD_", "RAYSEARCH", "FAKETIME")) and name != "PYTHONWARNINGS"
        yield source.sign("environment", node, f"sets {name}", "refuse" if severe else "suspicious")


def environment(source: Source) -> Iterator[Sign]:
    """Variables that are read: for tuning they may be, to find out who asks they may not."""
    for node in source.nodes:
        key: ast.expr | None = None
        if isinstance(node, ast.For | ast.comprehension) and source.names.dotted(node.iter) == "os.environ":
            yield source.sign("environment", node.iter, "goes through all variables", "suspicious")
        if isinstance(node, ast.Subscript) and source.is_loaded(node):
            if source.names.dotted(node.value) in ("os.environ", "os.environb"):
                key = node.slice
        elif isinstance(node, ast.Call) and node.args:
            function = source.names.dotted(node.func) or ""
            if function in ("os.getenv", "os.getenvb", "os.environ.get", "os.environ.__getitem__", "os.environ.pop"):
                key = node.args[0]
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            key = node.left if source.names.dotted(node.comparators[0]) == "os.environ" else None
        if key is not None:
            yield from _variable_read(source, node, source.names.text(key))


def _variable_read(source: Source, node: ast.AST, name: str | None) -> Iterator[Sign]:
    if name is None:
        yield source.sign("environment", node, "reads a variable whose name is not in the source", "suspicious")
    elif TEST_VARIABLES.fullmatch(name):
        yield source.sign("test-mode", node, f"reads {name}")
    elif not TUNING_VARIABLES.fullmatch(name):
        yield source.sign("environment", node, f"reads {name}", "suspicious")


def modules(source: Source) -> Iterator[Sign]:
    """Modules that others have loaded, found in ``sys.modules``."""
    for node in source.nodes:
        match node:
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[where]):
                if source.names.dotted(where) == "sys.modules":
                    yield from _looked_up(source, node, _own_name(left) or source.names.text(left))
            case ast.Subscript(value=value, slice=key) if source.is_loaded(node):
                if source.names.dotted(value) == "sys.modules":
                    yield from _looked_up(source, node, _own_name(key) or source.names.text(key))
            case ast.Call(func=ast.Attribute(value=value, attr="get" | "__getitem__" | "__contains__"), args=[key, *_]):
                if source.names.dotted(value) == "sys.modules":
                    yield from _looked_up(source, node, _own_name(key) or source.names.text(key))
            case ast.Call(func=ast.Attribute(value=value, attr="items" | "values" | "keys" | "copy")):
                if source.names.dotted(value) == "sys.modules":
                    yield source.sign("evaluator-modules", node, "goes through sys.modules")
            case ast.For(iter=where) | ast.comprehension(iter=where) | ast.Call(args=[where]):
                if source.names.dotted(where) == "sys.modules":
                    yield source.sign("evaluator-modules", where, "goes through sys.modules")
            case _:
                pass


def _own_name(key: ast.expr) -> str | None:
    """``sys.modules[__name__]``, or of a class of the program, is the program itself."""
    named = isinstance(key, ast.Name) and key.id == "__name__"
    return "__name__" if named or (isinstance(key, ast.Attribute) and key.attr == "__module__") else None


def _looked_up(source: Source, node: ast.AST, name: str | None) -> Iterator[Sign]:
    if name == "__name__" or (name and name.partition(".")[0] in source.own):
        return
    if name is None:
        yield source.sign("evaluator-modules", node, "sys.modules[…], of a name that is not in the source")
    elif name.partition(".")[0] in TEST_MODULES:
        yield source.sign("test-mode", node, f"asks for the module {name}")
    elif name.partition(".")[0] in source.ground.modules:
        yield source.sign("evaluator-modules", node, f"asks for the module {name}")


def arguments(source: Source) -> Iterator[Sign]:
    """A parser of arguments that is given none reads those of the process."""
    parses = any(name.partition(".")[0] in ("argparse", "optparse", "getopt") for name in source.names.aliases.values())
    for node in source.nodes:
        if not (parses and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr in ("parse_args", "parse_known_args") and not node.args and id(node) not in source.as_script:
            yield source.sign("evaluator-process", node, "sys.argv, through a parser of arguments")


def globals_changed(source: Source) -> Iterator[Sign]:
    """Names of the program that are changed all at once."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and source.names.dotted(node.func) == "builtins.globals":
            above = source.parent(node)
            if isinstance(above, ast.Attribute) and above.attr == "update":
                yield source.sign("patching", node, "globals().update", "suspicious")
