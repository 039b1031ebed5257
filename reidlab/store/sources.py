"""The digest of the code that makes a result.

It covers the given modules and every module of the same package that they import, found in the syntax trees
without importing anything, so that a changed line is seen before any stage runs. Comments, formatting and
docstrings do not count, nor do imports for type checkers alone. What is chosen by name (`reidlab.registry`) counts
where the stage's parameters name it, or code that counts does: a loss that a recipe does not use changes nothing.
Other imports that cannot be read (`import_module`) count as the whole package around them.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import CodeType, ModuleType
from typing import Any

from reidlab.errors import UserError
from reidlab.registry import REGISTRIES, Entry, names_code
from reidlab.store.syntax import read_module, resolve, source_file, stamp

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
        ".params.shared",
        ".params.studies",
        ".paths",
        ".progress",
        ".registry",
        ".registry.entries",
        ".registry.of_balance",
        ".registry.of_data",
        ".registry.of_explain",
        ".registry.of_models",
        ".registry.of_retrieval",
        ".registry.of_siamese",
        ".registry.of_training",
        ".registry.options",
        ".space",
        ".store",
        ".store.clearing",
        ".store.sources",
        ".store.provenance",
        ".store.runs",
        ".store.stages",
        ".store.syntax",
        ".store.origins",
        ".training.processes",
        ".training.telling",
        ".training.tracking",
    )
)
_loaded: dict[str, tuple[object, str]] = {}  # module -> its spec and digest when first asked for
_OWN, _BEGAN = __name__.partition(".")[0], time.time_ns()


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
        if source_file(name) is None:
            raise UserError(f"The source of module {name!r} was not found, so a change in it would go unnoticed.")
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
        file = source_file(name)
        if name in found or file is None or (name in NEUTRAL and name not in names):
            continue
        found.add(name)
        _, wanted, chosen = read_module(*stamp(file))
        unread = set(chosen)
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        for item in wanted:
            waiting += [m for m in resolve(item, package) if m.partition(".")[0] in tops]
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
    if names_code(text) and source_file(text.partition(":")[0]):
        found.append(Entry(text, text, ""))
    return tuple(found)


def _meaning(name: str) -> str:
    """Return the digest of a module's source; refuses what was edited after this process had loaded it."""
    file = source_file(name)
    assert file is not None
    digest = read_module(*stamp(file))[0]
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
    if module != "__main__" and source_file(module) is not None:
        return str(module)
    raw = getattr(inspect.unwrap(item), "__code__", None)
    if raw is None:
        raise UserError(f"The source of {item!r} was not found. Name the module that makes the stage in `code`.")
    return f"function:{getattr(item, '__qualname__', '?')}:{hashlib.sha256(_bytecode(raw)).hexdigest()[:16]}"


def _bytecode(code: CodeType) -> bytes:
    parts = [code.co_code, repr(code.co_names).encode()]
    parts += [_bytecode(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return b"\0".join(parts)
