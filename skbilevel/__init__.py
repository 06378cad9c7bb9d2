"""Linear models whose regularization strengths are tuned by bilevel optimization.

Names are loaded when they are first used: importing the package takes next to no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skbilevel._show_versions import show_versions
    from skbilevel.blocks import RowBlocks
    from skbilevel.fractional import FractionalICA, FractionalSparseRegressor
    from skbilevel.linear_model import (
        BilevelElasticNetCV,
        BilevelGammaCV,
        BilevelLassoCV,
        BilevelLogisticCV,
        BilevelPoissonCV,
        BilevelRidgeClassifierCV,
        BilevelRidgeCV,
        BilevelTweedieCV,
        DPLasso,
        DPLogistic,
        DPRidge,
        to_sklearn,
    )
    from skbilevel.meta import MetaLogistic, MetaRidge
    from skbilevel.preprocessing import make_additive, original_columns, terms_of
    from skbilevel.search import BilevelSearchCV, SampleWeightsCV

__version__ = "0.1.0.dev0"

__all__ = [
    "BilevelElasticNetCV",
    "BilevelGammaCV",
    "BilevelLassoCV",
    "BilevelLogisticCV",
    "BilevelPoissonCV",
    "BilevelRidgeCV",
    "BilevelRidgeClassifierCV",
    "BilevelSearchCV",
    "BilevelTweedieCV",
    "DPLasso",
    "DPLogistic",
    "DPRidge",
    "FractionalICA",
    "FractionalSparseRegressor",
    "MetaLogistic",
    "MetaRidge",
    "RowBlocks",
    "SampleWeightsCV",
    "__version__",
    "make_additive",
    "original_columns",
    "show_versions",
    "terms_of",
    "to_sklearn",
]

# Names of ``__all__`` come from linear_model but for these.
_HOMES = {
    "BilevelSearchCV": "skbilevel.search",
    "FractionalICA": "skbilevel.fractional",
    "FractionalSparseRegressor": "skbilevel.fractional",
    "MetaLogistic": "skbilevel.meta",
    "MetaRidge": "skbilevel.meta",
    "RowBlocks": "skbilevel.blocks",
    "SampleWeightsCV": "skbilevel.search",
    "make_additive": "skbilevel.preprocessing",
    "original_columns": "skbilevel.preprocessing",
    "show_versions": "skbilevel._show_versions",
    "terms_of": "skbilevel.preprocessing",
}
_SUBMODULES = {
    "blocks",
    "certify",
    "exceptions",
    "fractional",
    "inspection",
    "linear_model",
    "meta",
    "preprocessing",
    "privacy",
    "problems",
    "search",
    "solvers",
    "testing",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"skbilevel.{name}")
    if name in __all__:
        home = importlib.import_module(_HOMES.get(name, "skbilevel.linear_model"))
        value = globals()[name] = getattr(home, name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
