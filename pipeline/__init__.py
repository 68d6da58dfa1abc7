"""Airtally counts the votes of a live television show, exactly, while the show is on the air."""

__version__ = "0.1.0"
