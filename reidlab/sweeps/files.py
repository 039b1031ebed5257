"""Sweep files: many runs of notebooks in one YAML file, read into a frozen model that refuses unknown names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from reidlab.documents import as_mapping, read_yaml
from reidlab.errors import UserError, nearest, shown
from reidlab.paths import exists, find
from reidlab.training.tracking import check_tracking

__all__ = ["DISTRIBUTIONS", "MOST_RUNS", "Draws", "Limits", "Setting", "Sweep", "load_sweep", "size_of"]

MOST_RUNS = 10_000
DISTRIBUTIONS = {
    "choice": "one of a list",
    "uniform": "[low, high], any number between them",
    "log": "[low, high] above 0, uniform in the logarithm",
    "whole": "[low, high], whole numbers, both ends included",
}
_LABEL = re.compile(r"[\w.+-]{1,60}")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(k|m|g|t)(i?)b?", re.IGNORECASE)
_SEED = 2**32 - 1
_LARGEST = 10**15  # bytes
_FAR = 1e300  # what is drawn between two numbers: their difference must be a number as well


def _listed(given: Any) -> Any:
    """Let one name or number stand without a list; numbers of notebooks are text."""
    parts = given if isinstance(given, (list, tuple)) else [given]
    return [str(part) if isinstance(part, int) and not isinstance(part, bool) else part for part in parts]


def _words(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse tags that a list of them, with blanks between, would not give back."""
    bad = next((tag for tag in tags if not tag or re.search(r"\s", tag)), None)
    if bad is not None:
        raise ValueError(f"{bad!r} is no tag: write one word for each")
    return tags


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Tags = Annotated[Names, AfterValidator(_words)]


