"""What the source of a module says without running it: its meaning, its imports, the names that it chooses."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from reidlab.errors import UserError

__all__ = ["read_module", "resolve", "source_file", "stamp"]

DYNAMIC = frozenset({"import_module", "iter_modules", "walk_packages", "__import__"})


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


def source_file(name: str) -> Path | None:
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


def stamp(file: Path) -> tuple[Path, int, int]:
    """Return a file with its time and size, the key by which `read_module` caches files."""
    state = file.stat()
    return file, state.st_mtime_ns, state.st_size


@functools.lru_cache(maxsize=4096)
def read_module(file: Path, _changed: int, _size: int) -> tuple[str, tuple[tuple[str, str], ...], frozenset[str]]:
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


def resolve(entry: tuple[str, str], package: str) -> list[str]:
    """Return the modules that an import of `read_module` may mean, seen from a package."""
    kind, name = entry
    if kind == "siblings":
        file = source_file(package)
        return [f"{package}.{p.stem}" for p in sorted(file.parent.rglob("*.py"))] if file and package else []
    if kind == "from":
        base, _, part = name.partition(":")
        dots = len(base) - len(base.lstrip("."))
        if dots:
            parts = package.split(".")
            base = ".".join([*parts[: len(parts) - dots + 1], *filter(None, [base.lstrip(".")])])
        inner = f"{base}.{part}"
        return [base] if part == "*" else [inner] if source_file(inner) else [_home(base, part)]
    parts = name.split(".")  # `import a.b.c` gives a name through which a and a.b are reached too
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def _home(package: str, name: str, depth: int = 8) -> str:
    """Return the module that a package re-exports `name` from; the package itself where it does not."""
    file = source_file(package)
    if depth and file is not None and file.name == "__init__.py":
        for kind, target in read_module(*stamp(file))[1]:
            if kind == "from" and target.endswith(f":{name}"):
                (base,) = resolve((kind, f"{target.rpartition(':')[0]}:*"), package)
                return f"{base}.{name}" if source_file(f"{base}.{name}") else _home(base, name, depth - 1)
    return package
