"""Every shipped recipe on tiny images: counts of its model, an optimiser step, and a resumed epoch with the same bits.

Models keep their depth and width, so that the options of a recipe meet the parts they are for; images, batches and
pretrained weights are left out. Stopped and killed trainings as a whole are in test_resume.
"""

from __future__ import annotations

import copy
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reidlab import losses
from reidlab.data.transforms import Augment
from reidlab.devices import plan
from reidlab.errors import UserError
from reidlab.models import Output, build, count_macs, count_parameters, without_weights
from reidlab.models.output import Branch
from reidlab.training import list_recipes, load_recipe
from reidlab.training.batches import BatchMaker
from reidlab.training.distill import Lesson
from reidlab.training.engine import Learner
from reidlab.training.loss_options import complete_terms, give_class_counts
from reidlab.training.objective import Objective
from reidlab.training.recipes import Recipe
from reidlab.training.schedules import schedule_of

# recipe -> parameters with 751 identities, without classifiers, multiply-adds at the recipe's size, width of embeddings
COUNTS = {
    "agw_r50": (25_078_864, 23_540_816, 4_056_940_544, 2048),
    "bag_of_tricks_r50": (25_050_176, 23_512_128, 4_053_270_528, 2048),
    "custom_cnn_best": (1_430_676, 757_780, 77_259_264, 896),
    "custom_cnn_v32": (1_428_884, 755_988, 77_062_656, 128),
    "densenet121_softmax": (7_864_943, 7_479_680, 2_833_137_664, 1024),
    "effnet_lite0_finetune": (4_334_848, 3_373_568, 194_277_600, 1280),
    "kd_osnet_x025": (587_400, 202_888, 46_331_520, 512),
    "fpb": (29_458_112, 27_340_292, 7_791_181_824, 5120),
    "lightmbn": (9_152_280, 6_460_696, 2_428_139_520, 3584),
    "lightmbn_gc_gem": (9_218_859, 6_527_275, 2_428_620_800, 3584),
    "mgn": (70_345_792, 68_807_744, 11_884_822_528, 2048),
    "osnet_x025_finetune": (587_400, 202_888, 82_314_880, 512),
    "osnet_x025_larger": (587_400, 202_888, 82_314_880, 512),
    "osnet_x025_scratch": (587_400, 202_888, 46_331_520, 512),
    "osnet_x1_scratch": (2_554_771, 2_169_508, 978_875_392, 512),
    "pcb": (25_190_874, 24_032_832, 6_079_905_792, 12_288),
    "plr_osnet": (5_248_988, 3_324_926, 1_127_095_296, 2560),
    "r50_nonlocal_gemp_circle": (25_980_737, 24_442_689, 6_331_564_032, 2048),
    "resnet50_ce_triplet_onecycle": (24_943_407, 24_558_144, 5_339_348_992, 512),
    "sbs_r50": (25_078_864, 23_540_816, 6_085_410_816, 2048),
    "transreid_vit_small": (24_892_032, 23_450_112, 4_917_362_688, 1920),
}
LABELS = torch.tensor([0, 0, 1, 1])


# recipe -> epoch and factor of the base rate
RATES = {
    "agw_r50": {0: 0.109, 4: 0.505, 8: 0.901, 9: 1, 38: 1, 39: 0.1, 68: 0.1, 69: 0.01, 119: 0.01},
    "bag_of_tricks_r50": {0: 0.109, 4: 0.505, 8: 0.901, 9: 1, 38: 1, 39: 0.1, 68: 0.1, 69: 0.01, 119: 0.01},
    "densenet121_softmax": {0: 1, 19: 1},
    "fpb": {0: 0.1, 19: 1, 59: 1, 60: 0.1, 90: 0.01},
    "lightmbn": {0: 0.1, 4: 0.5, 9: 1, 10: 1, 70: 0.5005, 130: 0.001},
    "lightmbn_gc_gem": {0: 0.01, 9: 0.901, 10: 1, 30: 1, 90: 0.5005, 150: 0.001},
    "mgn": {0: 1, 39: 1, 40: 0.1, 60: 0.01},
    "osnet_x1_scratch": {0: 1, 149: 1, 150: 0.1, 225: 0.01, 300: 0.001},
    "pcb": {0: 1, 39: 1, 40: 0.1},
    "plr_osnet": {0: 0.1, 19: 1, 59: 1, 60: 0.1, 90: 0.01},
    "r50_nonlocal_gemp_circle": {0: 0.01, 9: 0.901, 10: 1, 30: 1, 90: 0.501, 150: 0.002},
    "sbs_r50": {0: 0.1, 5: 0.55, 5.5: 0.595, 10: 1, 30: 1, 45: 0.501, 60: 0.002},
    "transreid_vit_small": {0: 0.01, 5: 0.995730, 60: 0.501, 120: 0.002},
}
PRETRAINED = [name for name in list_recipes() if load_recipe(name).model.get("weights")]


