from skbilevel.solvers.outer._gcv_coordinates import GCVCoordinates as GCVCoordinates
from skbilevel.solvers.outer._hoag import HOAG as HOAG
from skbilevel.solvers.outer._lbfgsb import LBFGSB as LBFGSB
from skbilevel.solvers.outer._projected_gradient import Adam as Adam
from skbilevel.solvers.outer._projected_gradient import (
    ProjectedGradient as ProjectedGradient,
)
from skbilevel.solvers.outer._scalar import ScalarResult as ScalarResult
from skbilevel.solvers.outer._scalar import minimize_scalar_log as minimize_scalar_log
from skbilevel.solvers.outer._surrogate import Surrogate as Surrogate
