"""Gradients of outer losses in the strengths."""

from skbilevel.solvers.hypergradient._chebyshev import Chebyshev
from skbilevel.solvers.hypergradient._implicit import Implicit
from skbilevel.solvers.hypergradient._implicit_gradient import ImplicitGradient
from skbilevel.solvers.hypergradient._left_out import ApproximateLeaveOneOut
from skbilevel.solvers.hypergradient._linear_solvers import (
    ConjugateGradient,
    DirectSolve,
    GradientSteps,
    NeumannSeries,
)

__all__ = [
    "ApproximateLeaveOneOut",
    "Chebyshev",
    "ConjugateGradient",
    "DirectSolve",
    "GradientSteps",
    "Implicit",
    "ImplicitGradient",
    "NeumannSeries",
]