def scratch(recipe: Recipe, **changes: Any) -> dict[str, Any]:
    """Return the recipe's model without pretrained weights."""
    return without_weights(recipe.model) | changes


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name: str) -> None:
    recipe = load_recipe(name)
    with torch.device("meta"):
        model: Any = build(scratch(recipe), 751)
        macs = count_macs(model, model.preprocess.height, model.preprocess.width)
    total = count_parameters(model)
    assert (total, total - count_parameters(model.classifiers), macs, model.dim) == COUNTS[name]


@pytest.mark.parametrize("name", RATES)
def test_rates(name: str) -> None:
    recipe = load_recipe(name)
    lr = recipe.optimizer.lr
    schedule = schedule_of(recipe.schedule, base_lr=lr, epochs=recipe.epochs, steps_per_epoch=200)
    assert {epoch: schedule(epoch) for epoch in RATES[name]} == pytest.approx(RATES[name], rel=1e-6)


@pytest.mark.parametrize(
    "name, entropies, rankings", [("lightmbn", 0.5, 0.5), ("lightmbn_gc_gem", 0.5, 0.5), ("pcb", 1.0, 0.0)]
)
def test_means_are_the_published_sums(name: str, entropies: float, rankings: float) -> None:
    """Their authors add what branches give; our terms are means over them."""
    recipe, generator = load_recipe(name), torch.Generator().manual_seed(0)
    n, ranked = (6, ()) if name == "pcb" else (7, ("glo", "glo_drop", "pg"))
    names = (*ranked, *(f"b{i}" for i in range(n - len(ranked))))
    before, logits = (torch.randn(n, 4, 8, generator=generator) for _ in range(2))
    branches = {name: Branch(before[i], before[i], logits[i]) for i, name in enumerate(names)}
    output = Output(before[0], before[0], tuple(logits), branches=branches)
    terms = {term.name: losses.build(term.name, **term.options) for term in recipe.losses}
    expected = entropies * sum(terms["cross_entropy"](each, LABELS) for each in logits)
    expected += rankings * sum(terms["multi_similarity"](branches[name].before, LABELS) for name in ranked)
    torch.testing.assert_close(Objective(recipe.losses)(output, LABELS), expected)


def test_the_triplet_and_center_loss_of_fpb_are_those_of_longer_features() -> None:
    """Published on features of length 2, with a margin of 0.3 and a weight of 0.0005 / 4; ours have length 1."""
    recipe, generator = load_recipe("fpb"), torch.Generator().manual_seed(0)
    long, centers = 2 * F.normalize(torch.randn(4, 6, generator=generator)), torch.randn(3, 6, generator=generator)
    terms = {term.name: term for term in recipe.losses}
    center = losses.build("center", num_classes=3, dim=6)
    center.centers.data = centers / 2
    ours = terms["center"].weight * center(long / 2, LABELS)
    torch.testing.assert_close(ours, 0.0005 / 4 * (long - centers[LABELS]).square().sum(1).mean())
    triplet = losses.build("triplet", **terms["triplet"].options)
    ours = terms["triplet"].weight * triplet(long / 2, LABELS)
    torch.testing.assert_close(ours, losses.build("triplet", margin=0.3)(long, LABELS))


def tiny(name: str) -> Recipe:
    recipe, width = load_recipe(name), 64 if name == "densenet121_softmax" else 32
    changes = {"model": scratch(recipe, height=64, width=width), "compile": False, "precision": "float32"}
    return recipe.model_copy(update=changes)


