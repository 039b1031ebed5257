"""What the command's own processes need not load, though the packages that they use would."""

from __future__ import annotations

import sys

__all__ = ["forgo"]

# jsonschema, which nbformat loads, reads a grammar of web addresses with it: a second of CPU for a check that no
# notebook asks for. jsonschema does without where it is not installed.
USELESS = ("rfc3987_syntax",)
# papermill's ways to files that are not on this machine
REMOTE = ("pyarrow", "boto3", "azure", "gcsfs", "github")


def forgo(*, remote: bool = False) -> None:
    """Keep this process from importing any of them: for the command and its child, never for a user's kernel.

    Args:
        remote: also none of the packages by which papermill reaches files on other machines.
    """
    for name in (*USELESS, *(REMOTE if remote else ())):
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]
