"""Estimators: the only layer that knows fit and predict."""

from skbilevel.linear_model._ridge import BilevelRidgeCV
from skbilevel.linear_model._ridge_classifier import BilevelRidgeClassifierCV

__all__ = ["BilevelRidgeCV", "BilevelRidgeClassifierCV"]
