"""A part of a test set, for runs that would take too long on all of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from reidlab.data.schema import is_distractor, is_junk
from reidlab.errors import UserError
from reidlab.retrieval.checks import check_seed, check_whole

__all__ = ["Sample", "sample_of"]


class Sample(NamedTuple):
    """Query and gallery rows of a table, the name of the part, and what a reader must know ("" where it is all)."""

    table: pd.DataFrame
    part: str
    note: str


def sample_of(
    table: pd.DataFrame, *, queries: int | None = None, gallery: int | None = None, seed: int = 0, part: str = "test"
) -> Sample:
    """Draw some identities of a test set: all their queries, all their gallery images, and some images of others.

    Args:
        table: rows of the splits query and gallery.
        queries: query identities at most; None for all.
        gallery: gallery images of everybody else (other people, distractors, junk) at most; None for all.
        seed: of the draw.
        part: what the whole is called.

    Raises:
        UserError: less than one identity or less than no image, or a table without queries.
    """
    seed = check_seed(seed)
    wanted = None if queries is None else check_whole("queries", queries, 1, 2**31)
    others = None if gallery is None else check_whole("gallery", gallery, 0, 2**31)
    is_query = (table["split"] == "query").to_numpy()
    people = np.unique(table.loc[is_query & ~is_junk(table) & ~is_distractor(table), "pid"].to_numpy())
    if not len(people):
        raise UserError("The test set has no queries, of which a part could be drawn.")
    rng = np.random.default_rng(seed)
    some = people if wanted is None or wanted >= len(people) else rng.choice(people, wanted, replace=False)
    theirs = table["pid"].isin(some).to_numpy()
    rest = np.flatnonzero(~is_query & ~theirs)
    kept = rest if others is None or others >= len(rest) else rng.choice(rest, others, replace=False)
    if len(some) == len(people) and len(kept) == len(rest):
        return Sample(table.reset_index(drop=True), part, "")
    rows = np.sort(np.concatenate([np.flatnonzero(theirs), kept]))
    note = (
        f"A part of the test set: {len(some):,} of {len(people):,} query identities (seed {seed}) and {len(kept):,} of "
        f"{len(rest):,} gallery images of others. Scores are not comparable with those of the whole."
    )
    name = f"{part}, {len(some)} query identities, {len(kept)} other images, seed {seed}"
    return Sample(table.iloc[rows].reset_index(drop=True), name, note)
