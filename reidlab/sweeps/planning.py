"""From a sweep to its runs: every combination, checked before anything runs, each with the digest that it is known by.

A run is known by the code of its notebook and by its parameters, defaults included; of a parameter that names a recipe
of one's own or a small text file the content counts, of data it does not. Results are found again by that digest, in
any sweep.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reidlab.documents import MAX_BYTES
from reidlab.errors import UserError
from reidlab.params import NotebookParams
from reidlab.paths import find, root
from reidlab.store.sources import texts_of
from reidlab.sweeps.files import MOST_RUNS, Draws, Setting, Sweep
from reidlab.training.recipes import load_recipe
from reidlab.workbook.cells import find_notebook, parameter_model, read_notebook
from reidlab.workbook.names import check_names, shares
from reidlab.workbook.runner import check_kernel

__all__ = ["Plan", "Planned", "plan_sweep", "source_digest"]

SHORT = 12  # digits of a digest in names
_SCHEMA = 1
_TEXTS = (".yaml", ".yml", ".json")
_TOLD = 12  # problems in one message


@dataclass(frozen=True, eq=False)
class Planned:
    """One run of a sweep.

    Attributes:
        number: from 1 on, in the order of the file.
        name: what tells it from the others of its sweep.
        notebook: its file.
        given: the parameters that the sweep gives it, checked, as plain data.
        tags: of the sweep and of its entry in `list`.
        digest: of the notebook's code and all parameters, 64 hex digits.
        source: digest of the notebook's code alone.
    """

    number: int
    name: str
    notebook: Path
    given: Mapping[str, Any]
    tags: tuple[str, ...]
    digest: str
    source: str

    @property
    def command(self) -> str:
        """The command that remakes this run."""
        words = ["reidlab", "run", _called(self.notebook)]
        for name, value in self.given.items():
            words += ["-p", f"{name}={_text(value)}"]
        return shlex.join(words)

    @property
    def file(self) -> str:
        """The name of its executed notebook."""
        label = re.sub(r"[^\w.=+-]+", "-", self.name).strip("-.")
        label = label.encode()[:80].decode(errors="ignore")  # file systems count bytes
        return f"{self.number:03d}-{label}.ipynb"


@dataclass(frozen=True)
class Plan:
    """A sweep, its runs in order, and how many combinations were left out because they equal an earlier one."""

    sweep: Sweep
    runs: tuple[Planned, ...]
    repeated: int

    @property
    def digest(self) -> str:
        """The digest of all runs."""
        return hashlib.sha256("\n".join(run.digest for run in self.runs).encode()).hexdigest()

    @property
    def label(self) -> str:
        """Name and digest, as in the name of its folder."""
        return f"{self.sweep.name}-{self.digest[:SHORT]}"

    @property
    def axes(self) -> tuple[str, ...]:
        """Those given parameters that differ between runs."""
        values: dict[str, set[str]] = {}
        for run in self.runs:
            for name, value in run.given.items():
                values.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
        everywhere = {name for name in values if all(name in run.given for run in self.runs)}
        return tuple(name for name, seen in values.items() if len(seen) > 1 or name not in everywhere)


def plan_sweep(sweep: Sweep) -> Plan:
    """List the runs of a sweep and check every parameter of each.

    Raises:
        UserError: an unknown notebook or kernel, parameters that no notebook knows or that cannot be used (all of them
            in one message), names of things that do not exist, or too many runs.
    """
    check_kernel(sweep.kernel)
    notebooks = [find_notebook(which) for which in sweep.notebooks]
    sources = [read_notebook(path) for path in notebooks]
    models = [parameter_model(path, source) for path, source in zip(notebooks, sources)]
    digests = [source_digest(source) for source in sources]
    _check_count(sweep, len(notebooks))
    runs: dict[str, Planned] = {}
    problems: dict[str, list[str]] = {}
    checked: set[str] = set()
    combinations = 0
    for named, differing, given, tags in _combinations(sweep):
        for path, model, source, part in zip(notebooks, models, digests, shares(given, models)):
            combinations += 1
            name = ", ".join(filter(None, [path.stem if len(notebooks) > 1 else "", *_told(named, differing, part)]))
            try:
                params = model.from_values(part)
                _check_new_names(params, part, checked)
            except UserError as error:
                problems.setdefault(str(error), []).append(name)
                continue
            plain = {key: _plain(getattr(params, key)) for key in part}
            digest = _digest(path, source, params, sweep.kernel)
            runs.setdefault(digest, Planned(len(runs) + 1, name or path.stem, path, plain, tags, digest, source))
    if problems:
        raise UserError(_listed(sweep.name, problems))
    return Plan(sweep, tuple(runs.values()), combinations - len(runs))


def source_digest(notebook: Any) -> str:
    """Return the digest of a notebook's code; texts and outputs do not count."""
    code = [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode("utf-8", "surrogatepass")).hexdigest()


