"""`python -m reidlab` is the `reidlab` command."""

from __future__ import annotations

import sys

from reidlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
