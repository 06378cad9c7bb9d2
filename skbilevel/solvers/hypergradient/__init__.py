"""Gradients of the outer loss in the variances."""

from skbilevel.solvers.hypergradient._implicit import Implicit

__all__ = ["Implicit"]
