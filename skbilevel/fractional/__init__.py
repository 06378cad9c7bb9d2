"""Ratios of two functions: regression on k features, and independent components."""

from skbilevel.fractional._ica import FractionalICA
from skbilevel.fractional._regressor import FractionalSparseRegressor

__all__ = ["FractionalICA", "FractionalSparseRegressor"]
