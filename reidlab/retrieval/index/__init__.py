"""Search among many vectors: `Index`, exact or approximate, kept in a folder."""

from reidlab.retrieval.index.core import Index

__all__ = ["Index"]
