"""What notebook 06 shows of autoencoders: decoded images, ways between two, and along numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from reidlab.data.images import decode
from reidlab.data.schema import is_distractor, is_junk
from reidlab.data.transforms.corruptions import corrupt
from reidlab.errors import UserError
from reidlab.params import Autoencoders
from reidlab.stages.autoencoder_codes import codes_stage, divergences
from reidlab.stages.autoencoders import Ablation
from reidlab.stages.data_run import DataRun

__all__ = ["Pictures", "pictures_for"]

Images = npt.NDArray[np.uint8]  # [image, height, width, 3]
Rows = tuple[dict[str, Images], list[str]]
_FLAT = (60, 90, 160)  # a blue
_STEPS = 5


@dataclass(frozen=True)
class Pictures:
    """Autoencoders with what they are tried on.

    Attributes:
        models: by kind, in eval mode, with a decoder.
        codes: by kind, of query and gallery: what `autoencoder_codes.Codes` gives [image, dim].
        seen: images of training identities.
        unseen: images of two test identities: two of the first, then one of the other.
        seed: of occlusion and noise.
    """

    models: dict[str, Any]
    codes: dict[str, npt.NDArray[np.float32]]
    seen: Images
    unseen: Images
    seed: int = 0

    def reconstructions(self) -> Rows:
        """Return originals and what each kind makes of them, and what they are: seen, unseen, occluded, noise, flat."""
        first = torch.from_numpy(np.array(self.unseen[:1])).permute(0, 3, 1, 2)
        covered = corrupt(first, "occlusion", severity=4, seed=self.seed).permute(0, 2, 3, 1).numpy()
        noise = np.random.default_rng(self.seed).integers(0, 256, covered.shape, dtype=np.uint8)
        flat = np.full(covered.shape, _FLAT, dtype=np.uint8)
        shown = np.concatenate([self.seen, self.unseen[[0, 2]], covered, noise, flat])
        heads = ["seen"] * len(self.seen) + ["unseen"] * 2 + ["occluded", "noise", "flat"]
        return {"image": shown} | {
            kind: _decoded(model, _codes(model, shown)) for kind, model in self.models.items()
        }, heads

    def interpolations(self) -> Rows:
        """Return what lies between the codes of two images of one person, and of two people, with the images."""
        rows = {}
        shares = torch.linspace(0, 1, _STEPS)[:, None]
        for kind, model in self.models.items():
            for said, other in (("one person", 1), ("two people", 2)):
                ends = self.unseen[[0, other]]
                one, two = _codes(model, ends)
                between = _decoded(model, one + shares * (two - one))
                rows[f"{kind}, {said}"] = np.concatenate([ends[:1], between, ends[1:]])
        return rows, ["image", *(f"{100 * float(share):.0f} %" for share in shares), "image"]

    def traversals(self, count: int = 4, kind: str = "vae") -> Rows:
        """Return what the numbers of a variational code with the largest divergence do to the first unseen person.

        Each goes from three standard deviations (over query and gallery) below its mean to three above, alone.

        Raises:
            UserError: no variational autoencoder with a decoder is among the models.
        """
        if kind not in self.models:
            raise UserError(f"kinds={list(self.models)!r}: no {kind} with a decoder, whose numbers could be shown.")
        model, codes = self.models[kind], self.codes[kind]
        strength, means = divergences(codes), codes[:, : self.models[kind].dim]
        steps = np.array([-3, -1.5, 0, 1.5, 3], dtype=np.float32)
        rows = {}
        for number in np.argsort(-strength, kind="stable")[:count]:
            moved = _codes(model, self.unseen[:1]).repeat(len(steps), 1)
            moved[:, number] = torch.from_numpy(means[:, number].mean() + steps * means[:, number].std())
            rows[f"number {number} ({strength[number]:.1f} nats)"] = _decoded(model, moved)
        return rows, [f"{step:+g} sd" if step else "mean" for step in steps]

    def plain_codes(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return codes alone, without variances, by kind [image, code]."""
        return {kind: codes[:, : self.models[kind].dim] for kind, codes in self.codes.items()}


def pictures_for(data: DataRun, found: Ablation, p: Autoencoders) -> Pictures:
    """Load the first autoencoder with a decoder of every kind, with images of training and test identities.

    Raises:
        UserError: no model has a decoder, or nobody in the test set has two images.
    """
    trials = found.shown()
    if not trials:
        raise UserError(f"weights={p.weights!r}: without a reconstruction there is no decoder, and nothing to show.")
    models: dict[str, Any] = {kind: trial.source.load() for kind, trial in trials.items()}
    how: Any = {"dataset": str(data.run.params["dataset"]), "part": "test", "device": p.device}
    codes = {kind: codes_stage(t.test.table, data.digest, t.source, **how) for kind, t in trials.items()}
    first = next(iter(models.values()))
    size = (first.preprocess.height, first.preprocess.width)
    train = data.table[data.table["split"] == "train"]
    people = next(iter(trials.values())).test.table
    several = _people(people).groupby("pid").filter(lambda images: len(images) > 1)
    if several["pid"].nunique() < 2:
        raise UserError("The test set has less than two people with two images each, between which to interpolate.")
    one, other = several["pid"].drop_duplicates().sample(2, random_state=p.seed)
    ends = several[several["pid"] == one]
    # of the two images the second is from another camera where there is one
    apart = ends.sort_values("camid", kind="stable").iloc[[0, -1]] if "camid" in ends else ends.iloc[[0, -1]]
    unseen = pd.concat([apart, several[several["pid"] == other].iloc[:1]])
    seen = _people(train).drop_duplicates("pid").sample(2, random_state=p.seed)
    return Pictures(models, codes, _pixels(seen, size), _pixels(unseen, size), p.seed)


def _people(table: pd.DataFrame) -> pd.DataFrame:
    return table[~is_junk(table) & ~is_distractor(table)]


def _pixels(table: pd.DataFrame, size: tuple[int, int]) -> Images:
    ranges: Sequence[float | None] = list(table["value_range"]) if "value_range" in table else [None] * len(table)
    return np.stack([decode(path, size, scale) for path, scale in zip(table["path"], ranges)])


@torch.inference_mode()
def _codes(model: Any, images: Images) -> Tensor:
    batch = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return model.codes(model.preprocess(batch)).clone()


@torch.inference_mode()
def _decoded(model: Any, codes: Tensor) -> Images:
    return model.decode(codes).permute(0, 2, 3, 1).numpy()
