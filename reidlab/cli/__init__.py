"""The `reidlab` command: its commands, what they print, and what they check."""

from reidlab.cli.commands import app, main

__all__ = ["app", "main"]
