"""What notebook 14 calls: mixtures of experts beside each expert alone, and whom their gates send where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import Float32
from torch import Tensor, nn

from reidlab import store
from reidlab.data.images import decode
from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.explain.routing import gate_information, gates_by
from reidlab.params import Experts
from reidlab.registry import BACKBONES, MODELS
from reidlab.retrieval.embedding import embed
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.data_run import DataRun
from reidlab.stages.models import ModelSource
from reidlab.stages.retrieval import labelled
from reidlab.stages.training import training_stage
from reidlab.stages.variants import Compared, Planned, Variant, compare_variants
from reidlab.store.runs import Run
from reidlab.training.recipes import Recipe, load_recipe

__all__ = ["Mixtures", "expert_recipe", "experts_for", "gates_stage"]

_SHARED = ("weights", "last_stride", "pooling", "neck", "classifier", "height", "width")


@dataclass(frozen=True)
class Mixtures(Compared):
    """Each expert alone, and mixtures of them. Scores have a column more: kind ("alone" or "mixture").

    Attributes:
        gates: of every mixture, for the images of `people` [image, expert].
        people: query and gallery without junk and distractors.
        experts: their names, in the order of the gates.
    """

    gates: dict[str, npt.NDArray[np.float32]]
    people: pd.DataFrame
    experts: tuple[str, ...]

    def by(self, column: str, mixture: str = "") -> pd.DataFrame:
        """Return the mean gates of a mixture for every value of a column of the images, such as camid.

        Args:
            column: of the image table.
            mixture: its label; empty: the first.
        """
        name = mixture or next(iter(self.gates))
        return gates_by(self.gates[name], self.people[column].to_numpy(), list(self.experts))

    def told(self, seed: int = 0) -> pd.DataFrame:
        """Return for readers what the gates of each mixture tell of an image, its camera and its identity, bits.

        Cameras are shuffled among the images of a person, people among the images of a camera.

        Args:
            seed: of the shuffles.
        """
        pids = self.people["pid"].to_numpy()
        camids = self.people["camid"].to_numpy() if "camid" in self.people else None
        rows = []
        for name, gates in self.gates.items():
            person = gate_information(gates, pids, within=camids, seed=seed)
            row = {"mixture": name, "most possible": f"{person.most:.2f}", "of the image": f"{person.image:.3f}"}
            row |= {"of the identity": f"{person.label:.3f}", "by chance": f"{person.chance:.3f}"}
            row |= {"p": f"{person.p:.2g}"}
            if camids is not None:
                camera = gate_information(gates, camids, within=pids, seed=seed)
                row |= {"of the camera": f"{camera.label:.3f}", "by chance ": f"{camera.chance:.3f}"}
                row |= {"p ": f"{camera.p:.2g}"}
            rows.append(row)
        return pd.DataFrame(rows).set_index("mixture")

    def typical(self, mixture: str = "", count: int = 7) -> dict[str, npt.NDArray[np.uint8]]:
        """Return by expert the images for which its gate is largest [image, height, width, 3], of `count` people.

        Args:
            mixture: its label; empty: the first.
            count: images of each expert, one of a person.
        """
        name = mixture or next(iter(self.gates))
        size: Any = self[name].source.load().preprocess
        found = {}
        for number, expert in enumerate(self.experts):
            order = np.argsort(-self.gates[name][:, number], kind="stable")
            chosen = self.people.iloc[order].drop_duplicates("pid").head(count)
            ranges = chosen["value_range"] if "value_range" in chosen else [None] * len(chosen)
            pixels = [decode(path, (size.height, size.width), each) for path, each in zip(chosen["path"], ranges)]
            found[expert] = np.stack(pixels)
        return found


class Gates(nn.Module):
    """Give a mixture's gates in the place of its embeddings."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.preprocess, self.dim = model, model.preprocess, len(model.experts)

    def forward(self, images: Float32[Tensor, "batch 3 height width"]) -> Float32[Tensor, "batch expert"]:
        """Return how much each expert counts for each image."""
        return self.model.gates(images)


def gates_stage(
    table: pd.DataFrame, table_digest: str, source: ModelSource, *, dataset: str, part: str, device: str = "auto"
) -> Float32[np.ndarray, "image expert"]:
    """Return how much each expert counts for the images of a table, or find it.

    Args:
        table: images.
        table_digest: digest of its content.
        source: a mixture of experts.
        dataset: name, for the label.
        part: what of the data set it is.
        device: cpu, cuda, mps or auto.
    """

    def make(folder: Path) -> Mapping[str, Any]:
        found = embed(Gates(source.load()).eval(), table, device=device, progress=False)
        found.save(folder)
        return {"images": len(found)}

    params, inputs = {"dataset": dataset, "part": part}, [table_digest, source.digest]
    run = store.stage("gates", labelled(dataset, source), params=params, inputs=inputs, make=make)
    return Embeddings.load(run.path).vectors


