"""What the readers of user data share: names to identities, always as text."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from reidlab.data.datasets._common import image_folders, list_images, parse_names
from reidlab.data.schema import SPLITS
from reidlab.errors import UserError, nearest

__all__ = ["NO_CAMERA", "NO_SPLIT", "check_split", "flat_rows", "identity_rows", "own_pattern"]

NO_CAMERA = "No camera is known: every other image of the same identity counts as a right answer."
NO_SPLIT = (
    'No split was given: every image is read as "train". Notebooks (split, val_share) and reidlab.data.prepare hold '
    "validation images out of them."
)
_SHOWN = 5
_CAMERA_AND_SEQUENCE = re.compile(r"(c\d+)s(\d+)")


def check_split(split: str) -> str:
    """Refuse a split that the image table does not know."""
    if split not in SPLITS:
        raise UserError(f"split={split!r} is not one of {', '.join(SPLITS)}.{nearest(split, SPLITS)}")
    return split


def own_pattern(pattern: str, option: str, group: str) -> re.Pattern[str]:
    """Compile a user's regular expression, which has to have the named group (or, for a camera, any group)."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{option}={pattern!r} is not a regular expression: {error}.") from None
    if group not in compiled.groupindex and not (group == "camid" and compiled.groups):
        raise UserError(f"{option}={pattern!r} needs a group named {group}: (?P<{group}>...).")
    return compiled


def flat_rows(folder: Path, split: str, pattern: str = "") -> pd.DataFrame:
    """Read identity, camera and frame from the names in a folder."""
    files = list_images(folder)
    if pattern:
        matches = parse_names(files, own_pattern(pattern, "pattern", "pid"), pattern)
        parsed = [match.groupdict() for match in matches]
    else:
        parsed = _fields(files)
    rows = pd.DataFrame({"path": files, "pid": [fields["pid"] for fields in parsed]})
    cameras = [fields.get("camid") for fields in parsed]
    if any(camera is not None for camera in cameras):
        rows["camid"] = cameras
    for column in ("sequence", "frame"):
        texts = [fields.get(column) or "" for fields in parsed]
        rows[column] = [int(text) if text.isdecimal() and len(text) < 19 else -1 for text in texts]
    return rows.assign(split=split)


def _fields(files: list[str]) -> list[dict[str, str | None]]:
    """Split names at "_": identity, camera, the rest; two parts are identity and frame."""
    stems = [Path(file).stem.split("_") for file in files]
    lonely = [file for file, stem in zip(files, stems) if len(stem) < 2 or not all(stem[:2])]
    if lonely:
        names = ", ".join(Path(file).name for file in lonely[:_SHOWN])
        raise UserError(
            f"{len(lonely):,} image names in {Path(lonely[0]).parent} are not of the form PID_CAM_FRAME.jpg or "
            f"PID_FRAME.jpg: {names}{' ...' if len(lonely) > _SHOWN else ''}. "
            "Give pattern=, a regular expression with the groups pid, camid, frame."
        )
    short = [file for file, stem in zip(files, stems) if len(stem) == 2]
    if short and len(short) < len(files):
        long = next(file for file, stem in zip(files, stems) if len(stem) > 2)
        raise UserError(
            f"{Path(short[0]).parent} mixes names with a camera ({Path(long).name}) and {len(short):,} without "
            f"({', '.join(Path(file).name for file in short[:_SHOWN])}). Rename them, or give pattern=."
        )
    parsed: list[dict[str, str | None]] = []
    for pid, second, *rest in stems:
        if not rest:
            parsed.append({"pid": pid, "frame": second})
            continue
        both = _CAMERA_AND_SEQUENCE.fullmatch(second)  # as in Market-1501
        frame = next((text for text in rest if text.isdecimal()), None)
        camera, sequence = (both[1], both[2]) if both else (second, None)
        parsed.append({"pid": pid, "camid": camera, "sequence": sequence, "frame": frame})
    return parsed


def identity_rows(folder: Path, split: str, camera: str = "") -> tuple[pd.DataFrame, list[str]]:
    """Read a folder with one folder per identity; return the rows and the names of folders without images."""
    loose = list_images(folder, allow_empty=True)
    if loose:
        names = ", ".join(Path(file).name for file in loose[:_SHOWN])
        raise UserError(f"{len(loose):,} images stand beside the identity folders in {folder}: {names}.")
    files, pids, empty = [], [], []
    for identity in image_folders(folder):
        inside = list_images(identity, allow_empty=True)
        files += inside
        pids += [identity.name] * len(inside)
        if not inside:
            empty.append(identity.name)
    if not files:
        raise UserError(f"{folder} holds {len(empty):,} folders and no image in them. Expected: {folder}/PID/*.jpg.")
    rows = pd.DataFrame({"path": files, "pid": pids})
    if camera:
        compiled = own_pattern(camera, "camera", "camid")
        found = [compiled.search(Path(file).name) for file in files]
        bad = [file for file, match in zip(files, found) if match is None]
        if bad:
            names = ", ".join(Path(file).name for file in bad[:_SHOWN])
            raise UserError(f"camera={camera!r} finds no camera in {len(bad):,} of {len(files):,} names: {names}.")
        group: str | int = "camid" if "camid" in compiled.groupindex else 1
        rows["camid"] = [match[group] for match in found if match]
    return rows.assign(split=split), empty
