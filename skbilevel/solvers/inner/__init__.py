"""Solvers of the inner problem: coefficients at given strengths."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