class Strict(BaseModel):
    """What all parts of a sweep share: frozen, no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Setting(Strict):
    """One entry of `list`: parameters that belong together."""

    name: str = Field(default="", description="in the names of its runs; empty: its parameters stand there")
    tags: Tags = ()
    params: dict[str, Any] = {}


class Draws(Strict):
    """Parameters drawn at random: the same number and seed give the same draws, more draws begin with the same ones."""

    draws: int = Field(ge=1, le=MOST_RUNS)
    seed: int = Field(default=0, ge=0, le=_SEED)
    params: dict[str, dict[str, Any]] = Field(min_length=1, description="a distribution and its list for each")

    @field_validator("params")
    @classmethod
    def _can_be_drawn(cls, params: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, said in params.items():
            _check_distribution(name, said)
        return params


class Limits(Strict):
    """What each run may take."""

    seconds: float | None = Field(default=None, gt=0, description="for the whole notebook")
    memory: str | None = Field(default=None, description="of all its processes together, such as 4 GB")

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, memory: str | None) -> str | None:
        if memory is not None:
            size_of(memory)
        return memory

    @property
    def memory_bytes(self) -> int | None:
        """The limit of memory in bytes."""
        return None if self.memory is None else size_of(self.memory)


class Sweep(Strict):
    """Notebooks x grid x list x draws x seeds: every combination is a run."""

    name: str = Field(description="of the folder of its results; default: the file's")
    about: str = Field(default="", description="what is asked, in a sentence")
    notebooks: Names = Field(min_length=1, description="numbers, names or paths, as for `reidlab run`")
    params: dict[str, Any] = Field(default={}, description="the same for all runs")
    grid: dict[str, list[Any]] = Field(default={}, description="a list of values for each: every combination")
    settings: tuple[Setting, ...] = Field(default=(), alias="list", description="parameters that belong together")
    random: Draws | None = None
    seeds: tuple[int, ...] = Field(default=(), description="values of the parameter `seed`; 3 means 0, 1, 2")
    tags: Tags = ()
    limits: Limits = Limits()
    tracking: Names = Field(default=(), description="mlflow: a parent run for the sweep, a child run for each run")
    workers: int | None = Field(default=None, ge=1, le=256, description="runs at the same time")
    kernel: str = "python3"

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not _LABEL.fullmatch(name):
            raise ValueError("becomes part of a folder's name: up to 60 letters, digits, '.', '_', '+' and '-'")
        return name

    @field_validator("tracking")
    @classmethod
    def _is_at_hand(cls, tracking: tuple[str, ...]) -> tuple[str, ...]:
        for name in tracking:
            if name != "mlflow":
                raise ValueError(f"{name!r} takes no sweeps; mlflow does (a notebook's own `tracking` is among params)")
        check_tracking(tracking)
        return tracking

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_is_a_range(cls, given: Any) -> Any:
        if isinstance(given, int) and not isinstance(given, bool):
            if not 1 <= given <= MOST_RUNS:
                single = f"; write [{given}] for that seed" if 0 <= given <= _SEED else ""
                raise ValueError(f"a number of seeds must be from 1 to {MOST_RUNS:,}{single}")
            return tuple(range(given))
        return given

    @field_validator("seeds")
    @classmethod
    def _seeds_are_seeds(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= seed <= _SEED for seed in seeds) or len(set(seeds)) < len(seeds):
            raise ValueError(f"must be different whole numbers from 0 to {_SEED}")
        return seeds

    @field_validator("grid")
    @classmethod
    def _grid_has_values(cls, grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
        empty = [name for name, values in grid.items() if not values]
        if empty:
            raise ValueError(f"{empty[0]} has no values")
        return grid

    @model_validator(mode="after")
    def _each_parameter_once(self) -> Self:
        said: dict[str, str] = {}
        axes = {"grid": set(self.grid), "random": set(self.random.params if self.random else ())}
        axes["list"] = {name for setting in self.settings for name in setting.params}
        axes["seeds"] = {"seed"} if self.seeds else set()
        for axis, names in axes.items():
            for name in sorted(names):
                if name in said:
                    raise ValueError(f"parameter {name} is set by both {said[name]} and {axis}: keep one of them")
                said[name] = axis
        return self


def size_of(text: str) -> int:
    """Return the bytes that a text such as "4 GB" or "512MiB" means.

    Raises:
        ValueError: it is no such text, less than a megabyte or more than a petabyte.
    """
    found = _SIZE.fullmatch(text.strip())
    power = "kmgt".index(found[2].lower()) + 1 if found else 0
    size = float(found[1]) * (1024 if found[3] else 1000) ** power if found else 0
    if not 1_000_000 <= size <= _LARGEST:
        raise ValueError("must be a size from a megabyte to a petabyte with its unit, such as 500 MB or 4 GB")
    return int(size)


def load_sweep(file: str | Path) -> Sweep:
    """Read a sweep from a YAML file.

    Raises:
        UserError: no such file, one that is no YAML mapping, or unknown or impossible values, all named.
    """
    path = find(str(file))
    what = f"sweep {path.name}"
    if not exists(path) or not path.is_file():
        raise UserError(f"sweep {str(file)!r}: there is no such file, neither here nor in the workbook's folder.")
    content = as_mapping(read_yaml(path, what), what)
    if not content:
        raise UserError(f"{what}: is empty; it needs notebooks and what differs (docs/guide.md, Sweeps).")
    try:
        return Sweep.model_validate({"name": path.stem, **content})
    except ValidationError as error:
        raise UserError(_explained(what, error)) from error


def _explained(what: str, error: ValidationError) -> str:
    lines = [f"{what} cannot be used:"]
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"])
        given = f", given {shown(problem['input'])}" if problem["type"] != "missing" and problem["loc"] else ""
        message = problem["msg"].removeprefix("Value error, ")
        hint = nearest(str(problem["loc"][-1]), _fields(problem["loc"])) if problem["type"] == "extra_forbidden" else ""
        lines.append(f"  {where or 'together'}: {message}{given}.{hint}")
    return "\n".join(lines)


def _fields(place: tuple[int | str, ...]) -> list[str]:
    """Return the names that are known where an unknown one stands."""
    parts: dict[str, type[Strict]] = {"list": Setting, "random": Draws, "limits": Limits}
    part = parts.get(str(place[0]), Sweep) if len(place) > 1 else Sweep
    return [field.alias or name for name, field in part.model_fields.items()]


def _check_distribution(name: str, said: dict[str, Any]) -> None:
    """Refuse what no parameter can be drawn from.

    Raises:
        ValueError: with what is allowed.
    """
    known = "; ".join(f"{kind}: {meaning}" for kind, meaning in DISTRIBUTIONS.items())
    if len(said) != 1 or next(iter(said)) not in DISTRIBUTIONS:
        raise ValueError(f"{name} needs one distribution ({known})")
    kind, values = next(iter(said.items()))
    if not isinstance(values, list) or not values:
        raise ValueError(f"{name}: {kind} needs {DISTRIBUTIONS[kind]}")
    if kind == "choice":
        return
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    fits = len(numbers) == len(values) == 2 and -_FAR <= numbers[0] < numbers[1] <= _FAR
    if kind == "whole":
        fits = fits and all(isinstance(value, int) and abs(value) < 2**62 for value in numbers)
    if not fits or (kind == "log" and numbers[0] <= 0):
        raise ValueError(f"{name}: {kind} needs {DISTRIBUTIONS[kind]}")
