"""Tramontane: a mixture-of-experts language model that a person owns from end to end."""

from importlib.metadata import version

__version__ = version("tramontane")
