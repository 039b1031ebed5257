"""A notebook-first research workbook for person and vehicle re-identification."""

__version__ = "0.1.0"
