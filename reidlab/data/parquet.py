"""Write parquet files whole or not at all, and read ones that may be damaged: all in them is checked first."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from reidlab.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["arrow_of", "frame_of", "read_arrow", "read_frame", "write_arrow"]


def arrow_of(frame: pd.DataFrame, what: str) -> pa.Table:
    """Return a frame as an Arrow table; `what` names it in messages.

    Raises:
        UserError: a column holds things that parquet cannot hold.
    """
    import pyarrow as pa

    plain = frame.copy(deep=False)
    # pyarrow 26 crashes on NumPy's float16 beside datetime64
    for column in [name for name in frame if pd.api.types.is_object_dtype(frame[name])]:
        values = [value.item() if isinstance(value, np.floating) else value for value in frame[column]]
        plain[column] = pd.Series(values, index=frame.index, dtype=object)
    try:
        return pa.Table.from_pandas(plain, preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{what} cannot be saved as parquet: {_first_line(error)}.") from None


def write_arrow(arrow: pa.Table, path: Path) -> None:
    """Write an Arrow table as parquet into a folder that is made if need be: beside `path` first, then renamed."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        pq.write_table(arrow, beside)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


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
