"""What is wrong with the images of a table: broken files, leaks between splits, lonely identities, odd pictures.

Nothing is repaired and nothing replaced: a file that does not decode is listed and left out of
`Audit.clean_table`; everything else is listed with what to do about it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reidlab.data.audit import findings
from reidlab.data.audit.gather import gather
from reidlab.data.audit.measure import NEEDS_RANGE, Measured
from reidlab.data.contents import RANGE
from reidlab.data.scales import notes_of_ranges
from reidlab.data.schema import check_table, notes_of
from reidlab.errors import UserError

__all__ = ["KINDS", "Audit", "audit"]

# Kind of finding -> what to do about it, the serious ones first.
KINDS = {
    "unreadable": "The file cannot be decoded and is left out of clean_table. Get it again.",
    "leak_exact": "The same picture is trained on and tested with. Remove it from train, or test scores are too good.",
    "leak_near": "Nearly the same picture is trained on and tested with. Look at both; remove it from train.",
    "identity_conflict_exact": "The same picture has two identities. One label is wrong; correct or remove it.",
    "identity_conflict_near": "Nearly the same picture has two identities. Look at both.",
    "query_in_gallery": "A query's own picture stands in the gallery. Scores ignore it; remove it from the gallery.",
    "val_leak": "Validation shares pictures with train. Split by identity, or read validation scores as too good.",
    "duplicate_exact": "The same picture twice under one identity. It counts double; remove one.",
    "no_answer": "A query without a right answer that counts (gallery, other camera). It is left out of scores.",
    "one_camera": "The identity is seen by one camera only: it teaches and tests nothing across cameras.",
    "one_image": "The identity has one image: no positive pair.",
    "odd_shape": "Wider than tall among upright images, or tiny. Often a wrong box or a rotated picture.",
    "dark": "Far darker than the others. Look at it.",
    "bright": "Far brighter than the others. Look at it.",
    "blurred": "Far less sharp than the others. Look at it.",
    "near_same": "Nearly the same picture of one identity, such as neighbouring frames. Normal, only counted.",
}


@dataclass(frozen=True)
class Audit:
    """The findings of `audit`.

    Attributes:
        table: the image table that was looked at.
        images: one row per row of `table`: path, width, height (upright), brightness (0 to 255), sharpness, file_bytes,
            decodes, error, pixels (SHA-1 of the pixels), dhash (64 bits), mode (Pillow's), kind and high (images of
            more than 8 bits: "whole", "real" or "colour", and their highest value), transparent, value_range (the value
            that becomes 255).
        issues: one row per finding: kind, row and other (row numbers of `table`, other -1 for none), path, other_path,
            detail. Serious kinds first. `near_same` is not listed.
        summary: one row per kind of `KINDS`: count and what to do.
    """

    table: pd.DataFrame = field(repr=False)
    images: pd.DataFrame = field(repr=False)
    issues: pd.DataFrame = field(repr=False)
    summary: pd.DataFrame = field(repr=False)

    @property
    def clean_table(self) -> pd.DataFrame:
        """Return the table without the files that do not decode; `attrs["notes"]` says how many went.

        Where images have more than 8 bits, its column `value_range` holds which of their values becomes 255, one scale
        for the data set, and the notes say so; the pixel store reads it.
        """
        broken = ~self.images["decodes"].to_numpy()
        clean = self.table[~broken].reset_index(drop=True)
        images = self.images[~broken]
        notes = []
        if broken.any():
            notes.append(f"{int(broken.sum()):,} of {len(broken):,} images cannot be decoded and are left out.")
        kinds, ranges = images["kind"].to_numpy(dtype=object), images[RANGE].to_numpy()
        notes += notes_of_ranges(kinds, images["high"].to_numpy(), ranges)
        if np.isin(kinds, NEEDS_RANGE).any():
            clean[RANGE] = ranges
        if images["transparent"].any():
            count = int(images["transparent"].sum())
            notes.append(
                f"{count:,} of {len(images):,} images have transparent pixels, whose colours are used as stored."
            )
        if notes:
            clean.attrs["notes"] = [*dict.fromkeys([*notes_of(self.table), *notes])]
        return clean

    @property
    def usable_table(self) -> pd.DataFrame:
        """Return `clean_table` where it holds an image.

        Raises:
            UserError: not one image decodes; the first five are named with what is wrong.
        """
        clean = self.clean_table
        if len(clean) or not len(self.table):
            return clean
        shown = zip(self.table["path"].head(5), self.images["error"].head(5))
        listed = "".join(f"\n  {path}: {error}" for path, error in shown)
        raise UserError(f"None of the {len(self.table):,} images can be decoded; the first of them:{listed}")

    def __str__(self) -> str:
        found = self.summary.loc[self.summary["count"] > 0, "count"]
        counts = ", ".join(f"{kind} {count:,}" for kind, count in found.items())
        return f"Audit of {len(self.table):,} images: {counts or 'nothing found'}"

    def _repr_html_(self) -> str:
        return f"<p>Audit of {len(self.table):,} images</p>{self.summary.to_html()}"

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write images.parquet, issues.csv and summary.csv into a folder."""
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.images.to_parquet(target / "images.parquet")
        self.issues.to_csv(target / "issues.csv", index=False)
        self.summary.to_csv(target / "summary.csv")
        return target

    @classmethod
    def load(cls, folder: str | os.PathLike[str], table: pd.DataFrame) -> Audit:
        """Read what `save` wrote about `table`.

        Raises:
            UserError: the folder holds no audit, or one of another table.
        """
        source = Path(folder)
        try:
            images = pd.read_parquet(source / "images.parquet")
            issues = pd.read_csv(source / "issues.csv", keep_default_na=False)
            summary = pd.read_csv(source / "summary.csv", index_col=0)
        except (OSError, ValueError) as error:
            raise UserError(f"{source.name} holds no readable audit ({error}). Make it with notebook 01.") from error
        if len(images) != len(table):
            raise UserError(f"The audit is of {len(images)} images, the table has {len(table)}.")
        missing = {*Measured._fields, "path", "decodes", RANGE} - {"thumbnail"} - set(images.columns)
        if missing:
            raise UserError(f"{source.name} holds an audit without {', '.join(sorted(missing))}. Make it again.")
        return cls(table, images, issues, summary)