class Noise:
    """Stands for a pixel store of two identities."""

    def batch(self, rows: np.ndarray) -> Tensor:
        images = torch.randint(0, 256, (12, 3, 64, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        return images[rows]


class Running:
    """A recipe's learner and its batches, as fit puts them together."""

    def __init__(
        self, recipe: Recipe, seed: int, found: tuple[dict[str, Tensor], dict[str, Any]] | None = None
    ) -> None:
        torch.manual_seed(seed)
        compute = plan("cpu", recipe.precision)
        model: Any = build(recipe.model, 3 if any(term.feature == "logits" for term in recipe.losses) else 0)
        give_class_counts(model, np.array([0, 1, 2]))
        objective = Objective(complete_terms(recipe.losses, model, 3, teacher_dim=5))
        self.learner = Learner(recipe, model, objective, compute, steps_per_epoch=1)
        augment = Augment(**recipe.augment.model_dump())
        self.batch = BatchMaker(Noise(), augment, model.preprocess, compute, seed=5)  # type: ignore[arg-type]
        self.labels = torch.cat([LABELS, LABELS, LABELS + 1]) if objective.needs_triplets else LABELS
        self.learner.start(*(found or ()))

    def epoch(self, epoch: int) -> Tensor:
        self.learner.begin_epoch(epoch)
        images = self.batch(np.arange(len(self.labels)), epoch, 0)
        generator, n = torch.Generator().manual_seed(2), len(self.labels)
        lesson = Lesson(torch.randn(n, 5, generator=generator), torch.randn(n, 3, generator=generator))
        loss, _ = self.learner.step(images, self.labels, float(epoch), (), lesson)
        self.learner.end_epoch(epoch)
        return loss

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.learner.model.state_dict().items()}


# of 16 Siamese autoencoders every backbone once; test_siamese steps every kind, on a small backbone
STEPPED = [name for name in list_recipes() if not name.endswith(("_vae", "_sae", "_dae"))]


@pytest.mark.parametrize("name", [name for name in list_recipes() if name not in STEPPED])
def test_the_other_siamese_recipes_build(name: str) -> None:
    recipe = load_recipe(name)
    kind = recipe.model["autoencoder"]
    assert name.endswith(kind if isinstance(kind, str) else kind["name"])
    with torch.device("meta"):
        model: Any = build(scratch(recipe))
        output = model.train()(torch.zeros(2, 3, model.preprocess.height, model.preprocess.width))
    assert output.siamese.reconstruction.shape[2:] == (model.preprocess.height, model.preprocess.width)
    assert "reconstruction" in [term.name for term in Objective(recipe.losses).terms]


@pytest.mark.parametrize("name", STEPPED)
def test_every_recipe_steps_and_resumes(name: str) -> None:
    recipe = tiny(name)
    assert recipe.name == name and recipe.source and recipe.expected
    first = recipe.freeze.epochs - 1 if recipe.freeze else 0  # with the thaw in between, where there is one
    whole = Running(recipe, seed=0)
    before = whole.weights()
    assert torch.isfinite(whole.epoch(first)), "a loss"
    assert all(torch.isfinite(figure) for figure in whole.learner.objective.stats.values())
    between = whole.weights(), copy.deepcopy(whole.learner.state_dict())
    if recipe.freeze:
        held = tuple(f"{module}." for module in recipe.freeze.modules)
        assert all(torch.equal(tensor, between[0][key]) for key, tensor in before.items() if key.startswith(held))
        assert not all(torch.equal(tensor, between[0][key]) for key, tensor in before.items())
    expected, after = whole.epoch(first + 1), whole.weights()
    kernels = [key for key, p in whole.learner.model.named_parameters() if p.requires_grad and p.dim() > 1]
    idle = {key.rpartition("heads")[0] for key in kernels if torch.equal(before[key], after[key])}
    assert idle == ({"network.part_"} if name == "custom_cnn_v32" else set()), "its parts are in no loss, as published"
    resumed = Running(recipe, seed=1, found=between)
    assert torch.equal(resumed.epoch(first + 1), expected)
    assert all(torch.equal(tensor, after[key]) for key, tensor in resumed.weights().items())


@pytest.mark.parametrize("name", PRETRAINED)
def test_weights_that_cannot_be_had_stop_a_recipe(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not train from random ones instead, and says what to do."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_args: Any, **_options: Any) -> Any:
        raise urllib.error.URLError("no network")

    def not_cached(*_args: Any, **_options: Any) -> Any:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", not_cached)
    monkeypatch.setattr("reidlab.models.backbones.find", lambda given: Path("nowhere") / given)
    spec = load_recipe(name).model
    words = r"cannot be reached.*`model: \{weights: PATH\}`"
    if spec["weights"] != "pretrained":
        words = "does not exist.*torchreid's model zoo" if "osnet" in spec["weights"] else "does not exist"
    with pytest.raises(UserError, match=words):
        build(spec, 3)
