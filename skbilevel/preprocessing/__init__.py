"""Smooth terms: columns, their labels, and pipelines that fit additive models."""

from skbilevel.preprocessing._additive import make_additive
from skbilevel.preprocessing._original_columns import original_columns, terms_of
from skbilevel.preprocessing._penalized_splines import PenalizedSplines
from skbilevel.preprocessing._spline_products import (
    TensorSplines,
    VaryingCoefficients,
)

__all__ = [
    "PenalizedSplines",
    "TensorSplines",
    "VaryingCoefficients",
    "make_additive",
    "original_columns",
    "terms_of",
]
