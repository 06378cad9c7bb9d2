"""Solvers of the inner problem: coefficients at given variances."""

from skbilevel.solvers.inner._cg import CG
from skbilevel.solvers.inner._cholesky import Cholesky
from skbilevel.solvers.inner._dual import Dual
from skbilevel.solvers.inner._stale import StaleCholesky

__all__ = ["CG", "Cholesky", "Dual", "StaleCholesky"]