def audit(
    table: pd.DataFrame,
    *,
    workers: int = 2,
    progress: bool = False,
    near_distance: int = 6,
    near_correlation: float = 0.95,
    upright: bool | None = None,
) -> Audit:
    """Decode every image once and list what is wrong.

    Two pictures are near duplicates when their 64-bit difference hashes differ in at most `near_distance` bits and
    their 8 x 16 grey thumbnails correlate by `near_correlation` at least. The hash alone does not do: at 6 bits and
    more it takes Market-1501's people for each other, who walk through one spot of camera 6 in the same pose; with
    the thumbnails there was no such pair among its 36,036 images. Vehicles of one model at one spot are as
    alike as this: on VeRi-776 most near pairs are lookalikes, for which 0.98 is the better correlation.

    Args:
        table: an image table.
        workers: processes that decode; 0 and 1 decode in this one.
        progress: show a bar.
        near_distance: bits of 64 that may differ, 1 to 15.
        near_correlation: between 0 and 1.
        upright: whether images should be taller than wide; None: they should where most of them are.
    """
    if not 1 <= near_distance <= 15:
        raise UserError(f"near_distance={near_distance} must be between 1 and 15 bits.")
    if not 0 < near_correlation <= 1:
        raise UserError(f"near_correlation={near_correlation} should be between 0 and 1.")
    checked = check_table(table)
    images, thumbnails = gather(checked, workers, progress)
    good = images["decodes"].to_numpy()
    found = [
        findings.unreadable(images),
        *findings.exact_pairs(checked, images),
        *findings.identities(checked[good]),
        *findings.odd_pictures(images, upright),
    ]
    near, near_same = findings.near_pairs(checked, images, thumbnails, near_distance, near_correlation)
    found += near
    issues = _issues(checked, found)
    counts = issues["kind"].value_counts().to_dict() | {"near_same": near_same}
    summary = pd.DataFrame({"count": [counts.get(kind, 0) for kind in KINDS], "what to do": list(KINDS.values())})
    return Audit(checked, images, issues, summary.set_index(pd.Index(list(KINDS), name="kind")))


def _issues(table: pd.DataFrame, found: list[pd.DataFrame]) -> pd.DataFrame:
    issues = pd.concat([findings.NOTHING, *[frame for frame in found if len(frame)]], ignore_index=True)
    issues = issues.astype({"row": np.int64, "other": np.int64})
    paths = table["path"].to_numpy(dtype=object)
    issues.insert(3, "path", paths[issues["row"]])
    others = [paths[other] if other >= 0 else "" for other in issues["other"]]
    issues.insert(4, "other_path", others)
    order = issues["kind"].map({kind: number for number, kind in enumerate(KINDS)})
    return issues.iloc[np.argsort(order.to_numpy(dtype=np.int64), kind="stable")].reset_index(drop=True)
