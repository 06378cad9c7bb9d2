"""Values and derivatives: designs, data fits, parametrizations, bilevel problems."""

from typing import TYPE_CHECKING, Any

from skbilevel.problems._active_set import ActiveSet, Moments
from skbilevel.problems._bilevel import (
    BilevelProblem,
    Criterion,
    CriterionPoint,
    CriterionProblem,
    Task,
    quadratic_task,
    rows_task,
    stack_tasks,
    transfer,
)
from skbilevel.problems._centered import Centered, Headed
from skbilevel.problems._datafit import (
    DataFit,
    Linearization,
    QuadraticDataFit,
    zeros,
)
from skbilevel.problems._design import DenseDesign, Design, SparseDesign, as_design
from skbilevel.problems._glm_losses import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    TweedieLoss,
)
from skbilevel.problems._hyperpenalties import (
    Hyperpenalty,
    SmoothPenalty,
    SparsePenalty,
)
from skbilevel.problems._leave_one_out import GCV, LeaveOneOut
from skbilevel.problems._linear_oracles import linear_oracles
from skbilevel.problems._losses import CurvedLoss, Loss, SquaredLoss
from skbilevel.problems._metadata import MetadataStrengths, metadata_transform
from skbilevel.problems._oracles import InnerOracles, OracleProblem, OuterOracles
from skbilevel.problems._outer_losses import (
    BrierLoss,
    SmoothZeroOneLoss,
    SquaredHingeLoss,
)
from skbilevel.problems._parametrizations import (
    ByTarget,
    Embedded,
    FeatureStrengths,
    GroupStrengths,
    Parametrization,
    SharedStrength,
    strengths,
)
from skbilevel.problems._penalties import ElasticNet
from skbilevel.problems._rows_datafit import RowsDataFit, moments_of
from skbilevel.problems._sweep import Sweep
from skbilevel.problems._swept_rows import SweptRows

if TYPE_CHECKING:
    from skbilevel.problems._ratios import (
        FourthPowers,
        GramColumns,
        LeastSquaresL1,
        Lines,
        PartPoint,
        RatioPart,
        SquaredNorm,
        TopK,
    )
else:

    def __getattr__(name: str) -> Any:
        # Ratios are loaded when one of them is asked for: no linear model needs them.
        if name in __all__:
            from skbilevel.problems import _ratios

            return getattr(_ratios, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "GCV",
    "ActiveSet",
    "BilevelProblem",
    "BrierLoss",
    "ByTarget",
    "Centered",
    "Criterion",
    "CriterionPoint",
    "CriterionProblem",
    "CurvedLoss",
    "DataFit",
    "DenseDesign",
    "Design",
    "ElasticNet",
    "Embedded",
    "FeatureStrengths",
    "FourthPowers",
    "GammaLoss",
    "GramColumns",
    "GroupStrengths",
    "Headed",
    "Hyperpenalty",
    "InnerOracles",
    "LeastSquaresL1",
    "LeaveOneOut",
    "Linearization",
    "Lines",
    "LogisticLoss",
    "Loss",
    "MetadataStrengths",
    "Moments",
    "OracleProblem",
    "OuterOracles",
    "Parametrization",
    "PartPoint",
    "PoissonLoss",
    "QuadraticDataFit",
    "RatioPart",
    "RowsDataFit",
    "SharedStrength",
    "SmoothPenalty",
    "SmoothZeroOneLoss",
    "SoftmaxLoss",
    "SparseDesign",
    "SparsePenalty",
    "SquaredHingeLoss",
    "SquaredLoss",
    "SquaredNorm",
    "Sweep",
    "SweptRows",
    "Task",
    "TopK",
    "TweedieLoss",
    "as_design",
    "linear_oracles",
    "metadata_transform",
    "moments_of",
    "quadratic_task",
    "rows_task",
    "stack_tasks",
    "strengths",
    "transfer",
    "zeros",
]
