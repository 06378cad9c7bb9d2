"""Searches over the outer vector."""

from skbilevel.solvers.outer._lbfgsb import LBFGSB
from skbilevel.solvers.outer._scalar import ScalarResult, minimize_scalar_log

__all__ = ["LBFGSB", "ScalarResult", "minimize_scalar_log"]
