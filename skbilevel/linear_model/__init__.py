"""Estimators: the only layer that knows fit and predict."""

from skbilevel._lazily import attach

__getattr__, __dir__, __all__ = attach(__name__)
