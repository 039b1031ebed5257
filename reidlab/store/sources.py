"""The digest of the code that makes a result.

It covers the given modules and every module of the same package that they import, found in the syntax trees
without importing anything, so that a changed line is seen before any stage runs. Comments, formatting and
docstrings do not count, nor do imports for type checkers alone. What is chosen by name (`reidlab.registry`) counts
where the stage's parameters name it, or code that counts does: a loss that a recipe does not use changes nothing.
Other imports that cannot be read (`import_module`) count as the whole package around them.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from reidlab.errors import UserError
from reidlab.registry import REGISTRIES, Entry, names_code

__all__ = ["Code", "code_digest", "code_names", "reachable", "texts_of"]

Code = ModuleType | Callable[..., Any] | str

# They keep, check and log results and cannot change one: a better message here must not retrain every model. Of the
# registry's tables, the lines that are used count (`Entry.identity`).
NEUTRAL = frozenset(
    f"reidlab{name}"
    for name in (
        "",
        ".documents",
        ".documents.plain",
        ".documents.yaml_events",
        ".errors",
        ".params",
        ".params.base",
        ".params.history",
        ".paths",
        ".progress",
        ".registry",
        ".registry.entries",
        ".registry.of_data",
        ".registry.of_models",
        ".registry.of_training",
        ".registry.options",
        ".space",
        ".store",
        ".store.sources",
        ".store.provenance",
        ".store.runs",
        ".store.stages",
        ".training.telling",
        ".training.tracking",
    )
)
_loaded: dict[str, tuple[object, str]] = {}  # module -> its spec and digest when first asked for
_OWN, _BEGAN = __name__.partition(".")[0], time.time_ns()
DYNAMIC = frozenset({"import_module", "iter_modules", "walk_packages", "__import__"})


def code_names(code: Iterable[Code]) -> list[str]:
    """Name what makes a stage: modules, or `function:name:digest` for what lives in no file (a notebook)."""
    return sorted({_name_of(item) for item in code})


def code_digest(code: Iterable[Code], named: Any = ()) -> str:
    """Return the hex digest of the modules (or the modules of the functions) and of all that they import.

    Args:
        code: modules, functions or module names.
        named: plain data, such as a stage's parameters: what its texts choose by name counts too.

    Raises:
        UserError: a module's source is not found or does not parse.
    """
    total = hashlib.sha256()
    names = code_names(code)
    functions = [name for name in names if name.startswith("function:")]
    modules, entries = reachable([name for name in names if name not in functions], texts_of(named))
    for name in sorted(modules):
        total.update(f"{name} {_meaning(name)}\n".encode())
    for line in [*functions, *sorted(entry.identity() for entry in entries)]:
        total.update(f"{line}\n".encode())
    return total.hexdigest()


def reachable(names: Sequence[str], texts: Iterable[str] = ()) -> tuple[set[str], list[Entry]]:
    """Return the modules that `names` import and the entries of registries that they or `texts` name.

    Modules count with all that they import in turn, and with themselves; those of other top packages do not.
    """
    tops = {name.partition(".")[0] for name in names} | {_OWN}
    for name in names:
        if _file(name) is None:
            raise UserError(f"The source of module {name!r} was not found, so its results cannot be kept apart.")
    found: set[str] = set()
    entries: dict[int, Entry] = {}
    waiting, unread = list(names), set(texts)
    seen: set[str] = set()
    while waiting or unread:
        for text in unread - seen:
            for entry in _entries(text):
                entries[id(entry)] = entry
                tops.add(entry.module.partition(".")[0])
                waiting.append(entry.module)
                unread = unread | set(texts_of([*entry.fixed.values(), *entry.defaults.values()]))
        seen |= unread
        unread = set()
        if not waiting:
            break
        name = waiting.pop()
        file = _file(name)
        if name in found or file is None or (name in NEUTRAL and name not in names):
            continue
        found.add(name)
        _, wanted, chosen = _read(*_stamp(file))
        unread = set(chosen)
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for item in wanted:
            waiting += [m for m in _resolve(item, package) if m.partition(".")[0] in tops]
    return found, list(entries.values())


def texts_of(data: Any) -> set[str]:
    """Return the texts in plain data, keys of mappings left out."""
    if isinstance(data, str):
        return {data}
    if isinstance(data, Mapping):
        return {text for value in data.values() for text in texts_of(value)}
    if isinstance(data, (list, tuple)):
        return {text for value in data for text in texts_of(value)}
    return set()


@functools.cache
def _entries(text: str) -> tuple[Entry, ...]:
    """Return what a text may choose, of every kind: "circle" is a loss and a classifier."""
    found = [registry[text] for registry in REGISTRIES if text in registry]
    if names_code(text) and _file(text.partition(":")[0]):
        found.append(Entry(text, text, ""))
    return tuple(found)


def _meaning(name: str) -> str:
    """Return the digest of a module's source; refuses what was edited after this process had loaded it."""
    file = _file(name)
    assert file is not None
    digest = _read(*_stamp(file))[0]
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is not None:
        known = _loaded.get(name)
        if known and known[0] is spec:  # a reload makes a new spec
            edited = known[1] != digest
        else:  # between its import and now; what is imported only after an edit is refused too, to be safe
            edited = not known and name.partition(".")[0] == _OWN and file.stat().st_mtime_ns > _BEGAN
        if edited:
            raise UserError(
                f"{name} was edited after this process had loaded it, so the old code would make the new result. "
                "Restart the kernel."
            )
        _loaded[name] = (spec, digest)
    return digest


