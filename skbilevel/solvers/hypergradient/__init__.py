"""Gradients of outer losses in the strengths."""

from skbilevel.solvers.hypergradient._implicit import ApproximateLeaveOneOut, Implicit
from skbilevel.solvers.hypergradient._implicit_gradient import (
    SHINE,
    ImplicitGradient,
    JacobianFree,
)
from skbilevel.solvers.hypergradient._linear_solvers import (
    Chebyshev,
    ConjugateGradient,
    DirectSolve,
    FixedPoint,
    GradientSteps,
    NeumannSeries,
)
from skbilevel.solvers.hypergradient._unrolled import PZOBO, Unrolled

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
