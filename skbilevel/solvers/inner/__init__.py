"""Solvers of the inner problem: coefficients at given strengths."""

from skbilevel.solvers.inner._ai_sarah import AISARAH
from skbilevel.solvers.inner._cg import CG, StaleCholesky
from skbilevel.solvers.inner._cholesky import Cholesky, Dual
from skbilevel.solvers.inner._gradient_descent import GradientDescent, Newton
from skbilevel.solvers.inner._lbfgs import LBFGS
from skbilevel.solvers.inner._newton_cg import NewtonCG
from skbilevel.solvers.inner._newton_cholesky import NewtonCholesky, NewtonDual
from skbilevel.solvers.inner._saga import SAGA
from skbilevel.solvers.inner._srkcd import SRKCD

__all__ = [
    "AISARAH",
    "CG",
    "LBFGS",
    "SAGA",
    "SRKCD",
    "Cholesky",
    "Dual",
    "GradientDescent",
    "Newton",
    "NewtonCG",
    "NewtonCholesky",
    "NewtonDual",
    "StaleCholesky",
]
