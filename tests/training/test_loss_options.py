"""Losses and classifiers learn from data and model how many identities and images there are, and how large features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from reidlab.models import build
from reidlab.models.output import Branch, Output
from reidlab.training.loss_options import complete_terms, give_class_counts
from reidlab.training.recipes import LossTerm

SPEC = {"name": "custom_cnn_v32", "height": 32, "width": 16, "neck": "bnneck"}


def term(feature: Any, **options: Any) -> LossTerm:
    return LossTerm(name="center", feature=feature, weight=5e-4, options=options)


@pytest.mark.parametrize(("feature", "dim"), [("before", 128), ("after", 128), ("parts", 128), ("logits", 5)])
def test_identities_and_size_are_filled_in(feature: str, dim: int) -> None:
    (done,) = complete_terms((term(feature, squared=False),), build(SPEC, 5), 7)
    assert done.options == {"num_classes": 7, "dim": dim, "squared": False}
    assert (done.name, done.weight, done.feature) == ("center", 5e-4, feature)


def test_a_branch_may_have_another_size(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, narrow = torch.zeros(2, 8), torch.zeros(2, 3)
    output = Output(wide, wide, branches={"narrow": Branch(narrow, wide)})
    monkeypatch.setattr("reidlab.training.loss_options._example", lambda _: output)
    of_branch = term("before").model_copy(update={"branch": ("narrow",)})
    narrow_term, wide_term = complete_terms((of_branch, term("before")), build(SPEC), 7)
    assert (narrow_term.options["dim"], wide_term.options["dim"]) == (3, 8)


def test_what_the_recipe_says_stays() -> None:
    (done,) = complete_terms((term("before", num_classes=9, dim=3),), build(SPEC), 7)
    assert done.options == {"num_classes": 9, "dim": 3}


def test_losses_that_want_nothing_cost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reidlab.training.loss_options._example", lambda _: pytest.fail("a forward for nothing"))
    terms = (LossTerm(name="triplet", feature="after"), LossTerm(name="unheard", feature="after"))
    assert complete_terms(terms, build(SPEC), 7) is terms


def test_neither_the_model_nor_a_generator_changes() -> None:
    model = build({**SPEC, "dropout": 0.3}, 5).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.get_rng_state()
    complete_terms((term("before"),), model, 5)
    assert torch.equal(torch.get_rng_state(), expected) and not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_classifiers_are_told_how_many_images_each_identity_has() -> None:
    labels = np.array([-1, 0, 0, 1, 2, -1, 2, 2, 2])
    spec = {"name": "osnet_x0_25", "feature_dim": 0, "classifier": "arcface_adaptive"}
    model: Any = build(spec, 3)
    give_class_counts(model, labels)
    (margins,) = (classifier.margins for classifier in model.classifiers)
    expected = build(spec | {"classifier": {"name": "arcface_adaptive", "class_counts": [2, 1, 4]}}, 3)
    torch.testing.assert_close(margins, expected.classifiers[0].margins)  # type: ignore[index, union-attr]
    assert margins.argmax() == 1 and margins.argmin() == 2
    give_class_counts(model, labels[:4])
    assert margins.isfinite().all(), "what is known already stays"
    give_class_counts(build(SPEC, 3), labels)  # nothing in it wants to know
