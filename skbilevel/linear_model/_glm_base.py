"""What the doors of all generalized linear models share."""

from __future__ import annotations

from typing import Any, ClassVar

from skbilevel._sklearn_compat import HasMethods, StrOptions
from skbilevel.linear_model._base import BilevelLinearModel
from skbilevel.solvers import INNER, NEWTON, ORACLE_SOLVERS, SOLVERS


class BilevelGeneralizedLinearModel(BilevelLinearModel):
    """Criteria and solvers that exist for losses that are not quadratic."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BilevelLinearModel._parameter_constraints,
        "cv": ["cv_object", StrOptions({"loo"})],
        "solver": [
            StrOptions({"auto", "exact", *SOLVERS, *INNER, *NEWTON, *ORACLE_SOLVERS}),
            HasMethods(["solve"]),
            HasMethods(["solve_oracles"]),
        ],
    }
