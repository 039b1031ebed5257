"""Lessons on disk, teachers that are files, and the student's own average as teacher."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from training_cases import HEIGHT, WIDTH, World, assert_same_run, make_recipe, same_weights, train, trained, weights_in

from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models import Output, build
from reidlab.models.saved import save_model
from reidlab.training import lessons
from reidlab.training import teachers as teachers_module
from reidlab.training.distill import dim_of, lesson_of, make_teachers, told_of
from reidlab.training.engine import Learner
from reidlab.training.recipes import Recipe
from reidlab.training.run import TrainingRun
from reidlab.training.task import make_task
from reidlab.training.teachers import EMA, find_teacher, teacher_digests

COMPUTE = plan("cpu", "float32")
CALM = {"flip": 0.0, "crop_padding": 0, "erase": 0.0}
CROSS = {"name": "cross_entropy", "feature": "logits"}
FEATURES = {"name": "feature_kd", "feature": "after", "weight": 2.0}
JS = {"name": "js", "feature": "logits"}


@pytest.fixture(scope="module")
def teacher(world: World, tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    return trained(world, tmp_path_factory.mktemp("teacher") / "wise", make_recipe(epochs=1))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REIDLAB_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "cache" / "lessons"


@pytest.fixture
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(teachers_module, "load_model", lambda *_: pytest.fail("a teacher was loaded"))
    return monkeypatch


def student(teacher: TrainingRun | str, *terms: dict[str, Any], **changes: Any) -> Recipe:
    given = teacher if isinstance(teacher, str) else str(teacher.folder)
    return make_recipe(losses=[CROSS, *(terms or (FEATURES, JS))], teachers=[given], **{"epochs": 1, **changes})


def asked(world: World, recipe: Recipe) -> Any:
    task = make_task(recipe, world.table, world.pixels, None, 0, needs_triplets=False)
    return make_teachers(recipe, world.table, world.pixels, task, COMPUTE)


def files(cache: Path) -> list[Path]:
    return sorted(cache.glob("*.safetensors"))


def test_a_second_training_asks_nobody_and_learns_the_same(
    world: World, teacher: TrainingRun, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = student(teacher, augment=CALM)
    first = trained(world, tmp_path / "first", recipe)
    assert [path.name.partition("-")[0] for path in files(cache)] == ["features", "logits"]
    with monkeypatch.context() as patch:
        patch.setattr(teachers_module, "load_model", lambda *_: pytest.fail("a teacher was loaded"))
        assert_same_run(first, trained(world, tmp_path / "second", recipe))


def test_the_loss_is_that_of_a_live_teacher(world: World, teacher: TrainingRun, nobody_is_asked: Any) -> None:
    """Without augmentation: what the teacher says of the batch itself, image and mirror."""
    nobody_is_asked.undo()
    nobody_is_asked.setenv("REIDLAB_DATA", str(world.pixels.folder.parent / "data"))
    recipe = student(teacher)
    asked(world, recipe)
    nobody_is_asked.setattr(teachers_module, "load_model", lambda *_: pytest.fail("a teacher was loaded"))
    kept = asked(world, recipe)
    rows = np.flatnonzero((world.table["split"] == "train").to_numpy())[::7]
    model: Any = teacher.load_model()
    images = model.preprocess(world.pixels.batch(rows))
    with torch.no_grad():
        live: Any = lesson_of(model, images, logits=True)
        mirrored: Any = lesson_of(model, images.flip(3), logits=True)
    lesson = kept.lesson(rows)
    torch.testing.assert_close(
        lesson.features, F.normalize(live.features + mirrored.features, dim=1), atol=2e-2, rtol=0
    )
    both = F.normalize(model(images) + model(images.flip(3)), dim=1).detach()
    torch.testing.assert_close(lesson.features, both, atol=1e-5, rtol=0)
    torch.testing.assert_close(lesson.logits, (live.logits + mirrored.logits) / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("damage", ["cut", "another number", "another shape", "of another file"])
def test_damaged_lessons_are_made_anew(
    world: World, teacher: TrainingRun, cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = student(teacher, FEATURES)
    whole = asked(world, recipe)
    (path,) = files(cache)
    bytes_before = path.read_bytes()
    said = load_file(path)["said"].clone()  # of the file as it is now, which is about to change
    if damage == "cut":
        path.write_bytes(bytes_before[:-40])
    elif damage == "another number":
        path.write_bytes(bytes_before[:-4] + b"\0\0\0\0")
    elif damage == "another shape":
        save_file({"said": said[:-1]}, path)
    else:
        save_file({"said": said.flip(0).contiguous()}, path)
    with caplog.at_level(logging.WARNING):
        again = asked(world, recipe)
    assert [record.getMessage().count("are made anew") for record in caplog.records] == [1]
    rows = np.unique(make_task(recipe, world.table, world.pixels, None, 0, needs_triplets=False).units)
    assert torch.equal(again.lesson(rows).features, whole.lesson(rows).features)
    assert torch.equal(load_file(path)["said"], said)  # the order of what is said about it may be another


def test_other_images_or_another_teacher_have_lessons_of_their_own(
    world: World, teacher: TrainingRun, tmp_path: Path, cache: Path
) -> None:
    recipe = student(teacher, FEATURES)
    asked(world, recipe)
    asked(world.changed(split=world.table["split"].where(world.table["pid"] != 0, "val")), recipe)
    assert len(files(cache)) == 2
    spec = {"name": "custom_cnn_v32", "height": HEIGHT, "width": WIDTH}
    save_model(build(spec), tmp_path / "other", {"spec": spec, "num_classes": 0})
    asked(world, student(str(tmp_path / "other"), FEATURES))
    assert len(files(cache)) == 3


def test_where_nothing_can_be_kept_a_training_goes_on(
    world: World, teacher: TrainingRun, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file in the folder's place")
    with caplog.at_level(logging.WARNING):
        assert asked(world, student(teacher, FEATURES)).dim == 896
    assert any("is not kept in" in record.getMessage() for record in caplog.records)


def test_an_image_that_goes_missing_is_not_told_as_lessons_that_cannot_be_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = []

    def ask() -> torch.Tensor:
        asked.append(1)
        raise FileNotFoundError("0001.jpg is gone")

    with pytest.raises(FileNotFoundError, match="gone"), caplog.at_level(logging.WARNING):
        lessons.remember(tmp_path / "new" / "lessons.safetensors", 3, ask)
    assert len(asked) == 1 and not caplog.messages
    assert torch.equal(
        lessons.remember(tmp_path / "new" / "lessons.safetensors", 1, lambda: torch.ones(1, 2)), torch.ones(1, 2)
    )


def test_kept_logits_do_not_let_other_identities_pass(world: World, teacher: TrainingRun, cache: Path) -> None:
    asked(world, student(teacher, JS))
    other = world.changed(pid=world.table["pid"].where(world.table["split"] != "train", world.table["pid"] + 500))
    with pytest.raises(UserError, match="was trained on are others"):
        asked(other, student(teacher, JS))
    assert len(files(cache)) == 1


def test_a_layer_is_trained_with_the_student_and_left_behind(
    world: World, teacher: TrainingRun, tmp_path: Path
) -> None:
    recipe = student(teacher, FEATURES, epochs=6, augment=CALM, optimizer={"lr": 5e-3}, model={"dropout": 0.0})
    run = trained(world, tmp_path / "student", recipe)
    near = run.history["cosine_to_teacher"]
    assert near.iloc[-1] > near.iloc[0] + 0.2
    assert any(
        line.startswith("loss_feature_kd layer: 1 tensors, 114,688 ") for line in run.summary["parameter_groups"]
    )
    assert not any("projector" in name for name in weights_in(run.folder))
    assert_same_run(run, trained(world, tmp_path / "student", recipe))  # a finished one is read without its teacher


def test_the_average_says_what_it_says_at_test_time(world: World, tmp_path: Path) -> None:
    recipe = make_recipe(losses=[CROSS, FEATURES, JS], teachers=EMA, ema={"decay": 0.5}, epochs=2)
    run = trained(world, tmp_path / "self", recipe)
    assert run.summary["teachers"] == "the moving average of its own weights"
    assert np.isfinite(run.history[["loss_feature_kd", "loss_js"]].to_numpy()).all()
    model: Any = run.load_model()
    before = copy.deepcopy(model.state_dict())
    images = torch.rand(4, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    lesson: Any = lesson_of(model, images, logits=True)
    torch.testing.assert_close(lesson.features, F.normalize(model(images), dim=1))
    assert lesson.logits.shape == (4, 8) and not model.training
    assert same_weights(before, model.state_dict())
    assert dim_of(None, recipe, model) == model.dim == 896
    assert told_of(None, make_recipe()) == {}


def test_the_average_teaches_what_it_is_after_the_step_before(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]] = []
    real = Learner._own_lesson

    def spy(self: Learner, images: torch.Tensor) -> Any:
        assert self.averaging.ema is not None and self.averaging.ema.module is not self.model
        lesson: Any = real(self, images)
        again: Any = lesson_of(self.averaging.ema.module, images, logits=False)
        torch.testing.assert_close(lesson.features, again.features)
        assert not lesson.features.requires_grad
        seen.append((copy.deepcopy(self.averaging.ema.module.state_dict()), copy.deepcopy(self.model.state_dict())))
        return lesson

    monkeypatch.setattr(Learner, "_own_lesson", spy)
    recipe = make_recipe(losses=[CROSS, FEATURES], teachers=EMA, ema={"decay": 0.75, "warmup": False}, epochs=1)
    trained(world, tmp_path / "self", recipe)
    (average, _), (later, weights) = seen[:2]
    name = "network.0.weight" if "network.0.weight" in average else next(n for n in average if n.endswith("weight"))
    torch.testing.assert_close(later[name], 0.75 * average[name] + 0.25 * weights[name])


@pytest.mark.parametrize(
    "changes",
    [{"teachers": [EMA]}, {"teachers": [EMA, "small"], "ema": {"decay": 0.9}}],
    ids=["no average", "not alone"],
)
def test_the_average_teaches_alone(world: World, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"'ema' is the moving average .* alone .*`ema: .decay: 0.999"):
        train(world, tmp_path / "self", make_recipe(losses=[CROSS, FEATURES], **changes))


def test_its_digest_is_nobodys() -> None:
    assert teacher_digests([EMA]) == []
    with pytest.raises(UserError, match="There is no run 'emma'"):
        find_teacher("emma")


def test_outputs_have_one_shape(teacher: TrainingRun) -> None:
    model: Any = teacher.load_model()
    images = torch.rand(3, 3, HEIGHT, WIDTH)
    with teachers_module.speaking(model):
        assert isinstance(Output(*model(images)).logits, tuple)
    assert not model.training and model(images).shape == (3, 896)
