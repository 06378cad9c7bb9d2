"""Algorithms that turn a bilevel problem into tuned strengths."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
