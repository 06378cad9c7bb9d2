"""Estimators: the only layer that knows fit and predict."""

from skbilevel.linear_model._export import to_sklearn
from skbilevel.linear_model._gamma import BilevelGammaCV
from skbilevel.linear_model._logistic import BilevelLogisticCV
from skbilevel.linear_model._poisson import BilevelPoissonCV
from skbilevel.linear_model._ridge import BilevelRidgeCV
from skbilevel.linear_model._ridge_classifier import BilevelRidgeClassifierCV
from skbilevel.linear_model._tweedie import BilevelTweedieCV

__all__ = [
    "BilevelGammaCV",
    "BilevelLogisticCV",
    "BilevelPoissonCV",
    "BilevelRidgeCV",
    "BilevelRidgeClassifierCV",
    "BilevelTweedieCV",
    "to_sklearn",
]
