from skbilevel.solvers.hypergradient._implicit import (
    ApproximateLeaveOneOut as ApproximateLeaveOneOut,
)
from skbilevel.solvers.hypergradient._implicit import Implicit as Implicit
from skbilevel.solvers.hypergradient._implicit_gradient import SHINE as SHINE
from skbilevel.solvers.hypergradient._implicit_gradient import (
    ImplicitGradient as ImplicitGradient,
)
from skbilevel.solvers.hypergradient._implicit_gradient import (
    JacobianFree as JacobianFree,
)
from skbilevel.solvers.hypergradient._linear_solvers import Chebyshev as Chebyshev
from skbilevel.solvers.hypergradient._linear_solvers import (
    ConjugateGradient as ConjugateGradient,
)
from skbilevel.solvers.hypergradient._linear_solvers import DirectSolve as DirectSolve
from skbilevel.solvers.hypergradient._linear_solvers import FixedPoint as FixedPoint
from skbilevel.solvers.hypergradient._linear_solvers import (
    GradientSteps as GradientSteps,
)
from skbilevel.solvers.hypergradient._linear_solvers import (
    NeumannSeries as NeumannSeries,
)
from skbilevel.solvers.hypergradient._unrolled import PZOBO as PZOBO
from skbilevel.solvers.hypergradient._unrolled import Unrolled as Unrolled
