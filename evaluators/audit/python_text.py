"""Rules for Python about the texts in a program: paths, formats of results, code that is run from a text."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from evaluators.audit.known import PRELOADED
from evaluators.audit.names import HOLE
from evaluators.audit.paths import path_signs
from evaluators.audit.python import Source
from evaluators.audit.signs import Sign

_OPENERS = frozenset(
    {
        *("builtins.open", "io.open", "os.open", "codecs.open", "os.listdir", "os.scandir", "os.walk", "os.stat"),
        *("pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "os.path.join", "os.path.exists", "os.path.isfile"),
        *("glob.glob", "glob.iglob", "shutil.copy", "shutil.copyfile", "shutil.move", "os.rename", "os.replace"),
        *("os.symlink", "os.link", "os.readlink", "os.remove", "os.unlink", "numpy.load", "numpy.fromfile"),
        *("numpy.loadtxt", "numpy.memmap", "numpy.genfromtxt", "linecache.getline", "linecache.getlines"),
        *(
            "fileinput.input",
            "tokenize.open",
            "io.open_code",
            "io.FileIO",
            "os.path.isdir",
            "os.chdir",
            "os.path.getsize",
        ),
        *("importlib.util.spec_from_file_location", "runpy.run_path", "sqlite3.connect", "dbm.open", "shelve.open"),
        *("importlib.machinery.SourceFileLoader", "zipfile.ZipFile", "tarfile.open", "gzip.open", "mmap.mmap"),
    }
)
_FOLDER_METHODS = frozenset(
    {"joinpath", "glob", "rglob", "with_name", "relative_to", "open", "iterdir", "insert", "append"}
)
_SHELLS = frozenset(
    {
        *("os.system", "os.popen", "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_output"),
        *("subprocess.check_call", "subprocess.getoutput", "subprocess.getstatusoutput", "os.execv", "os.execvp"),
    }
)
_RUNNERS = frozenset({"builtins.exec", "builtins.eval", "builtins.compile"})
_UNPACKERS = frozenset(
    {
        *("base64", "binascii", "zlib", "bz2", "lzma", "gzip", "codecs", "marshal", "pickle", "binhex"),
        *("builtins.bytes", "builtins.bytearray", "builtins.chr", "builtins.map"),
    }
)


def texts(source: Source) -> Iterator[Sign]:
    """Every text of the program that is no documentation, whole where it is built from parts."""
    prose = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    covered: set[int] = set()
    for node in source.nodes:
        if not isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp | ast.Call | ast.Subscript | ast.Name):
            continue
        if id(node) in prose or id(node) in covered or (isinstance(node, ast.Name) and not _is_text(source, node)):
            continue
        found = source.names.folded(node)
        if found is None:
            continue
        if not isinstance(node, ast.Name):
            covered |= {id(part) for part in ast.walk(node) if part is not node and _is_whole(part)}
        text = found if isinstance(found, str) else found.decode("latin-1")
        opened, ran = _opened(source, node), _ran(source, node)
        for rule, what, severity in path_signs(text, source.ground, opened=opened, ran=ran, own=source.own):
            yield source.sign(rule, node, what, severity)


def _is_text(source: Source, node: ast.Name) -> bool:
    return node.id in source.names.texts and source.is_loaded(node)


def _is_whole(node: ast.AST) -> bool:
    """Parts of a text mean what the whole means; calls inside it may mean more."""
    return isinstance(node, ast.Constant | ast.JoinedStr | ast.BinOp)


def _opened(source: Source, node: ast.AST) -> bool:
    """Whether the text goes where a path is meant."""
    above = source.parent(node)
    below: ast.AST | None = node
    for _ in range(4):
        if isinstance(above, ast.Call) and below is not above.func:
            if source.names.dotted(above.func) in _OPENERS:
                return True
            return isinstance(above.func, ast.Attribute) and above.func.attr in _FOLDER_METHODS
        if isinstance(above, ast.BinOp) and isinstance(above.op, ast.Div):
            return True
        if not isinstance(above, ast.BinOp | ast.JoinedStr | ast.FormattedValue | ast.Attribute | ast.Tuple | ast.List):
            return False
        above, below = source.parent(above), above
    return False


def _ran(source: Source, node: ast.AST) -> bool:
    """Whether the text goes to a shell, or is a word of a command."""
    above = source.parent(node)
    for _ in range(4):
        if isinstance(above, ast.Call):
            return source.names.dotted(above.func) in _SHELLS
        if not isinstance(above, ast.List | ast.Tuple | ast.BinOp | ast.JoinedStr | ast.Dict | ast.keyword):
            return False
        above = source.parent(above)
    return False


def hidden_code(source: Source) -> Iterator[Sign]:
    """Code that is run from texts: read where the text can be told, refused where it was packed."""
    for node in source.nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        function = source.names.dotted(node.func)
        if function in _RUNNERS:
            yield from _run(source, node, node.args[0])
        elif function in ("types.CodeType", "types.FunctionType"):
            yield source.sign("hidden-code", node, f"makes code by {function}")
        elif function in ("pickle.loads", "builtins.memoryview") and source.names.folded(node.args[0]) is not None:
            if function == "pickle.loads":
                yield source.sign("hidden-code", node, "pickle.loads of what stands in the source")
        elif function in ("builtins.__import__", "importlib.import_module") and PRELOADED.search(
            source.names.text(node.args[0]) or ""
        ):
            yield source.sign("clock", node, "imports a library that fakes time")


def _run(source: Source, node: ast.Call, code: ast.expr) -> Iterator[Sign]:
    code = _inner(source, code)
    known = _whole(source, code) is not None
    packed = any(
        (name := source.names.dotted(part)) is not None and (name in _UNPACKERS or name.partition(".")[0] in _UNPACKERS)
        for part in ast.walk(code)
    )
    if packed or (not known and _is_from_file(source, code)):
        yield source.sign("hidden-code", node, "runs code that is packed, or comes from elsewhere")
    elif not known:
        yield source.sign("hidden-code", node, "runs code that it makes", "suspicious")


def run_texts(source: Source) -> Iterator[tuple[ast.Call, str]]:
    """Texts that are run, where they can be told, and what runs them."""
    for node in source.nodes:
        if isinstance(node, ast.Call) and node.args and source.names.dotted(node.func) in _RUNNERS:
            text = _whole(source, _inner(source, node.args[0]))
            if text is not None:
                yield node, text


def _whole(source: Source, code: ast.expr) -> str | None:
    text = source.names.folded(code)
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    return text if text is not None and HOLE not in text else None


def _inner(source: Source, code: ast.expr) -> ast.expr:
    """The text behind ``compile(ast.parse(text), …)``, and behind a name for it."""
    for _ in range(4):
        if isinstance(code, ast.Name) and code.id in source.names.texts:
            code = source.names.texts[code.id]
        if not (isinstance(code, ast.Call) and code.args and source.names.dotted(code.func) in _WRAPPERS):
            break
        code = code.args[0]
    return code


_WRAPPERS = frozenset({"ast.parse", "builtins.compile", "textwrap.dedent", "inspect.cleandoc", "ast.unparse"})


def _is_from_file(source: Source, code: ast.expr) -> bool:
    """Whether the code is read from a file or a stream, on the spot or through one name."""
    value: ast.AST = code
    if isinstance(code, ast.Name) and code.id in source.names.texts:
        value = source.names.texts[code.id]
    for part in ast.walk(value):
        if isinstance(part, ast.Attribute) and part.attr in ("read", "read_text", "read_bytes", "recv", "readline"):
            return True
        if source.names.dotted(part) == "builtins.open":
            return True
    return False
