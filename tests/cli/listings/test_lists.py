"""Lists of what is registered: wildcards, misspelt names, explanations, narrow terminals."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reidlab.errors import UserError
from reidlab.listings import KINDS, choose, records, show
from reidlab.listings.registered import _sentence
from reidlab.losses import LOSSES, takes_of
from reidlab.models import MODELS
from reidlab.params import MODELS as MODELS_OF_NOTEBOOKS
from reidlab.training.objective import Objective
from reidlab.training.recipes import LossTerm, Recipe, list_recipes, load_recipe

PARAMETERS = (
    "corruptions",
    "maps",
    "metrics",
    "rerankings",
    "trackers",
)  # named by a notebook's parameter, not by a recipe
ARGUMENTS = ("engines", "indexes")  # named by an argument of a function
ALL = [(kind, name) for kind in KINDS for name in choose(kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_each_with_a_sentence(kind: str) -> None:
    rows = show(kind).splitlines()
    assert [row.split()[0] for row in rows] == choose(kind) and len(rows) > 1
    assert all(re.fullmatch(r"\S+ {2,}\S.{10,}", row) for row in rows)


def test_the_lists_are_the_registries() -> None:
    assert choose("models") == list(MODELS) and choose("losses") == list(LOSSES) and choose("recipes") == list_recipes()
    assert show("losses", ["circle", "kd"]).splitlines()[1].split(maxsplit=1)[1] == LOSSES["kd"].description


def test_wildcards_in_either_case_and_several() -> None:
    widths = ["osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25"]
    assert choose("models", ["osnet_x*"]) == choose("models", ["OSNet_X*"]) == widths
    assert choose("models", ["mgn", "osnet_x0_?5", "*N", "osnet_x*"])[:4] == [
        "mgn",
        "osnet_x0_75",
        "osnet_x0_25",
        "lightmbn",
    ]
    found = choose("models", ["pcb", "*", "pcb"])
    assert found[0] == "pcb" and sorted(found) == sorted(MODELS), "none twice"
    assert choose("losses", ["k[ld]"]) == ["kl", "kd"]
    assert choose("losses", ["TRIPLET"]) == ["triplet"]


@pytest.mark.parametrize(
    ("kind", "patterns", "said"),
    [
        ("losses", ["tripelt"], r"no loss fits 'tripelt'\. Did you mean 'triplet'\?"),
        ("losses", ["triplet", "tripelt*"], r"no loss fits 'tripelt\*'\. Did you mean 'triplet'\?"),
        ("poolings", ["zzz"], r"There are: avg, max, avg_max"),
        ("models", ["osnet"], r"`reidlab models '\*osnet\*'` lists those with it in their names\."),
        ("models", ["osnett"], r"no model fits 'osnett'\. Did you mean 'osnet_x1_0'\?"),
        ("models", ["resnte50"], r"Did you mean 'resnet50'\?"),
        ("models", ["*regnety_00*"], r"Of timm, `reidlab models 'timm/\*regnety_00\*'` lists 5\."),
        ("models", ["timm/regnetyy_002"], r"Did you mean 'regnety_002'\?"),
        ("backbones", ["timm/zzzzz*"], r"no backbone fits 'timm/zzzzz\*'\."),
        ("recipes", ["dmeo"], r"no recipe fits 'dmeo'\. Did you mean 'demo'\?"),
    ],
)
def test_misspelt_names(kind: str, patterns: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        show(kind, patterns)


def test_networks_of_timm() -> None:
    found = choose("models", ["timm/regnety_00*", "resnet18"])
    assert found[0] == "timm/regnety_002" and found[-1] == "resnet18" and len(found) == 6
    rows = show("backbones", ["timm/*regnety_040*"]).splitlines()
    assert "timm/regnety_040      weights: pycls_in1k, ra3_in1k" in rows
    assert "timm/regnety_040_sgn  no weights" in rows
    listed = show("models", ["regnety_002.pycls_in1k", "timm/regnety_004"])
    assert listed.startswith("regnety_002.pycls_in1k  weights: pycls_in1k\n")
    for name in ("regnety_002", "timm/regnety_002", "regnety_002.pycls_in1k"):
        told = show("models", [name])
        assert f"model: {{name: {name}}}" in told and "pretrained stands for pycls_in1k" in told


@pytest.mark.parametrize(("kind", "name"), ALL, ids=lambda value: value)
def test_everything_is_explained(kind: str, name: str, tmp_path: Path) -> None:
    told = show(kind, [name])
    if kind == "recipes":  # `reidlab recipes demo > mine.yaml` is a recipe
        (tmp_path / "mine.yaml").write_text(told)
        assert load_recipe(tmp_path / "mine.yaml").model_copy(update={"name": name}) == load_recipe(name)
        return
    sentence = KINDS[kind].read()[name].sentence
    assert told.startswith(f"{KINDS[kind].one} {name}: {sentence}\n")
    for strange in ("\n  num_classes:", "kwargs", "functools", "<class", "Args:", "Raises:"):
        assert strange not in told or name == "center"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("losses", "recipes", *PARAMETERS, *ARGUMENTS)])
def test_the_way_to_name_it_in_a_recipe_is_right(kind: str) -> None:
    for name in choose(kind):
        lines = show(kind, [name]).split("In a recipe:\n")[1].replace("size: ...", "size: [64, 32]")
        given = {"model": {"name": "resnet18"}, **yaml.safe_load(lines)}
        if kind == "samplers":
            given["sampler"] = {"name": name}
        recipe = Recipe.model_validate(
            {"name": "x", "source": "", "expected": "", "losses": [{"name": "triplet", "feature": "before"}], **given}
        )
        assert name in str(recipe.model_dump())


@pytest.mark.parametrize("kind", PARAMETERS)
def test_the_way_to_name_it_as_a_parameter_is_right(kind: str) -> None:
    for name in choose(kind):
        told = show(kind, [name])
        number, parameter, value = re.findall(r"`reidlab run (\d\d) -p (\w+) (\w+)`", told)[0]
        model = next(model for model in MODELS_OF_NOTEBOOKS if model.notebook.startswith(number))
        assert name in str(getattr(model.from_values({parameter: value}), parameter)) and "In a recipe" not in told


def test_the_way_to_name_it_as_an_argument_is_right() -> None:
    for name in choose("indexes"):
        assert f"`Index.build(vectors, ids, kind='{name}', options={{...}})`" in show("indexes", [name])


@pytest.mark.parametrize("name", LOSSES)
def test_the_way_to_name_a_loss_is_right(name: str) -> None:
    told = show("losses", [name])
    assert f"({', '.join(takes_of(name))})" in told
    in_recipes = takes_of(name)[0] != "maps"
    assert ("In a recipe" in told) == in_recipes
    if in_recipes:
        written = yaml.safe_load(told.split("In a recipe:\n")[1])
        (term,) = written["losses"]
        assert ("teachers" in written) == ("teacher" in str(takes_of(name)))
        needed = {"center": {"num_classes": 2, "dim": 4}, "feature_kd": {"dim": 4, "teacher_dim": 3}}
        options = needed.get(name, {})
        assert Objective((LossTerm(**term, options=options),)).terms[0].name == name


@pytest.mark.parametrize("kind", KINDS)
def test_every_option_is_explained(kind: str) -> None:
    for name, listed in KINDS[kind].read().items():
        silent = [option.name for option in listed.details().options if not option.meaning]
        assert not silent, f"{kind} {name}: nothing is said of {', '.join(silent)}"


def test_options_with_defaults_and_meanings() -> None:
    told = show("losses", ["triplet"])
    assert "\n  margin: 0.3          0.3 in the strong baselines; not used with soft_margin.\n" in told
    assert '\n  distance: euclidean  "euclidean", or "cosine"' in told
    told = show("models", ["osnet_x0_25"])
    assert "  feature_dim: 512 " in told and "\n  backbone:" not in told, "the name stands for the backbone"
    assert "torchreid's model zoo has them" in told
    assert "pretrained stands for tv_in1k" in show("models", ["resnet50"])
    assert "timm has none" in show("models", ["timm/regnety_040_sgn"])
    told = show("schedules", ["onecycle"])
    for line in ("cycle_momentum: false", "base_momentum: 0.85", "pct_start: 0.3", "start: 0"):
        assert f"  {line} " in told or f"  {line}\n" in told
    assert "identities: 16  P, different identities in a batch." in show("samplers", ["camera"])
    assert "  nesterov: false" in show("optimizers", ["sgd"])


@pytest.mark.parametrize("width", [30, 44, 80, 120])
def test_narrow_terminals(width: int) -> None:
    for kind, patterns in (("models", []), ("recipes", []), ("losses", ["circle"]), ("models", ["lightmbn"])):
        text = show(kind, patterns, width=width)
        assert all(len(line) <= width for line in text.split("In a recipe:")[0].splitlines())
        if patterns:
            assert "".join(text.split()) == "".join(show(kind, patterns).split()), "nothing is lost"
            continue
        rows = text.splitlines()
        assert [row.split()[0] for row in rows] == choose(kind), "a line each, and no name is broken"
        for row, whole in zip(rows, show(kind).splitlines()):
            assert whole.startswith(row.removesuffix("…")) and (
                len(whole) <= width or row == whole.split()[0] or row[-1] == "…"
            )


def test_the_same_as_plain_data() -> None:
    rows = records("losses", ["circle", "kd"])
    assert [row["name"] for row in rows] == ["circle", "kd"] and rows[1]["sentence"] == LOSSES["kd"].description
    (told,) = records("losses", ["triplet"])
    assert {"name": "margin", "default": "0.3"}.items() <= told["options"][0].items()
    assert told["usage"].startswith("losses: ") and json.loads(json.dumps(told)) == told
    assert records("models", ["timm/regnety_040_sgn", "osnet_x1_0"])[0]["sentence"] == "no weights"


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            {"source": "A (B et al. 2019, v3.2): c. More.", "epochs": 3, "expected": "d. e."},
            "A (B et al. 2019, v3.2): c. Epochs: 3. Expected: d. e.",
        ),
        ({"source": "without a full stop", "expected": "x"}, "without a full stop Expected: x"),
        ({"base": "agw_r50", "epochs": 3}, "As agw_r50, changed. Epochs: 3."),
    ],
)
def test_what_a_list_says_of_a_recipe(recipe: dict[str, object], sentence: str) -> None:
    assert _sentence(recipe) == sentence


def test_lists_import_what_they_list_and_no_more() -> None:
    code = """
import sys
from reidlab.cli import main
assert main(['recipes', 'demo']) == 0 and 'torch' not in sys.modules
assert main(['losses']) == 0 and not {'timm', 'torchvision', 'accelerate', 'reidlab.training'} & set(sys.modules)
assert main(['models']) == 0 and 'timm' not in sys.modules
assert main(['schedules']) == 0 and 'timm' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_card_of_a_shipped_model_is_shown() -> None:
    assert show("models", ["small"]).startswith("# Model card: small")
    assert records("models", [" Small"])[0]["text"] == show("models", ["small"])
    assert "small" not in choose("models")  # which lists what can be built