def _check_count(sweep: Sweep, notebooks: int) -> None:
    sizes = [len(values) for values in sweep.grid.values()]
    sizes += [len(sweep.settings) or 1, sweep.random.draws if sweep.random else 1, len(sweep.seeds) or 1, notebooks]
    if math.prod(sizes) > MOST_RUNS:
        raise UserError(
            f"sweep {sweep.name}: {' x '.join(str(size) for size in sizes)} = {math.prod(sizes):,} runs are more than "
            f"{MOST_RUNS:,}. Draw some of them: `random` instead of `grid`."
        )


def _combinations(sweep: Sweep) -> Iterator[tuple[str, list[str], dict[str, Any], tuple[str, ...]]]:
    """Give every combination: the name of its entry in `list`, what else differs, all parameters, tags.

    Entries change slowest, seeds fastest.
    """
    grid = [dict(zip(sweep.grid, values)) for values in itertools.product(*sweep.grid.values())]
    seeds = [{"seed": seed} for seed in sweep.seeds] or [{}]
    drawn = _drawn(sweep.random) if sweep.random else [{}]
    for entry, cell, draw, seed in itertools.product(sweep.settings or (Setting(),), grid, drawn, seeds):
        own = {} if entry.name else entry.params
        given = {**sweep.params, **entry.params, **cell, **draw, **seed}
        yield entry.name, [*own, *cell, *draw, *seed], given, (*sweep.tags, *entry.tags)


def _drawn(random: Draws) -> list[dict[str, Any]]:
    """Draw; each parameter has a stream of its own, so that another parameter or more draws change none of them."""
    columns: dict[str, list[Any]] = {}
    for name, said in random.params.items():
        own = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        generator = np.random.default_rng([random.seed, own])
        (kind, values), *_ = said.items()
        columns[name] = [_draw(kind, values, generator) for _ in range(random.draws)]
    return [{name: column[at] for name, column in columns.items()} for at in range(random.draws)]


def _draw(kind: str, values: Sequence[Any], generator: np.random.Generator) -> Any:
    if kind == "choice":
        return values[int(generator.integers(len(values)))]
    low, high = values
    if kind == "whole":
        return int(generator.integers(low, high, endpoint=True))
    if kind == "log":
        number = math.exp(generator.uniform(math.log(low), math.log(high)))
    else:
        number = generator.uniform(low, high)
    # five digits: a command that remakes the run can be read, and typed
    return min(max(float(f"{number:.5g}"), float(low)), float(high))


def _told(named: str, differing: Sequence[str], part: Mapping[str, Any]) -> list[str]:
    """Name a run in words: its entry in `list`, then what differs."""
    told = [named] if named else []
    for name in differing:
        if name in part:
            value = part[name]
            told.append(f"{name}={value if isinstance(value, str) else _text(value)}"[:60])
    return told


def _check_new_names(params: NotebookParams, given: Mapping[str, Any], checked: set[str]) -> None:
    """Look up what parameters name, once for each value: a grid repeats them many times."""
    names = {name: json.dumps([type(params).notebook, name, _plain(getattr(params, name))]) for name in given}
    new = [name for name, key in names.items() if key not in checked]
    if "recipe" in given and "recipe" not in new and new:
        new.append("recipe")  # whether its weights are needed depends on other parameters
    check_names(params, new)
    checked |= set(names.values())


def _digest(path: Path, source: str, params: NotebookParams, kernel: str) -> str:
    values = {name: _plain(value) for name, value in params}
    texts = {text: content for text in sorted(texts_of(values)) if (content := _content(text))}
    key = {"schema": _SCHEMA, "notebook": path.stem, "source": source, "parameters": values, "kernel": kernel}
    return hashlib.sha256(json.dumps({**key, "texts": texts}, sort_keys=True).encode()).hexdigest()


def _content(value: str) -> str:
    """Return the digest of the recipe or small text file that a parameter names; "" where it names none.

    Of a recipe its meaning counts, with the recipes that it begins from; comments do not.
    """
    if not value.endswith(_TEXTS):
        return ""
    with suppress(UserError):
        return hashlib.sha256(load_recipe(value).model_dump_json().encode()).hexdigest()
    try:
        path = find(value)
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError):
        return ""


def _listed(sweep: str, problems: Mapping[str, Sequence[str]]) -> str:
    lines = [f"sweep {sweep}: nothing was run, for some runs cannot be."]
    for said, names in list(problems.items())[:_TOLD]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines.append(f"{names[0] or 'every run'}{more}: {said}")
    if len(problems) > _TOLD:
        lines.append(f"... and {len(problems) - _TOLD} other problems")
    return "\n  ".join(lines)


def _called(path: Path) -> str:
    """Return how `reidlab run` is told a notebook: its name in the workbook, else its path."""
    return path.stem if path.parent == root() / "notebooks" else str(path)


def _text(value: Any) -> str:
    """Return a value as the command line reads it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def _plain(value: Any) -> Any:
    """Return a checked value as JSON has it: tuples are lists."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value
