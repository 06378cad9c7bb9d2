"""Gradients of outer losses in the strengths."""

from skbilevel.solvers.hypergradient._implicit import Implicit
from skbilevel.solvers.hypergradient._left_out import ApproximateLeaveOneOut

__all__ = ["ApproximateLeaveOneOut", "Implicit"]