def _name_of(item: Code) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, ModuleType):
        return item.__name__
    while isinstance(item, functools.partial):
        item = item.func
    module = getattr(item, "__module__", None) or type(item).__module__
    if module != "__main__" and _file(module) is not None:
        return str(module)
    raw = getattr(inspect.unwrap(item), "__code__", None)
    if raw is None:
        raise UserError(f"The source of {item!r} was not found. Name the module that makes the stage in `code`.")
    return f"function:{getattr(item, '__qualname__', '?')}:{hashlib.sha256(_bytecode(raw)).hexdigest()[:16]}"


def _bytecode(code: CodeType) -> bytes:
    parts = [code.co_code, repr(code.co_names).encode()]
    parts += [_bytecode(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return b"\0".join(parts)


@functools.cache
def _folder(top: str) -> Path | None:
    """Return the folder of a top package, or the file of a top module; importing neither."""
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if loaded is None:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        loaded = spec.origin if spec else None
    if loaded is None or not str(loaded).endswith(".py"):
        return None
    return Path(loaded).parent if Path(loaded).name == "__init__.py" else Path(loaded)


def _file(name: str) -> Path | None:
    """Return the source file of a module by its name, without importing it or its parents."""
    top, _, rest = name.partition(".")
    folder = _folder(top) if top else None
    if folder is None or (rest and folder.is_file()):
        return None
    if folder.is_file():
        return folder
    base = folder.joinpath(*rest.split(".")) if rest else folder
    for file in (base.with_suffix(".py") if rest else base / "__init__.py", base / "__init__.py"):
        if file.is_file():
            return file
    return None


def _stamp(file: Path) -> tuple[Path, int, int]:
    state = file.stat()
    return file, state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=4096)
def _read(file: Path, _changed: int, _size: int) -> tuple[str, tuple[tuple[str, str], ...], frozenset[str]]:
    """Return the digest of a file's meaning, its imports and the names it chooses; cached until the file changes."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise UserError(f"{file.name}, line {error.lineno}: the code does not parse: {error.msg}") from error
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and body:
            first = body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest(), tuple(_wanted(tree)), frozenset(_chosen(tree))


def _wanted(tree: ast.AST) -> Iterable[tuple[str, str]]:
    """Return what a module may import: (kind, dotted name), relative names with their dots."""
    for node in _run(tree):
        if isinstance(node, ast.Import):
            yield from (("module", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (("from", f"{base}:{alias.name}") for alias in node.names)
        elif (
            isinstance(node, (ast.Name, ast.Attribute))
            and (getattr(node, "id", "") or getattr(node, "attr", "")) in DYNAMIC
        ):
            yield "siblings", ""


def _run(tree: ast.AST) -> Iterable[ast.AST]:
    """Walk all that can run: not what stands below `if TYPE_CHECKING`."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test).rpartition(".")[2] == "TYPE_CHECKING":
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _chosen(tree: ast.AST) -> Iterable[str]:
    """Return the texts that a module may choose parts by: defaults and arguments of calls."""
    for node in _run(tree):
        values: list[ast.expr | None] = []
        if isinstance(node, ast.arguments):
            values = [*node.defaults, *node.kw_defaults]
        elif isinstance(node, ast.Call):
            values = [*node.args, *(word.value for word in node.keywords)]
        elif isinstance(node, (ast.AnnAssign, ast.Assign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            values = [] if any(getattr(target, "id", "") == "__all__" for target in targets) else [node.value]
        for value in values:
            for part in ast.walk(value) if value is not None else ():
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.value


def _resolve(entry: tuple[str, str], package: str) -> list[str]:
    kind, name = entry
    if kind == "siblings":
        file = _file(package)
        return [f"{package}.{p.stem}" for p in sorted(file.parent.rglob("*.py"))] if file and package else []
    if kind == "from":
        base, _, part = name.partition(":")
        dots = len(base) - len(base.lstrip("."))
        if dots:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - dots + 1], *filter(None, [base.lstrip(".")])])
        inner = f"{base}.{part}"
        return [base] if part == "*" else [inner] if _file(inner) else [_home(base, part)]
    parts = name.split(".")  # `import a.b.c` gives a name through which a and a.b are reached too
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _home(package: str, name: str, depth: int = 8) -> str:
    """Return the module that a package re-exports `name` from; the package itself where it does not."""
    file = _file(package)
    if depth and file is not None and file.name == "__init__.py":
        for kind, target in _read(*_stamp(file))[1]:
            if kind == "from" and target.endswith(f":{name}"):
                (base,) = _resolve((kind, f"{target.rpartition(':')[0]}:*"), package)
                return f"{base}.{name}" if _file(f"{base}.{name}") else _home(base, name, depth - 1)
    return package
