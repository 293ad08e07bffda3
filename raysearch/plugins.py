"""The one door for policies, mutators, judges, benchmarks, profilers, ...; the built-in ones come through it too.

A plug-in is referred to by the name of an entry point in the group ``raysearch.<kind>``, by
``package.module:Class``, or by ``path/to/file.py:Class``. Its options are its constructor's parameters.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from raysearch.errors import PluginError, UserError, nearest

Kind = Literal["policies", "mutators", "judges", "benchmarks", "profilers", "consultants", "agents"]
KINDS: tuple[Kind, ...] = get_args(Kind)
METHODS: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "policies": {"ask": ("view", "slots", "rng"), "tell": ("fact",), "best": ("view",)},
    "mutators": {"mutate": ("workspace", "brief", "rng")},
    "judges": {"judge": ("workspace", "brief", "rng")},
    "benchmarks": {"measure": ("workspace", "rng")},
    "profilers": {"profile": ("workspace", "focus", "rng")},
    "consultants": {"consult": ("workspace", "brief", "rng")},
    "agents": {"ask": ("workspace", "call")},
}
OURS = ("population", "mutators", "evaluators")


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """Everything that another process needs to load the plug-in again; plain data."""

    kind: Kind
    name: str
    """What the run calls it, in its facts and on its screens."""
    reference: str
    options: Mapping[str, object] = field(default_factory=dict)

    def load(self) -> object:
        """See `load`."""
        return load(self.kind, self.reference, self.options)


def load(
    kind: Kind,
    reference: str,
    options: Mapping[str, object],
    *,
    offers: Mapping[str, object] | None = None,
    origins: Mapping[str, str] | None = None,
) -> object:
    """Build the plug-in that ``reference`` names.

    ``offers`` are values of the run that the constructor gets where it has a parameter of that name and no option
    says otherwise. ``origins`` say where each option was written, for messages. Raises PluginError.
    """
    found = find(kind, reference)
    chosen = _arguments(_title(kind, reference), found, options, offers or {}, origins or {})
    try:
        return found(**chosen)
    except UserError:
        raise
    except Exception as error:
        where = f" ({', '.join(sorted(set(origins.values())))})" if origins else ""
        raise PluginError(f"{_title(kind, reference)} refuses its options{where}: {_told(error)}") from error


def check(
    kind: Kind,
    reference: str,
    options: Mapping[str, object],
    *,
    offers: Mapping[str, object] | None = None,
    origins: Mapping[str, str] | None = None,
) -> type:
    """The class that `load` would build, with its options checked but nothing built. Raises PluginError."""
    found = find(kind, reference)
    _arguments(_title(kind, reference), found, options, offers or {}, origins or {})
    return found


def find(kind: Kind, reference: str) -> type:
    """The class that ``reference`` names, with every method that its kind needs. Raises PluginError."""
    place, _, name = reference.rpartition(":")
    if not place:
        place, name = _entry(kind, reference)
    if place.endswith(".py") or "/" in place or "\\" in place:
        module = _from_file(kind, reference, _at_home(place))
    else:
        module = _from_package(kind, reference, place)
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise PluginError(f"{_title(kind, reference)}: no class {name!r} in {place}.{nearest(name, classes)}")
    _check_methods(kind, reference, found)
    return found


def available(kind: Kind) -> dict[str, str]:
    """Installed plug-ins of ``kind``: name to ``package.module:Class``."""
    return {entry.name: entry.value for entry in importlib.metadata.entry_points(group=f"raysearch.{kind}")}


def known_names() -> dict[str, tuple[str, ...]]:
    """The names of all installed plug-ins, by kind."""
    entries = importlib.metadata.entry_points()  # read once: every installed package is looked at
    return {kind: tuple(sorted(entries.select(group=f"raysearch.{kind}").names)) for kind in KINDS}


def resources(plugin: object) -> dict[str, float]:
    """What the plug-in (or its class) asks for in its attribute ``resources``. Raises PluginError."""
    said = getattr(plugin, "resources", None) or {}
    title = plugin.__name__ if isinstance(plugin, type) else type(plugin).__name__
    if not isinstance(said, Mapping):
        raise PluginError(f"{title}.resources must map names to amounts, as in {{'cpus': 1, 'gpus': 1}}.")
    for name, amount in said.items():
        number = isinstance(amount, int | float) and not isinstance(amount, bool) and 0 <= amount < 1e9
        if not isinstance(name, str) or not number:
            raise PluginError(f"{title}.resources[{name!r}] must be a number, zero or more, not {amount!r}.")
    return {str(name): float(amount) for name, amount in said.items()}


def check_packages(names: tuple[str, ...] = OURS, home: Path | None = None) -> None:
    """Raise PluginError unless the packages ``names`` are the ones that came with this raysearch."""
    home = home or Path(__file__).resolve().parents[1]
    for name in names:
        loaded = sys.modules.get(name)
        spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
        place = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if place != home / name:
            raise PluginError(
                f"the package {name!r} that Python finds is {place or 'missing'}, not the one that came with "
                f"raysearch ({home / name}): start from another folder, or rename or uninstall the other one."
            )


def _title(kind: Kind, reference: str) -> str:
    return f"{_ONE[kind]} {reference!r}"


_ONE: Mapping[Kind, str] = {
    "policies": "policy",
    "mutators": "mutator",
    "judges": "judge",
    "benchmarks": "benchmark",
    "profilers": "profiler",
    "consultants": "consultant",
    "agents": "agent",
}


def _arguments(
    title: str, found: type, options: Mapping[str, object], offers: Mapping[str, object], origins: Mapping[str, str]
) -> dict[str, object]:
    """The keyword arguments for the constructor of ``found``. Raises PluginError, naming every misfit."""
    try:
        parameters = inspect.signature(found).parameters
    except (ValueError, TypeError):
        raise PluginError(f"{title}: its constructor does not say what it takes.") from None
    named = {name: p for name, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    try:
        hints = get_type_hints(inspect.getattr_static(found, "__init__"), include_extras=True)
    except Exception:  # annotations that name what only a type checker imports
        hints = {}
    chosen = {name: value for name, value in offers.items() if name in named and name not in options}
    problems = []
    for name, value in options.items():
        where = f"{origins[name]}: " if name in origins else ""
        if name not in named and not anything:
            takes = nearest(name, named) or " It takes no options."
            problems.append(f"{where}{title} has no option {name!r}.{takes}")
            continue
        fits, chosen[name] = _fitted(value, hints.get(name, Any))
        if not fits:
            problems.append(f"{where}{title}: option {name!r} must be {_spelt(hints[name])}, not {value!r}.")
    problems += [
        f"{title} needs the option {name!r}."
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in chosen
    ]
    if problems:
        raise PluginError("\n".join(problems))
    return chosen


def _fitted(value: object, hint: Any) -> tuple[bool, object]:
    """Whether ``value`` is of the annotated type, and the value as that type.

    A list becomes a tuple, text a path and a whole number a float where asked for. Annotations beyond plain types
    and containers of them are left to the constructor.
    """
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fitted(value, inner[0])
    if origin in (Union, UnionType):
        found = [fit for fit in (_fitted(value, option) for option in inner) if fit[0]]
        exact = [fit for fit in found if type(fit[1]) is type(value)]
        return (exact or found or [(False, value)])[0]
    if origin is Literal:
        return any(type(choice) is type(value) and choice == value for choice in inner), value
    if hint in (bool, int, str, NoneType):
        return type(value) is hint, value
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
        return number, float(cast(float, value)) if number else value
    if hint is Path:
        return isinstance(value, str | Path), Path(value) if isinstance(value, str) else value
    if (origin or hint) in (tuple, list, Sequence):
        return _fitted_items(value, origin or hint, inner)
    if (origin or hint) in (dict, Mapping):
        if not isinstance(value, Mapping):
            return False, value
        fits = {key: _fitted(item, inner[1] if inner else Any) for key, item in value.items()}
        return all(fit for fit, _ in fits.values()), {key: item for key, (_, item) in fits.items()}
    return True, value


def _fitted_items(value: object, container: Any, inner: tuple[Any, ...]) -> tuple[bool, object]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        return False, value
    fixed = container is tuple and bool(inner) and Ellipsis not in inner
    hints = inner if fixed else (inner[:1] or (Any,)) * len(value)
    if len(hints) != len(value):
        return False, value
    fits = [_fitted(item, hint) for item, hint in zip(value, hints, strict=True)]
    items = [item for _, item in fits]
    return all(fit for fit, _ in fits), items if container is list else tuple(items)


def _spelt(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", Path: "a path"}
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _spelt(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(_spelt(option) for option in inner if option is not NoneType)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if (origin or hint) in (tuple, list, Sequence):
        of = f" of {_spelt(inner[0])}" if len(set(inner) - {Ellipsis}) == 1 else ""
        return f"a list{of}"
    if (origin or hint) in (dict, Mapping):
        return "a table"
    return names.get(hint, str(hint))


def _entry(kind: Kind, name: str) -> tuple[str, str]:
    """Module and class behind the name of an entry point."""
    known = available(kind)
    if name in known:
        module, _, found = known[name].partition(":")
        return module, found
    path = _at_home(name)
    if name.endswith(".py"):
        classes = _classes_in(path)
        example = classes[0] if len(classes) == 1 else "Class"
        listed = f" It defines {', '.join(classes)}." if classes else ""
        raise PluginError(f"{_title(kind, name)}: say which class of the file, as in {name}:{example}.{listed}")
    raise PluginError(
        f"no {_ONE[kind]} is called {name!r}.{nearest(name, known)} "
        "Your own: package.module:Class or path/to/file.py:Class."
    )


def _at_home(place: str) -> Path:
    return Path(os.path.expanduser(place))  # noqa: PTH111 - Path's own raises for a user whom nobody knows


def _classes_in(path: Path) -> list[str]:
    body = _parsed(path).body
    return [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def _from_package(kind: Kind, reference: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise PluginError(
                f"{_title(kind, reference)}: there is no module {error.name!r}: install its package, "
                "or give a file as path/to/file.py:Class."
            ) from None
        raise PluginError(f"{_title(kind, reference)}: importing {name} failed: {_told(error)}") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"{_title(kind, reference)}: importing {name} failed: {_told(error)}") from error


def _from_file(kind: Kind, reference: str, path: Path) -> ModuleType:
    """The module in ``path``, under a name made from the path, with its folder importable while it loads."""
    path = path.absolute()
    if not path.is_file():
        there = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise PluginError(f"{_title(kind, reference)}: no file {path}.{nearest(path.name, there)}")
    name = f"raysearch_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{_title(kind, reference)}: {path} is not a Python file (its name must end in .py).")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        _check_siblings(kind, reference, path)
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except PluginError:
        del sys.modules[name]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise PluginError(f"{_title(kind, reference)}: importing it failed: {_told(error)}") from error
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _check_siblings(kind: Kind, reference: str, path: Path) -> None:
    """Refuse a file that imports another of its folder whose name is taken by a module loaded from elsewhere."""
    for name in _imports_of(path):
        loaded = sys.modules.get(name)
        beside = (path.parent / f"{name}.py").is_file() or (path.parent / name / "__init__.py").is_file()
        if loaded and beside and path.parent not in Path(getattr(loaded, "__file__", None) or "/").absolute().parents:
            raise PluginError(
                f"{_title(kind, reference)}: it imports {name!r} from its folder, but another module of that name "
                f"is loaded already ({getattr(loaded, '__file__', None) or 'built in'}): rename one of them."
            )


def _imports_of(path: Path) -> set[str]:
    """First parts of the names of all modules that the file imports; none if it cannot be read."""
    nodes = list(ast.walk(_parsed(path)))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    of = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in plain + of}


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return ast.Module([], [])


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _told(error: BaseException) -> str:
    """The exception in one line, with the place in the plug-in's own code where it arose."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _machinery(f.filename)]
    at = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
    text = str(error).strip().split("\n")[0]
    return f"{at}{type(error).__name__}{f': {text}' if text else ''}"


def _machinery(filename: str) -> bool:
    return filename == __file__ or filename.startswith("<frozen") or "importlib" in filename


def _check_methods(kind: Kind, reference: str, found: type) -> None:
    for method, parameters in METHODS[kind].items():
        wanted = f"{method}({', '.join(('self', *parameters))})"
        function = getattr(found, method, None)
        if not callable(function):
            defined = [key for key in dir(found) if not key.startswith("_")]
            hint = nearest(method, defined)
            hint = hint if "Did you mean" in hint else ""
            raise PluginError(f"{_title(kind, reference)}: {found.__name__} has no method {wanted}.{hint}")
        bound = isinstance(inspect.getattr_static(found, method), staticmethod | classmethod)
        try:
            inspect.signature(function).bind(*([None] * (len(parameters) + (not bound))))
        except TypeError as error:
            raise PluginError(
                f"{_title(kind, reference)}: {found.__name__}.{method} cannot be called as {wanted}: {error}."
            ) from None
        except ValueError:  # written in C without a signature: nothing to compare
            continue
