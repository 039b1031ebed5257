"""Read identity and camera from the names of files, where they say so."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from reidlab.data.datasets import own_pattern

__all__ = ["known_people"]

# Market-1501, MSMT17, VeRi-776 and their kin: 0002_c1s1_000451_03.jpg, 0001_c001_00016450_0.jpg
_USUAL = re.compile(r"(?P<pid>-1|\d+)_c(?P<camid>\d+)(?:s\d+)?(?:_\w*)?\.\w+")


def known_people(files: Sequence[str], pattern: str = "") -> list[tuple[str, str]]:
    """Return identity and camera of each file, "" where its name does not say.

    Args:
        files: paths.
        pattern: a regular expression for the whole name with the group pid and perhaps camid, as for the data set
            `folder_flat`; "" reads names as Market-1501 writes them (PID_cCAM...).

    Raises:
        UserError: the pattern is no regular expression, or has no group pid.
    """
    compiled = own_pattern(pattern, "pattern", "pid") if pattern else _USUAL
    found = [compiled.fullmatch(os.path.basename(file)) for file in files]  # noqa: PTH119
    fields = [match.groupdict() if match else {} for match in found]
    return [(each.get("pid") or "", each.get("camid") or "") for each in fields]
