"""Gradients of outer losses in the strengths."""

from skbilevel.solvers.hypergradient._chebyshev import Chebyshev
from skbilevel.solvers.hypergradient._fixed_point import FixedPoint
from skbilevel.solvers.hypergradient._implicit import Implicit
from skbilevel.solvers.hypergradient._implicit_gradient import ImplicitGradient
from skbilevel.solvers.hypergradient._jacobian_free import JacobianFree
from skbilevel.solvers.hypergradient._left_out import ApproximateLeaveOneOut
from skbilevel.solvers.hypergradient._linear_solvers import (
    ConjugateGradient,
    DirectSolve,
    GradientSteps,
    NeumannSeries,
)
from skbilevel.solvers.hypergradient._pzobo import PZOBO
from skbilevel.solvers.hypergradient._shine import SHINE
from skbilevel.solvers.hypergradient._unrolled import Unrolled

__all__ = [
    "PZOBO",
    "SHINE",
    "ApproximateLeaveOneOut",
    "Chebyshev",
    "ConjugateGradient",
    "DirectSolve",
    "FixedPoint",
    "GradientSteps",
    "Implicit",
    "ImplicitGradient",
    "JacobianFree",
    "NeumannSeries",
    "Unrolled",
]
