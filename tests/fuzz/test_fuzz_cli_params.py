"""Any command line, parameter or batch of a loss ends in a result, in a usage error or in a UserError."""

from __future__ import annotations

import contextlib
import inspect
import io
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from fuzz_cases import ends_well, fuzz, junk, junk_text
from hypothesis import example, given
from hypothesis import strategies as st

from reidlab.cli import main
from reidlab.errors import UserError
from reidlab.listings.registered import KINDS
from reidlab.losses import LOSSES, build, takes_of
from reidlab.losses.probe import ProbeBatch
from reidlab.params import NOTEBOOKS, coerce, describe
from reidlab.paths import find
from reidlab.workbook import runner
from reidlab.workbook.names import check_names

NAMES = sorted({name for model in NOTEBOOKS.values() for name in model.model_fields})
VALUES = ["{{1}}", "{[1]: 2}", "{'a': {1, 2}}", "[" * 300, "9" * 5000, "2024-01-31", "~nosuchuser/x", "x" * 300, "nan"]
VALUES += [
    "",
    "None",
    "true",
    "-1",
    "1e999",
    "[1, 'a']",
    "{'a': 1, 'a': 2}",
    "cuda",
    "auto",
    "demo",
    "pedestrians",
    "a,b",
]
TEXT = st.sampled_from(VALUES) | junk_text()
SHELL = TEXT.filter(lambda text: "\x00" not in text)  # no shell can give a null character
COMMANDS = ["run", "report", "results", "runs", "runs list", "runs rm", "runs gc", "data list", "data describe", "data"]
COMMANDS += ["dashboards", "data group", *KINDS, *KINDS]
FLAGS = [
    "-p",
    "--param",
    "-f",
    "-o",
    "-k",
    "--label",
    "--timeout",
    "--params",
    "--code",
    "--run",
    "--output",
    "--force",
]
FLAGS += [
    "--older-than",
    "--stale",
    "--dry-run",
    "--root",
    "--val-share",
    "--seed",
    "--help",
    "--",
    "-",
    "--keep-going",
]
WORDS = st.sampled_from([*FLAGS, "1", "01", "03_training", "3", "12", "*", "[", "timm/*", "res*", *NAMES]) | SHELL


def command_line(words: list[str]) -> tuple[int, str]:
    """Run the command line in this process; no kernel, no dashboard and no data set is started or read."""
    done = runner.Outcome(Path("a.ipynb"), Path("a.ipynb"), "done", 1.0)
    err = io.StringIO()
    with (
        patch.object(runner, "run_notebook", lambda *_, **__: done),
        patch("reidlab.cli.dashboards.serve", lambda *_, **__: 0),
        patch("reidlab.data.read", side_effect=UserError("not read here")),
        patch("reidlab.stages.data.data_stage", side_effect=UserError("not read here")),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(err),
    ):
        return main(words), err.getvalue()


@fuzz(50)
@given(st.sampled_from(COMMANDS).map(str.split), st.lists(WORDS, max_size=5))
@example(["run"], ["1", "-p", "options", "{{1}}"])
@example(["run"], ["~nosuchuser/x"])
@example(["runs", "list"], ["/"])
def test_any_command_line(command: list[str], words: list[str]) -> None:
    code, said = ends_well(lambda: command_line([*command, *words]))
    assert code in (0, 1, 2) and "Traceback" not in said
    assert code != 2 or said.strip()


@fuzz(60)
@given(st.sampled_from(sorted(NOTEBOOKS)), st.dictionaries(st.sampled_from(NAMES), SHELL, max_size=3))
def test_any_parameter_of_run(notebook: str, given_: dict[str, str]) -> None:
    words = [part for name, value in given_.items() for part in ("-p", f"{name}={value}")]
    code, said = ends_well(lambda: command_line(["run", notebook, *words]))
    assert code in (0, 2) and (code == 0 or said.startswith("reidlab: ") or said.startswith("Usage"))