def expert_recipe(
    base: Recipe, experts: tuple[str, ...], *, balance: float | None = None, top_k: int | None = None
) -> Recipe:
    """Return the recipe of a mixture with other experts, or of one expert alone, all else equal.

    Args:
        base: a recipe of the model experts.
        experts: names of `reidlab backbones`, or of timm; a single one is the backbone alone, without gate and
            projection.
        balance: weight of the load balance; 0 leaves it out, None takes the recipe's.
        top_k: experts that count for an image, 0 for all; None takes the recipe's.

    Raises:
        UserError: a recipe of another model.
    """
    if base.model.get("name") != "experts":
        raise UserError(f"recipe {base.name} trains {base.model.get('name')!r}; notebook 14 takes model experts.")
    terms = [term.model_dump() for term in base.losses]
    if balance is not None or len(experts) == 1:
        even = [term | {"weight": balance} for term in terms if term["name"] == "load_balance"]
        terms = [term for term in terms if term["name"] != "load_balance"]
        if balance and len(experts) > 1:
            terms += even or [{"name": "load_balance", "feature": "gates", "weight": balance}]
    if len(experts) == 1:
        known = MODELS.options(experts[0])
        given = {"last_stride": 2, **base.model}
        model = {name: given[name] for name in _SHARED if name in given and name in known}
        if experts[0].startswith("osnet"):
            model.pop("last_stride", None)  # it has none
        if not isinstance(model.get("weights", ""), str):
            model.pop("weights")
        model = {"name": experts[0], **model}
    else:
        model = {**base.model, "experts": list(experts), **({} if top_k is None else {"top_k": top_k})}
    name = f"{base.name}_{experts[0]}" if len(experts) == 1 else base.name
    return Recipe.model_validate({**base.model_dump(), "name": name, "model": model, "losses": terms})


def experts_for(data: DataRun, p: Experts) -> Mixtures:
    """Train and score (or find) the models of notebook 14.

    What all are compared with is the expert that was best alone on validation identities.
    """
    base = load_recipe(p.recipe, epochs=p.epochs, validate_every=p.epochs)
    experts = tuple(BACKBONES.find(name).name for name in p.experts)
    if len(experts) < 2 or len(set(experts)) < len(experts):
        what = "at least two are needed" if len(experts) < 2 else "one stands there twice"
        raise UserError(f"experts={p.experts!r}: {what}.")
    alone = {name: expert_recipe(base, (name,)) for name in experts}
    mixed = _mixtures(p, base, experts)
    best = max(experts, key=lambda name: _validated(training_stage(data, alone[name], seed=p.seed, device=p.device)))
    planned = [
        Planned(name, alone[name], p.seed, about={"kind": "alone"})
        for name in sorted(experts, key=lambda name: name != best)
    ] + [Planned(name, recipe, p.seed, about={"kind": "mixture"}) for name, recipe in mixed.items()]
    found = compare_variants(data, planned, against=f"{best} alone", seed=p.seed, device=p.device)
    mixtures = {variant.label: variant for variant in found.variants if variant.label in mixed}
    return _with_gates(data, found, mixtures, experts, p.device)


def _mixtures(p: Experts, base: Recipe, experts: tuple[str, ...]) -> dict[str, Recipe]:
    """Return the mixtures by label: one for each weight of the load balance, and of the first one for each top k."""
    found = {}
    for name, values in (("balances", p.balances), ("top_k", p.top_k)):
        if len(set(values)) < len(values):
            raise UserError(f"{name}={values!r}: one stands there twice.")
    if not all(0 <= weight <= 1e6 for weight in p.balances):
        raise UserError(f"balances={p.balances!r}: each must be 0 or more, at most 1,000,000.")
    for weight in p.balances:
        label = f"mixture, balance {weight:g}" if weight else "mixture, no balance"
        found[label] = expert_recipe(base, experts, balance=weight, top_k=0)
    for top_k in p.top_k:
        if not 0 < top_k < len(experts):
            raise UserError(f"top_k={p.top_k!r}: each must be 1 to {len(experts) - 1}, fewer than the experts.")
        found[f"mixture, top {top_k}"] = expert_recipe(base, experts, balance=p.balances[0], top_k=top_k)
    return found


def _validated(run: Run) -> float:
    """Return the best validation mAP of a training; -1 where there was none to validate on."""
    value = run.result.get("best_val_map")
    return -1.0 if value is None or np.isnan(value) else float(value)


def _with_gates(
    data: DataRun, found: Compared, mixtures: Mapping[str, Variant], experts: tuple[str, ...], device: str
) -> Mixtures:
    """Add the gates of query and gallery."""
    tests = {name: variant.test.table for name, variant in mixtures.items()}
    people: pd.DataFrame = next(iter(tests.values()))
    kept = (~is_junk(people) & ~is_distractor(people)).to_numpy()
    how: Any = {"dataset": str(data.run.params["dataset"]), "part": "test", "device": device}
    gates = {
        name: gates_stage(tests[name], data.digest, variant.source, **how)[kept] for name, variant in mixtures.items()
    }
    return Mixtures(
        found.variants, found.scores, found.notes, found.against, gates, people[kept].reset_index(drop=True), experts
    )
