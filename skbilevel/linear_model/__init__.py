"""Estimators: the only layer that knows fit and predict.

Each is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skbilevel.linear_model._dp_lasso import DPLasso
    from skbilevel.linear_model._dp_logistic import DPLogistic
    from skbilevel.linear_model._dp_ridge import DPRidge
    from skbilevel.linear_model._elastic_net import BilevelElasticNetCV, BilevelLassoCV
    from skbilevel.linear_model._export import to_sklearn
    from skbilevel.linear_model._gamma import BilevelGammaCV
    from skbilevel.linear_model._logistic import BilevelLogisticCV
    from skbilevel.linear_model._poisson import BilevelPoissonCV
    from skbilevel.linear_model._ridge import BilevelRidgeCV
    from skbilevel.linear_model._ridge_classifier import BilevelRidgeClassifierCV
    from skbilevel.linear_model._tweedie import BilevelTweedieCV

__all__ = [
    "BilevelElasticNetCV",
    "BilevelGammaCV",
    "BilevelLassoCV",
    "BilevelLogisticCV",
    "BilevelPoissonCV",
    "BilevelRidgeCV",
    "BilevelRidgeClassifierCV",
    "BilevelTweedieCV",
    "DPLasso",
    "DPLogistic",
    "DPRidge",
    "to_sklearn",
]

_HOMES = {
    "BilevelElasticNetCV": "_elastic_net",
    "BilevelGammaCV": "_gamma",
    "BilevelLassoCV": "_elastic_net",
    "BilevelLogisticCV": "_logistic",
    "BilevelPoissonCV": "_poisson",
    "BilevelRidgeCV": "_ridge",
    "BilevelRidgeClassifierCV": "_ridge_classifier",
    "BilevelTweedieCV": "_tweedie",
    "DPLasso": "_dp_lasso",
    "DPLogistic": "_dp_logistic",
    "DPRidge": "_dp_ridge",
    "to_sklearn": "_export",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = importlib.import_module(f"skbilevel.linear_model.{_HOMES[name]}")
    value = globals()[name] = getattr(home, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
