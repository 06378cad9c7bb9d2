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

__version__ = "0.1.0.dev0"

__all__ = [
    "BilevelGammaCV",
    "BilevelLogisticCV",
    "BilevelPoissonCV",
    "BilevelRidgeCV",
    "BilevelRidgeClassifierCV",
    "BilevelTweedieCV",
    "__version__",
    "to_sklearn",
]
