"""Trainings that learn from teachers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from training_cases import (
    HEIGHT,
    LOOP,
    WIDTH,
    World,
    assert_same_run,
    make_recipe,
    same_weights,
    train,
    trained,
    weights_in,
)

from reidlab import losses
from reidlab.data.pixels import PixelStore
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models import Output, build
from reidlab.models.saved import save_model
from reidlab.training.distill import Lesson, check_student, make_teachers
from reidlab.training.objective import Objective
from reidlab.training.recipes import LossTerm, Recipe
from reidlab.training.run import TrainingRun
from reidlab.training.task import make_task
from reidlab.training.teachers import class_logits, teacher_digests

COMPUTE = plan("cpu", "float32")
TERMS = [
    {"name": "cross_entropy", "feature": "logits"},
    {"name": "js", "feature": "logits", "weight": 0.5},
    {"name": "relational_kd", "feature": "after", "weight": 10.0},
]


@pytest.fixture(scope="module")
def first(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(
        world, tmp_path_factory.mktemp("first") / "one", make_recipe(epochs=8, model={"classifier_std": 0.05})
    )


@pytest.fixture(scope="module")
def second(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    """Another size and another embedding, on the same images and identities."""
    return trained(
        world,
        tmp_path_factory.mktemp("second") / "two",
        make_recipe(epochs=2, model={"height": 48, "width": 24}),
        seed=3,
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REIDLAB_DATA", str(tmp_path / "data"))


def student(*teachers: TrainingRun | Path, terms: list[dict[str, Any]] = TERMS, **changes: Any) -> Recipe:
    names = [str(teacher.folder if isinstance(teacher, TrainingRun) else teacher) for teacher in teachers]
    return make_recipe(losses=terms, teachers=names, **changes)


def taught(world: World, recipe: Recipe) -> Any:
    task = make_task(recipe, world.table, world.pixels, None, 0, needs_triplets=False)
    return make_teachers(recipe, world.table, world.pixels, task, COMPUTE), np.unique(task.units)


def store(world: World, run: TrainingRun, folder: Path) -> PixelStore:
    shape = run.load_model().preprocess
    return PixelStore.build(world.table, folder, size=(shape.height, shape.width), progress=False)  # type: ignore[union-attr]


def test_lessons_are_the_means_over_teachers_and_mirrors(
    world: World, first: TrainingRun, second: TrainingRun, tmp_path: Path
) -> None:
    teachers, rows = taught(world, student(first, second))
    assert len(rows) == (world.table["split"] == "train").sum()
    asked = np.array([rows[5], rows[0], rows[5], rows[-1]])
    lesson = teachers.lesson(asked)
    features, logits = [], []
    for run in (first, second):
        model: Any = run.load_model()
        pixels = store(world, run, tmp_path / run.folder.name)
        for row, place in zip(asked, range(4)):
            image = model.preprocess(pixels.batch(np.array([row])))
            with torch.no_grad():
                embedded = F.normalize(model(image) + model(image.flip(3)), dim=1)[0]
                heads = []
                for view in (image, image.flip(3)):
                    after = [neck(f) for neck, f in zip(model.necks, model._features(view))]
                    heads += [head(f)[0] for head, f in zip(model.classifiers, after)]
            features.append((place, embedded))
            logits.append((place, torch.stack(heads).mean(0)))
    for place in range(4):
        wanted = F.normalize(torch.cat([f for p, f in features if p == place]), dim=0)
        torch.testing.assert_close(lesson.features[place], wanted, rtol=0, atol=1e-5)
        mean = torch.stack([f for p, f in logits if p == place]).mean(0)
        torch.testing.assert_close(lesson.logits[place], mean, rtol=0, atol=1e-5)
    assert not lesson.features.requires_grad and not lesson.logits.requires_grad
    assert teachers.note == "one, two"


def test_only_what_a_loss_wants_is_asked(world: World, first: TrainingRun) -> None:
    teachers, rows = taught(world, student(first, terms=[TERMS[0], TERMS[2]]))
    features, logits = teachers.lesson(rows[:3])
    assert features.shape == (3, 896) and logits is None
    teachers, _ = taught(world, student(first, terms=TERMS[:2]))
    features, logits = teachers.lesson(rows[:3])
    assert features is None and logits.shape == (3, 8)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "osnet_x0_25", "neck": "bnneck", "classifier": {"name": "arcface"}, "height": 64, "width": 32},
        {"name": "pcb", "backbone": "resnet18", "height": 96, "width": 48},
        {"name": "custom_cnn_v32", "height": 32, "width": 16},
    ],
    ids=lambda spec: spec["name"],
)
def test_logits_of_other_models_are_those_of_test_time(spec: dict[str, Any], world: World, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = build(spec, 5)
    size = (spec["height"], spec["width"])
    pixels = PixelStore.build(world.table, tmp_path / "store", size=size, progress=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = class_logits(model, pixels, np.array([3, 1]), COMPUTE)
    again = class_logits(model, pixels, np.array([1, 3]), COMPUTE)
    assert given.shape == (2, 5) and torch.isfinite(given).all()
    torch.testing.assert_close(given, again.flip(0), rtol=0, atol=1e-5)  # no statistic of the batch, nothing random
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_the_objective_is_the_sum_of_its_terms() -> None:
    torch.manual_seed(1)
    before, labels = torch.randn(6, 8, requires_grad=True), torch.arange(6) // 2
    heads = (torch.randn(6, 3, requires_grad=True), torch.randn(6, 3, requires_grad=True))
    lesson = Lesson(torch.randn(6, 5), torch.randn(6, 3))
    terms = [
        LossTerm(name="js", feature="logits", weight=0.5, options={"temperature": 4.0}),
        LossTerm(name="kd", feature="logits", options={"alpha": 0.3}),
        LossTerm(name="relational_kd", feature="before", weight=2.0),
    ]
    objective = Objective(tuple(terms))
    found = objective(Output(before, before, heads), labels, lesson)
    js, kd = losses.build("js", temperature=4.0), losses.build("kd", alpha=0.3)
    wanted = sum(0.5 * js(h, lesson.logits) / 2 + kd(h, lesson.logits, labels) / 2 for h in heads)
    wanted = wanted + 2 * losses.build("relational_kd")(before, lesson.features)
    torch.testing.assert_close(found, wanted)
    assert {"loss_js", "loss_kd", "loss_relational_kd", "agreement"} <= objective.stats.keys()
    for said in (None, Lesson(lesson.features)):
        with pytest.raises(UserError, match="loss 'js' takes teacher logits, and no teacher gave any"):
            objective(Output(before, before, heads), labels, said)


def test_a_student_comes_nearer_to_its_teacher(world: World, first: TrainingRun, tmp_path: Path) -> None:
    terms = [{"name": "js", "feature": "logits", "options": {"temperature": 4.0}}]
    calm = {"crop_padding": 0, "erase": 0.0}
    recipe = student(
        first,
        terms=terms,
        epochs=8,
        augment=calm,
        optimizer={"lr": 5e-3},
        model={"dropout": 0.0, "classifier_std": 0.05},
    )
    run = trained(world, tmp_path / "student", recipe)
    assert run.summary["teachers"] == "one"
    assert run.history["loss_js"].iloc[-1] < 0.5 * run.history["loss_js"].iloc[0]
    rows = np.flatnonzero((world.table["split"] == "train").to_numpy())
    one, other = (class_logits(r.load_model(), world.pixels, rows, COMPUTE).argmax(1) for r in (first, run))
    assert (one == other).float().mean() > 0.5  # of eight identities, whatever the teacher is worth


def test_a_stopped_one_goes_on_to_the_bit(
    world: World, first: TrainingRun, second: TrainingRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = student(first, second, epochs=3)
    whole = trained(world, tmp_path / "whole", recipe)
    assert train(world, tmp_path / "parts", recipe, stop_after=1) is None
    assert_same_run(whole, trained(world, tmp_path / "parts", recipe))
    with monkeypatch.context() as patch:  # what is finished is read, and nobody is asked again
        patch.setattr(LOOP, "make_teachers", lambda *_, **__: pytest.fail("teachers were asked"))
        assert_same_run(whole, trained(world, tmp_path / "whole", recipe))
    alone = trained(world, tmp_path / "alone", student(first, epochs=3))
    assert not same_weights(weights_in(whole.folder), weights_in(alone.folder))


def test_what_does_not_fit(world: World, first: TrainingRun, tmp_path: Path) -> None:
    empty, silent, bare, damaged = (tmp_path / name for name in ("empty", "silent", "bare", "damaged"))
    empty.mkdir()
    spec = {"name": "custom_cnn_v32", "height": HEIGHT, "width": WIDTH}
    save_model(build(spec), silent, {"spec": spec, "num_classes": 0})
    save_model(build(spec, 8), bare, {"spec": spec, "num_classes": 8})
    shutil.copytree(first.folder, damaged)
    weights = weights_in(first.folder)
    weights["classifiers.0.weight"][0, 0] = float("nan")
    save_file(weights, damaged / "model" / "model.safetensors")
    for recipe, words in [
        (student(), r"its loss 'js' learns from a teacher, and none is named.*teachers: .RUN."),
        (student(first, terms=TERMS[:1]), "has teachers, but none of its losses learns from one: add js"),
        (student(empty), "teachers=.*empty holds no saved model"),
        (student(Path("nobody")), "There is no run 'nobody'"),
        (student(tmp_path / "zoo.pth"), r"teachers=.*zoo.pth' is a file of weights; name a training run"),
        (student(first, silent), r"silent' has no classifier, hence no logits; relational_kd learns from features"),
        (student(first, bare), r"bare': the images and identities that it was trained on is not known"),
        (student(first, damaged), r"teachers=.*damaged': .*'classifiers.0.weight' has 1 NaN or infinite values"),
    ]:
        with pytest.raises(UserError, match=words):
            train(world, tmp_path / "student", recipe)
    with pytest.raises(UserError, match="'relational_kd' cannot see feature 'logits'"):
        train(world, tmp_path / "student", student(first, terms=[{"name": "relational_kd", "feature": "logits"}]))
    with pytest.raises(UserError, match="'js' cannot see feature 'after'"):
        train(world, tmp_path / "student", student(first, terms=[{"name": "js", "feature": "after"}]))


def test_other_identities_teach_by_features_alone(world: World, first: TrainingRun, tmp_path: Path) -> None:
    other = world.changed(split=world.table["split"].where(world.table["pid"] != 0, "val"))
    with pytest.raises(UserError, match=r"identities that it was trained on are others.*relational_kd"):
        train(other, tmp_path / "student", student(first))
    run = trained(other, tmp_path / "student", student(first, terms=[TERMS[0], TERMS[2]], epochs=1))
    assert np.isfinite(run.history["loss_relational_kd"]).all()


def test_other_weights_have_another_digest(first: TrainingRun, second: TrainingRun, tmp_path: Path) -> None:
    one, two = str(first.folder), str(second.folder)
    assert teacher_digests([one, two]) == teacher_digests([one]) + teacher_digests([two])
    assert teacher_digests([one]) != teacher_digests([two]) and teacher_digests([]) == []
    save_model(second.load_model(), tmp_path / "copy", {"spec": "custom_cnn_v32", "num_classes": 0})
    assert teacher_digests([str(tmp_path / "copy")]) != teacher_digests([one])


def test_other_people_on_as_many_images_are_other_classes(world: World, first: TrainingRun, tmp_path: Path) -> None:
    other = world.changed(pid=world.table["pid"].where(world.table["split"] != "train", world.table["pid"] + 500))
    with pytest.raises(UserError, match="was trained on are others"):
        train(other, tmp_path / "student", student(first))


def test_runs_of_before_are_known_by_their_data(world: World, first: TrainingRun, tmp_path: Path) -> None:
    older = tmp_path / "older"
    shutil.copytree(first.folder, older)
    finished = json.loads((older / "finished.json").read_text())
    del finished["classes"]
    (older / "finished.json").write_text(json.dumps(finished))
    trained(world, tmp_path / "student", student(older, epochs=1))


def test_students_on_given_triplets(world: World, first: TrainingRun, tmp_path: Path) -> None:
    """Their rows are drawn otherwise than the teacher's; the classes are the same."""
    terms = [{"name": "ehtm", "feature": "triplets"}, TERMS[1], {"name": "relational_kd", "feature": "before"}]
    model = {"neck": "bnneck"}
    recipe = make_recipe("ehtm", losses=terms, teachers=[str(first.folder)], epochs=1, model=model)
    run = trained(world, tmp_path / "student", recipe)
    assert np.isfinite(run.history[["loss_js", "loss_relational_kd"]].to_numpy()).all()


def test_a_margin_does_not_go_with_a_teachers_logits(world: World, tmp_path: Path) -> None:
    torch.manual_seed(0)
    spec = {"name": "osnet_x0_25", "neck": "bnneck", "height": 64, "width": 32}
    for classifier, fits in (("linear", True), ("cosine_linear", True), ("arcface", False), ("circle", False)):
        model = build({**spec, "classifier": classifier}, 3)
        for terms in (TERMS, TERMS[::2]):
            recipe = student(Path("any"), terms=terms)
            if fits or terms != TERMS:
                check_student(recipe, model)
                continue
            with pytest.raises(UserError, match=r"loss 'js' compares logits.*adds a margin to them"):
                check_student(recipe, model)


def test_the_active_share_stays_that_of_the_triplets() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(8, 4), torch.arange(8) // 2
    terms = [LossTerm(name=name, feature="before") for name in ("relational_kd", "triplet")]
    objective = Objective(tuple(terms))
    objective(Output(features, features), labels, Lesson(torch.randn(8, 3)))
    triplet = losses.build("triplet")
    triplet(features, labels)
    assert objective.stats["active_share"] == triplet.stats["active_share"]
