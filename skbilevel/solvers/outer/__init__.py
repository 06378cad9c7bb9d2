"""Searches over the outer vector."""

from skbilevel.solvers.outer._gcv_coordinates import GCVCoordinates
from skbilevel.solvers.outer._hoag import HOAG
from skbilevel.solvers.outer._lbfgsb import LBFGSB
from skbilevel.solvers.outer._projected_gradient import Adam, ProjectedGradient
from skbilevel.solvers.outer._scalar import ScalarResult, minimize_scalar_log
from skbilevel.solvers.outer._surrogate import Surrogate

__all__ = [
    "HOAG",
    "LBFGSB",
    "Adam",
    "GCVCoordinates",
    "ProjectedGradient",
    "ScalarResult",
    "Surrogate",
    "minimize_scalar_log",
]