@fuzz(60)
@given(st.sampled_from(sorted(NOTEBOOKS)), st.data())
def test_any_values_of_parameters(notebook: str, data: st.DataObject) -> None:
    model = NOTEBOOKS[notebook]
    names = st.sampled_from(sorted(model.model_fields)) | junk_text()
    values: dict[str, Any] = data.draw(st.dictionaries(names, junk() | TEXT, max_size=4))
    made = ends_well(lambda: model.from_values(values))
    if not isinstance(made, UserError):
        assert model.from_values(made.model_dump()) == made and "Parameters" in made._repr_html_()
        assert set(made.changed()) <= set(values)
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    ends_well(lambda: coerce(model, texts))


def test_every_default_is_what_its_description_allows() -> None:
    for model in NOTEBOOKS.values():
        rows = describe(model)
        assert coerce(model, {row.name: str(getattr(model(), row.name)) for row in rows}) == model().model_dump()


@fuzz(60)
@given(TEXT)
def test_any_path(text: str) -> None:
    ends_well(lambda: find(text))


@fuzz(60)
@given(TEXT)
def test_any_parameter_file(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(f"seed: 1\nroot: {text}\n", encoding="utf-8", errors="surrogatepass")
        code, _ = ends_well(lambda: command_line(["run", "1", "-f", str(path)]))
    assert code in (0, 2)


SHAPES = st.sampled_from([(4, 6), (4, 6), (4, 6), (1, 6), (0, 6), (4, 0), (4,), (), (4, 6, 1), (5, 6), (4, 3)])
KINDS_OF_NUMBERS = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int8, torch.bool]
KINDS_OF_NUMBERS += [torch.complex64, torch.uint8]


@st.composite
def tensors(draw: st.DrawFn) -> Any:
    """Return a tensor of any shape and kind, with NaN, infinities and huge numbers in it, or something else."""
    if draw(st.integers(0, 12)) == 0:
        return draw(junk())
    fill = draw(st.sampled_from([0.0, 1.0, -1.0, 1e30, -1e30, float("nan"), float("inf"), 3.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    made = torch.randn(draw(SHAPES), generator=generator)
    made = torch.where(torch.rand(made.shape, generator=generator) < draw(st.sampled_from([0, 0, 0.3, 1])), fill, made)
    return made.to(draw(st.sampled_from([torch.float32, torch.float32, *KINDS_OF_NUMBERS])))


LABELS = st.lists(st.integers(-2, 7), min_size=4, max_size=4).map(torch.tensor)


@fuzz(150)
@given(st.sampled_from(sorted(LOSSES)), st.data())
def test_any_batch_of_a_loss(name: str, data: st.DataObject) -> None:
    needed: dict[str, dict[str, int]] = {
        "center": {"num_classes": 6, "dim": 6},
        "cross_orthogonality": {"channels": 3},
        "feature_kd": {"dim": 6, "teacher_dim": 6},
    }
    loss = build(name, **needed.get(name, {}))
    whole = [data.draw(LABELS | tensors() if "labels" in what else tensors()) for what in takes_of(name)]
    found = ends_well(lambda: loss(*whole))
    if not isinstance(found, UserError):
        assert found.shape == () and found.is_floating_point()
        assert all(stat.ndim == 0 for stat in loss.stats.values())


@fuzz(50)
@given(st.sampled_from(sorted(LOSSES)) | junk_text(), st.data())
def test_any_options_of_a_loss(name: str, data: st.DataObject) -> None:
    known = sorted(inspect.signature(LOSSES[name].factory).parameters) if name in LOSSES else []
    numbers = st.sampled_from([0, 1, -1, 0.5, 2.0, 10**12, True, "mean", "cosine"])
    options = data.draw(st.dictionaries(st.sampled_from([*known, "x"]), junk() | numbers, max_size=3))
    ends_well(lambda: build(name, **options))


@fuzz(60)
@given(junk(), junk())
@example([[1.0, 2.0], [3.0, 4.0]], ["a", "b"])
@example([["a"]], [0])
def test_any_batch_of_a_probe(features: Any, labels: Any) -> None:
    ends_well(lambda: ProbeBatch.of(features, labels))


def test_words_that_are_looked_up() -> None:
    for model in NOTEBOOKS.values():
        for name in model.model_fields:
            for value in ("~nosuchuser/x", "x" * 300, "cuda"):
                made = ends_well(lambda model=model, name=name, value=value: model.from_values({name: value}))
                if not isinstance(made, UserError):
                    ends_well(lambda made=made, name=name: check_names(made, [name]))
