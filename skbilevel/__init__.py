"""Linear models whose regularization strengths are tuned by bilevel optimization.

Names are loaded when they are first used: importing the package takes next to no time.
"""

from skbilevel._lazily import attach

__version__ = "0.1.0.dev0"

__getattr__, __dir__, _names = attach(__name__)
__all__ = sorted([*_names, "__version__"])
