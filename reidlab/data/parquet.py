"""Read parquet files that may be damaged: everything in them is looked at before a frame is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from reidlab.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["frame_of", "read_arrow", "read_frame"]


def read_arrow(path: Path) -> pa.Table:
    """Return what a parquet file holds, its text checked to be UTF-8.

    Raises:
        UserError: the file cannot be read, or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        arrow = pq.read_table(path)
        arrow.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable parquet file ({_first_line(error)}). Make it again.") from None
    return arrow


def frame_of(arrow: pa.Table, path: Path) -> pd.DataFrame:
    """Return an Arrow table as a frame; `path` is where it came from, for the message.

    Raises:
        UserError: what it says about itself for pandas is damaged, or a value that no frame can hold.
    """
    import pyarrow as pa

    try:
        return arrow.to_pandas()
    except (pa.ArrowException, LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UserError(f"{path} holds no readable table ({_first_line(error)}). Make it again.") from None


def read_frame(path: Path) -> pd.DataFrame:
    """Return the frame that a parquet file holds.

    Raises:
        UserError: as `read_arrow` and `frame_of`.
    """
    return frame_of(read_arrow(path), path)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
