"""What notebooks 16 and 17 call: models on corrupted images, and models on the cameras of other data sets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd
from jaxtyping import UInt8

from reidlab.data.images import decode
from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.params import CrossDomain, Retrieval, Robustness
from reidlab.stages import domains, robustness
from reidlab.stages.chosen import choose_model, named_model
from reidlab.stages.data_run import DataRun
from reidlab.stages.histogram import HISTOGRAM, histogram_source
from reidlab.stages.models import ModelSource
from reidlab.stages.notebooks import data_for

__all__ = ["cross_domain_for", "domain_table", "drop_table", "models_named", "people_shown", "robustness_for"]

_SHOWN = (128, 64)  # height and width of people in figures


def models_named(data: DataRun, names: Sequence[str]) -> list[ModelSource]:
    """Find models as notebook 04 does, and the colour histogram by its name.

    Raises:
        UserError: no name, or nothing that it names.
    """
    if not names:
        raise UserError(f"models=[]: no model is named; give small, {HISTOGRAM}, latest or a training run's name.")
    return [histogram_source() if name.strip() == HISTOGRAM else named_model(data, name) for name in names]


def robustness_for(data: DataRun, p: Robustness) -> robustness.Robustness:
    """Score (or find the scores of) the models of notebook 16 on clean and corrupted images."""
    return robustness.robustness_grid(
        data,
        models_named(data, p.models),
        corruptions=p.corruptions,
        severities=p.severities,
        corrupt=p.corrupt,
        queries=p.queries,
        gallery=p.gallery,
        metric=p.metric,
        seed=p.seed,
        device=p.device,
    )


def people_shown(data: DataRun, count: int = 1, *, seed: int = 0) -> UInt8[np.ndarray, "image height width 3"]:
    """Decode images of some people of a data set, those of its test set where it has one: uint8 [image, 128, 64, 3]."""
    table = data.table[~is_junk(data.table) & ~is_distractor(data.table)]
    tested = table[table["split"] == "query"]
    people = (tested if len(tested) else table).drop_duplicates("pid")
    if people.empty:
        raise UserError("The data set shows nobody: all its images are junk or distractors.")
    chosen = people.sample(min(count, len(people)), random_state=seed)
    ranges: npt.NDArray[np.float64] | list[None] = (
        chosen["value_range"].to_numpy(dtype=np.float64) if "value_range" in chosen else [None] * len(chosen)
    )
    return np.stack([decode(path, _SHOWN, scale) for path, scale in zip(chosen["path"], ranges)])


def drop_table(found: robustness.Robustness) -> pd.DataFrame:
    """Return the mean relative drops for readers: a row for each corruption and one for all, a column for a model."""
    shown = [_spanned(row["drop"], row["low"], row["high"]) for _, row in found.drops.iterrows()]
    table = found.drops.assign(shown=shown).pivot(index="corruption", columns="model", values="shown")
    table = table.reindex(index=found.drops["corruption"].unique(), columns=found.drops["model"].unique())
    table.index = pd.Index([name.replace("_", " ") for name in table.index], name="mAP lost (%)")
    return table.rename_axis(columns=None)


def cross_domain_for(p: CrossDomain) -> domains.CrossDomain:
    """Score (or find the scores of) the models of notebook 17 on its test sets; its recipe is trained where need be."""
    prepared = cache(lambda: data_for(p))
    tests = []
    for given in p.tests or domains.at_hand():
        if given.strip() == p.dataset:  # with the root and options of the parameters
            tests.append(domains.Domain(p.dataset, "", prepared))
        else:
            tests.append(domains.domain_of(given, seed=p.seed, split=p.split, val_share=p.val_share))
    models = []
    if p.recipe:
        shared = {name: getattr(p, name) for name in ("dataset", "root", "seed", "options", "split", "val_share")}
        choice = choose_model(prepared(), Retrieval.from_values({**shared, "recipe": p.recipe, "device": p.device}))
        models.append(choice.source())
    if p.models:
        known = {model.digest for model in models}  # latest may be the recipe's
        models += [model for model in models_named(prepared(), p.models) if model.digest not in known]
    return domains.cross_domain(models, tests, metric=p.metric, seed=p.seed, device=p.device)


def domain_table(found: domains.CrossDomain) -> pd.DataFrame:
    """Return the scores of models on test sets for readers, with their 95 % intervals."""
    rows = [
        {
            "model": row["model"],
            "test set": row["test_set"],
            "trained on it": "yes" if row["in_domain"] else "no",
            "rank-1 (%)": _spanned(row["rank1"], row["rank1_low"], row["rank1_high"]),
            "mAP (%)": _spanned(row["mAP"], row["mAP_low"], row["mAP_high"]),
            "queries": f"{row['queries']:,}",
            "gallery": f"{row['gallery']:,}",
        }
        for _, row in found.scores.iterrows()
    ]
    return pd.DataFrame(rows).set_index("model")


def _spanned(value: float, low: float, high: float) -> str:
    """Write a share and its interval in per cent: "57.9 (55.1 to 60.4)"."""
    if np.isnan(value):
        return "–"
    return f"{100 * value:.1f}" + ("" if np.isnan(low) else f" ({100 * low:.1f} to {100 * high:.1f})")
