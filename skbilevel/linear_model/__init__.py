"""Estimators: the only layer that knows fit and predict."""

from skbilevel.linear_model._ridge import BilevelRidgeCV

__all__ = ["BilevelRidgeCV"]
