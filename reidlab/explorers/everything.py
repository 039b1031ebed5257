"""All explorers on one model and its data set, as notebook 21 and `reidlab explore` show them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from reidlab import stages
from reidlab.errors import UserError
from reidlab.explorers.base import Explorer
from reidlab.explorers.tabs import Tabs
from reidlab.params import Explorer as Params
from reidlab.params import Retrieval
from reidlab.retrieval.calibrated import Calibration
from reidlab.retrieval.outcome import RetrievalResult
from reidlab.retrieval.vectors import Embeddings
from reidlab.stages.chosen import Choice, choose_model, named_model
from reidlab.stages.data_run import DataRun
from reidlab.stages.histogram import HISTOGRAM, histogram_source
from reidlab.stages.models import ModelSource
from reidlab.store.runs import Run

__all__ = ["Everything"]

Evaluated = tuple[Run, RetrievalResult, Embeddings]
TRIPLETS = 500  # of the built-in data's thousands: the first ones, so that only their images are embedded


class Everything:
    """What the explorers of notebook 21 look at, each thing computed when one of them needs it.

    Args:
        data: prepared data set.
        p: parameters of notebook 21.
    """

    def __init__(self, data: DataRun, p: Params) -> None:
        self.data, self.p = data, p
        shared = {name: getattr(p, name) for name in Params.model_fields if name in Retrieval.model_fields}
        self.how = Retrieval(**shared)

    @cached_property
    def choice(self) -> Choice:
        """Return which model is looked at, chosen as notebook 04 chooses."""
        return choose_model(self.data, self.how)

    @cached_property
    def source(self) -> ModelSource:
        """Return the model; it is trained first where `choice` says so."""
        return self.choice.source()

    @cached_property
    def evaluated(self) -> Evaluated:
        """Return the evaluation of the model."""
        return stages.evaluate_for(self.data, self.source, self.how)

    @cached_property
    def model(self) -> Any:
        """Return the model itself, in eval mode."""
        return self.source.load()

    @cached_property
    def calibration(self) -> Calibration | None:
        """Return what the model's cosines mean, None where that cannot be fitted."""
        found = stages.calibrate_for(self.data, self.source, self.how)
        return None if isinstance(found, str) else found

    @property
    def names(self) -> tuple[str, str]:
        """Return what the model and the other one are called."""
        mine, other = self.source.label, self.p.other
        return mine, other if other != mine else f"{other} again"

    def tabs(self) -> Tabs:
        """Return all explorers as tabs."""
        makers: dict[str, Callable[[], Explorer]] = {
            "Rankings": self.rankings,
            "Images": self.images,
            "Triplets": self.triplets,
            "Trainings": self.trainings,
            "Embeddings": self.embeddings,
            "Attention": self.attention,
            "Two models": self.compared,
        }
        return Tabs(makers)

    def rankings(self) -> Explorer:
        """Return the explorer of rankings, with uploads and, where they are known, probabilities."""
        from reidlab.explorers.retrieval import RetrievalExplorer

        _, result, embeddings = self.evaluated
        query, gallery = embeddings.split("query"), embeddings.split("gallery")
        return RetrievalExplorer(query, gallery, result, calibration=self.calibration, model=self._embedded)

    def images(self) -> Explorer:
        """Return the explorer of the data set, those images too that do not decode, with what the audit found."""
        from reidlab.explorers.dataset import DatasetExplorer

        try:
            audit = stages.audit_of(self.data)
        except UserError:  # a data set that was prepared without
            return DatasetExplorer(self.data.table)
        splits = dict(zip(self.data.table["path"], self.data.table["split"]))
        split = [splits.get(path, given) for path, given in zip(audit.table["path"], audit.table["split"])]
        return DatasetExplorer(audit.table.assign(split=split), audit=audit)

    def attention(self) -> Explorer:
        """Return the maps of what the model looks at, of query and gallery."""
        from reidlab.explorers.attention import AttentionExplorer

        _, _, embeddings = self.evaluated
        return AttentionExplorer(self.model, embeddings.table, embeddings=embeddings)

    def trainings(self) -> Explorer:
        """Return the explorer of trainings; that of the model is among those shown."""
        from reidlab.explorers.training import TrainingExplorer

        return TrainingExplorer(chosen=[self.source.label])

    def triplets(self) -> Explorer:
        """Return the explorer of the triplets that notebook 02 draws, with the model's distances."""
        from reidlab.data.triplets import ROLES, Triplets
        from reidlab.explorers.triplets import TripletExplorer

        _, drawn = stages.triplet_stage(self.data, seed=self.p.seed)
        table, frame = stages.training_table(self.data), drawn.frame.head(TRIPLETS)
        rows = np.unique(frame[list(ROLES)])
        part = table.iloc[rows].reset_index(drop=True)
        _, vectors = stages.embedding_stage(
            part, f"{self.data.digest}-{TRIPLETS}-triplets-{self.p.seed}", self.source,
            dataset=self.p.dataset, part=f"images of {TRIPLETS} triplets", device=self.p.device,
        )  # fmt: skip
        frame = frame.assign(**{role: np.searchsorted(rows, frame[role]) for role in ROLES})
        return TripletExplorer(Triplets(frame, drawn.skipped, drawn.fallbacks), part, embeddings=vectors)

    def embeddings(self) -> Explorer:
        """Return the map of query and gallery, coloured by right and wrong."""
        from reidlab.explorers.embedding import EmbeddingExplorer

        _, result, embeddings = self.evaluated
        return EmbeddingExplorer(embeddings, result=result, seed=self.p.seed)

    def compared(self) -> Explorer:
        """Return the comparison with the other model."""
        from reidlab.explorers.comparer import RunComparer

        other = histogram_source() if self.p.other == HISTOGRAM else named_model(self.data, self.p.other)
        _, result, embeddings = self.evaluated
        _, its_result, its_embeddings = stages.evaluate_for(self.data, other, self.how)
        mine, its = self.names
        return RunComparer(its_result, result, its_embeddings, embeddings, names=(its, mine), seed=self.p.seed)

    def _embedded(self, pixels: npt.NDArray[np.uint8]) -> npt.ArrayLike:
        """Embed an uploaded image; the model is loaded for the first one."""
        from reidlab.explorers.uploads import embedder_of

        return embedder_of(self.model)(pixels)
