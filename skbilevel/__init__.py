"""Linear models whose regularization strengths are tuned by bilevel optimization."""

from skbilevel.linear_model import BilevelRidgeClassifierCV, BilevelRidgeCV

__version__ = "0.1.0.dev0"

__all__ = ["BilevelRidgeCV", "BilevelRidgeClassifierCV", "__version__"]
