"""Smooth terms: columns, their labels, and pipelines that fit additive models."""

from skbilevel.preprocessing._additive import make_additive
from skbilevel.preprocessing._original_columns import original_columns, terms_of
from skbilevel.preprocessing._penalized_splines import PenalizedSplines

__all__ = ["PenalizedSplines", "make_additive", "original_columns", "terms_of"]
