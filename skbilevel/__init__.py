"""Linear models whose regularization strengths are tuned by bilevel optimization."""

from skbilevel.linear_model import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
    to_sklearn,
)
from skbilevel.search import BilevelSearchCV

__version__ = "0.1.0.dev0"

__all__ = [
    "BilevelGammaCV",
    "BilevelLogisticCV",
    "BilevelPoissonCV",
    "BilevelRidgeCV",
    "BilevelRidgeClassifierCV",
    "BilevelSearchCV",
    "BilevelTweedieCV",
    "__version__",
    "to_sklearn",
]
