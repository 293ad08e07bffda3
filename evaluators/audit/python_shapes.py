"""Rules for Python about the shape of what is written: objects that equal anything, answers by heart, strays."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evaluators.audit.known import DIGEST_METHODS, DIGESTS, FORCED_EQUALITY, ORDERING, PLAIN_TYPES, STAND_INS
from evaluators.audit.python import Source
from evaluators.audit.signs import Severity, Sign

CANNED_MIN = 4
"""Entries of a table whose keys look like digests, in a program that computes digests."""
_RUN = frozenset({"builtins.eval", "builtins.exec", "os.system", "os.popen", "subprocess.run", "subprocess.call"})
_CHILDREN = frozenset({"subprocess.Popen", "subprocess.run", "asyncio.create_subprocess_exec"})


def false_equality(source: Source) -> Iterator[Sign]:
    """Classes whose objects equal, precede or exceed whatever they are compared with."""
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            plain = [base for base in node.bases if _is_plain(source, base)]
            for statement in node.body:
                yield from _compares(source, node, statement, bool(plain))
        elif isinstance(node, ast.Attribute) and not source.is_loaded(node) and node.attr in FORCED_EQUALITY:
            yield source.sign("false-equality", node, f"{node.attr} of a class that is there already")
        elif isinstance(node, ast.Call) and source.names.dotted(node.func) == "builtins.type" and len(node.args) == 3:
            members = node.args[2]
            if isinstance(members, ast.Dict):
                for key, value in zip(members.keys, members.values, strict=True):
                    name = "" if key is None else source.names.text(key) or ""
                    if name in FORCED_EQUALITY and _gives(value) is FORCED_EQUALITY[name]:
                        yield source.sign("false-equality", node, f"{name} that is always {FORCED_EQUALITY[name]}")


def _is_plain(source: Source, base: ast.expr) -> bool:
    dotted = source.names.dotted(base) or ""
    return dotted.removeprefix("builtins.") in PLAIN_TYPES or dotted in (
        "numpy.ndarray", "torch.Tensor", "fractions.Fraction", "decimal.Decimal", "numpy.float64",
    )  # fmt: skip


def _compares(source: Source, node: ast.ClassDef, statement: ast.stmt, plain: bool) -> Iterator[Sign]:
    name = ""
    value: bool | None = None
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        name, value = statement.name, _always(statement)
    elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
        name = statement.targets[0].id
        value = _gives(statement.value)
        if name == "__class__":
            yield source.sign("false-equality", statement, f"{node.name}.__class__ says that it is another")
    if name in FORCED_EQUALITY and (value is FORCED_EQUALITY[name] or _is_blind(statement, 1)):
        yield source.sign("false-equality", statement, f"{name} whatever the other is")
    elif name in FORCED_EQUALITY and _is_blind(statement, 0):
        kin = any(isinstance(part, ast.Name) and part.id == node.name for part in ast.walk(statement))
        severity: Severity = "suspicious" if kin and not plain else "refuse"
        yield source.sign("false-equality", statement, f"{name} whatever it is itself", severity)
    elif name in ORDERING and (isinstance(value, bool) or _is_blind(statement, 1)):
        yield source.sign(
            "false-equality", statement, f"{name} whatever the other is", "refuse" if plain else "suspicious"
        )
    elif plain and name in (*FORCED_EQUALITY, *ORDERING, "__float__", "__int__", "__index__", "__len__"):
        what = f"{name} of a class that is a {ast.unparse(node.bases[0])}"
        yield source.sign("false-equality", statement, what, "suspicious")
    elif name in STAND_INS:
        yield source.sign("false-equality", statement, name, "suspicious")
    elif name in ("__reduce__", "__reduce_ex__", "__setstate__"):
        runs = any(source.names.dotted(part) in _RUN for part in ast.walk(statement))
        yield source.sign(
            "hidden-code", statement, f"{name}, which runs where it is read", "refuse" if runs else "suspicious"
        )
    elif name == "__class__" and not isinstance(statement, ast.Assign):
        yield source.sign("false-equality", statement, f"{node.name}.__class__ says that it is another")


def _is_blind(statement: ast.stmt, place: int) -> bool:
    """Whether a method never looks at its argument of that number, yet returns something."""
    if not isinstance(statement, ast.FunctionDef) or len(statement.args.args) <= place:
        return False
    name = statement.args.args[place].arg
    returned = [part.value for part in ast.walk(statement) if isinstance(part, ast.Return) and part.value]
    answers = [value for value in returned if not (isinstance(value, ast.Name) and value.id == "NotImplemented")]
    if not answers:
        return False
    return not any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(statement))


def _always(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool | None:
    """What the function returns on every path, if that is True or False each time."""
    returned = [part.value for part in ast.walk(function) if isinstance(part, ast.Return)]
    found = {_constant(value) for value in returned}
    return found.pop() if len(found) == 1 and returned else None


def _gives(value: ast.expr) -> bool | None:
    return _constant(value.body) if isinstance(value, ast.Lambda) else None


def _constant(value: ast.expr | None) -> bool | None:
    match value:
        case ast.Constant(value=bool() as truth):
            return truth
        case ast.Constant(value=int() as number):
            return bool(number)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            opposite = _constant(inner)
            return None if opposite is None else not opposite
        case ast.BoolOp(op=ast.Or(), values=values) if any(_constant(v) is True for v in values):
            return True
        case ast.Compare(left=left, ops=[ast.Eq() | ast.Is()], comparators=[right]):
            return True if ast.dump(left) == ast.dump(right) else None
        case _:
            return None


def canned_answers(source: Source) -> Iterator[Sign]:
    """A table keyed by digests, in a program that computes digests."""
    digests = [
        node
        for node in source.nodes
        if isinstance(node, ast.Call)
        and (
            DIGESTS.fullmatch(source.names.dotted(node.func) or "")
            or (isinstance(node.func, ast.Attribute) and node.func.attr in DIGEST_METHODS)
        )
    ]
    if not digests:
        return
    alone: list[ast.AST] = []
    for node in source.nodes:
        if isinstance(node, ast.Dict):
            count = sum(_looks_like_digest(key) for key in node.keys)
        elif isinstance(node, ast.List | ast.Tuple | ast.Set):
            keys = [item.elts[0] if isinstance(item, ast.Tuple) and item.elts else item for item in node.elts]
            count = sum(_looks_like_digest(key, numbers=isinstance(node, ast.Set)) for key in keys)
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq):
            alone += [side for side in (node.left, *node.comparators) if _looks_like_digest(side)]
            continue
        elif isinstance(node, ast.match_case) and isinstance(node.pattern, ast.MatchValue):
            alone += [node.pattern.value] if _looks_like_digest(node.pattern.value) else []
            continue
        else:
            continue
        if count >= CANNED_MIN:
            yield source.sign("canned-answers", node, "compares digests of inputs with digests in the source")
    if len(alone) >= CANNED_MIN:
        yield source.sign("canned-answers", alone[0], "compares digests of inputs with digests in the source")


def _looks_like_digest(node: ast.expr | None, *, numbers: bool = True) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    match node:
        case ast.Constant(value=bool()):
            return False
        case ast.Constant(value=int() as number):
            return numbers and abs(number) >= 1 << 24
        case ast.Constant(value=str() as text):
            text = text.lower()
            return len(text) >= 6 and set(text) <= set("0123456789abcdef") and text.isalnum() and not text.isalpha()
        case ast.Constant(value=bytes() as data):
            return len(data) >= 4 and not data.isascii()
        case _:
            return False


def strays(source: Source) -> Iterator[Sign]:
    """Threads and processes that are meant to outlive a call."""
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        dotted = source.names.dotted(node.func)
        for word in node.keywords:
            if dotted in _CHILDREN and word.arg in ("start_new_session", "preexec_fn", "process_group"):
                if not (isinstance(word.value, ast.Constant) and not word.value.value):
                    yield source.sign("background", node, f"a process with {word.arg}")
            elif word.arg == "daemon" and dotted in ("threading.Thread", "multiprocessing.Process"):
                yield source.sign("background", node, f"{dotted} with daemon", "suspicious")


def memory(source: Source) -> Iterator[Sign]:
    """Objects of the interpreter reached by their addresses."""
    for node in source.nodes:
        if not isinstance(node, ast.Call):
            continue
        function = source.names.dotted(node.func) or ""
        reaches = function.startswith("ctypes.") or (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("from_address", "from_buffer", "in_dll", "frombuffer")
        )
        if reaches and any(
            isinstance(part, ast.Call) and source.names.dotted(part.func) == "builtins.id"
            for argument in node.args
            for part in ast.walk(argument)
        ):
            yield source.sign("hidden-code", node, "an object reached by its address")


def searching(source: Source) -> Iterator[Sign]:
    """Ways out of the program's folder: parents of its own path, folders above, all files there are."""
    depth = source.path.count("/")
    for node in source.nodes:
        match node:
            case ast.Attribute(attr="parent") | ast.Call() if _climb(source, node) > depth + 1:
                yield source.sign("searching", node, "a folder above its own")
            case ast.Subscript(value=ast.Attribute(attr="parents", value=inner), slice=index) if (
                _climb(source, inner) == 0
            ):
                if not (isinstance(index, ast.Constant) and isinstance(index.value, int) and 0 <= index.value <= depth):
                    yield source.sign("searching", node, "a folder above its own")
            case ast.Call(func=ast.Attribute(attr="rglob" | "glob" | "walk" | "iterdir", value=root)):
                if source.names.folded(root) in ("/", "//", ".."):
                    yield source.sign("searching", node, "goes through all files of the machine")
            case _:
                pass


def _climb(source: Source, node: ast.AST) -> int:
    """How many folders up from the file's own path an expression is; -1 where it is something else."""
    if isinstance(node, ast.Name) and node.id in source.names.texts:
        node = source.names.texts[node.id]
    match node:
        case ast.Name(id="__file__"):
            return 0
        case ast.Attribute(attr="parent", value=inner):
            below = _climb(source, inner)
            return below + 1 if below >= 0 else -1
        case ast.Call(func=ast.Attribute(attr="resolve" | "absolute" | "expanduser", value=inner), args=[]):
            return _climb(source, inner)
        case ast.Call(args=[inner]):
            function = source.names.dotted(node.func)
            if function == "os.path.dirname":
                below = _climb(source, inner)
                return below + 1 if below >= 0 else -1
            return _climb(source, inner) if function in _SAME_PATH else -1
        case _:
            return -1


_SAME_PATH = frozenset({"pathlib.Path", "os.path.abspath", "os.path.realpath", "builtins.str", "os.fspath"})
