"""Any YAML, JSON, literal or recipe ends in plain data or in a UserError, and within seconds."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from fuzz_cases import ends_well, fuzz, junk, junk_text
from hypothesis import example, given
from hypothesis import strategies as st

from reidlab.data.transforms import Augment
from reidlab.documents import load_json, load_literal, load_yaml, plain
from reidlab.errors import UserError
from reidlab.paths import RECIPES
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe, load_recipe
from reidlab.training.schedules import SCHEDULES, options_of, schedule_of

SHIPPED = {path.stem: path.read_text(encoding="utf-8") for path in sorted(RECIPES.glob("*.yaml"))}
SIGNS = [
    *"[]{}&*!|>'\"%@`#:-?,~<=\\\t\n ()_.0123456789e+",
    "<<: ",
    "- ",
    "? ",
    ": ",
    "&a ",
    "*a",
    "!!set ",
    "---\n",
    "\x00",
]
SIGNS += [
    ".nan",
    ".inf",
    "1e999",
    "9" * 400,
    "true",
    "NaN",
    "null",
    "None",
    "True",
    "\ud800",
    "\\u0000",
    "\\ud800",
    "lambda: 1",
]
SOUP = st.lists(st.sampled_from(SIGNS) | st.text(max_size=3), max_size=40).map("".join)
REPEATED = st.builds(str.__mul__, st.sampled_from(SIGNS), st.integers(1, 3000))


def mutated(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return texts with a few pieces cut out, doubled or replaced by signs that mean something."""

    @st.composite
    def change(draw: st.DrawFn) -> str:
        text = draw(texts)
        for _ in range(draw(st.integers(1, 4))):
            begin = draw(st.integers(0, len(text)))
            end = min(len(text), begin + draw(st.integers(0, 20)))
            piece = draw(st.sampled_from(SIGNS) | st.just(text[begin:end] * 2) | SOUP)
            text = text[:begin] + piece + text[end:]
        return text

    return change()


TEXTS = SOUP | REPEATED | junk_text() | mutated(st.sampled_from(sorted(SHIPPED.values())))


def is_plain(value: Any) -> bool:
    """Return whether JSON could hold it."""
    return json.loads(json.dumps(value, allow_nan=False)) == value


@fuzz(150)
@given(TEXTS)
@example("a: &a [x]\n" + "b: &b [*a, *a]\n" * 3)
@example("? [\n" * 2000)
def test_any_yaml(text: str) -> None:
    found = ends_well(lambda: load_yaml(text, "-f mine.yaml"))
    assert isinstance(found, UserError) or is_plain(found)


@fuzz(150)
@given(TEXTS | mutated(st.just(json.dumps({"spec": {"name": "x", "size": [1, 2.5, None, True]}, "n": "é"}))))
def test_any_json(text: str) -> None:
    found = ends_well(lambda: load_json(text, "config.json"))
    assert isinstance(found, UserError) or is_plain(found)


@fuzz(150)
@given(TEXTS | mutated(st.just("{'a': [1, -2.5, None, True, ('x', \"y\")], 'b': {}}")))
def test_any_literal(text: str) -> None:
    found = ends_well(lambda: load_literal(text, "options"))
    assert isinstance(found, UserError) or is_plain(found)


@fuzz(100)
@given(junk())
def test_any_value(value: Any) -> None:
    found = ends_well(lambda: plain(value, "options"))
    assert isinstance(found, UserError) or is_plain(found)


@fuzz(60)
@given(mutated(st.sampled_from(sorted(SHIPPED.values()))) | SOUP)
def test_recipes_with_changed_texts(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        ends_well(lambda: load_recipe(path))


@fuzz(60)
@given(st.sampled_from(sorted(SHIPPED)), st.data())
def test_recipes_with_changed_values(name: str, data: st.DataObject) -> None:
    content = yaml.safe_load(SHIPPED[name])
    for _ in range(data.draw(st.integers(1, 3))):
        part: Any = content
        while True:
            keys = list(part) if isinstance(part, dict) else list(range(len(part)))
            key = data.draw(st.sampled_from(keys))
            deeper = isinstance(part[key], (dict, list)) and part[key] and data.draw(st.booleans())
            if not deeper:
                break
            part = part[key]
        part[key] = data.draw(junk() | st.sampled_from([0, 1, -1, 0.5, "", [], {}, None, True, "constant"]))
    content = ends_well(lambda: plain(content, "recipe"))
    if isinstance(content, UserError):
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        recipe = ends_well(lambda: load_recipe(path))
    if isinstance(recipe, Recipe):
        ends_well(lambda: schedule_of(recipe.schedule, base_lr=1e-3, epochs=min(recipe.epochs, 999), steps_per_epoch=3))
        ends_well(lambda: Objective(recipe.losses))
        ends_well(lambda: Augment(**recipe.augment.model_dump()))


@fuzz(100)
@given(st.sampled_from(sorted(SCHEDULES)) | junk_text(), st.data())
def test_any_schedule(name: str, data: st.DataObject) -> None:
    known = sorted(options_of(name)) if name in SCHEDULES else ["x"]
    values = junk() | st.sampled_from([0, 1, 2, 0.5, -1, [3], [2, 5], "epoch", "step", True])
    spec = {"name": name, **data.draw(st.dictionaries(st.sampled_from(known), values, max_size=3))}
    schedule = ends_well(lambda: schedule_of(spec, base_lr=1e-3, epochs=7, steps_per_epoch=3))
    if not isinstance(schedule, UserError):
        assert all(schedule(step / 3, [(1, 0.5), (3, 0.4)]) >= 0 for step in range(21))
