"""Solvers that read a few rows at a time."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
