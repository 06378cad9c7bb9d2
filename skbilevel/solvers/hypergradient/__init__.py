"""Gradients of outer losses in the strengths."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
