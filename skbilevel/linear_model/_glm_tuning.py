"""Which problem of a generalized linear model is posed, and who solves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skbilevel.linear_model._criterion_search import start_of
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._glm_criterion import tune_glm_criterion
from skbilevel.linear_model._glm_data import PreparedGLM
from skbilevel.linear_model._glm_guarded import tune_glm_guarded
from skbilevel.linear_model._glm_zeros import all_zero, without_events
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.linear_model._tuning import check_published, check_rows
from skbilevel.model_selection._outer_space import check_alpha_bounds
from skbilevel.model_selection._regime import check_solver


# Steps that are too long meet infinite losses, and are shortened.
@np.errstate(over="ignore")
def tune_glm(
    data: PreparedGLM, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Search the strengths as the options say."""
    if not isinstance(options.solver, str):  # names are checked by the door
        check_solver(options.solver)
    check_rows(data)
    check_published(options)
    options = _sum_units(data, options)
    if all_zero(data):
        return without_events(data)
    if isinstance(options.hyperpenalty, str):
        groups = options.groups
        one = groups is not None and len(groups.labels) == 1
        if not (one and resampling.criterion == "loo"):
            return tune_glm_guarded(data, resampling, options)
        # One strength overfits nothing: leave-one-out alone chooses it.
        options = replace(options, hyperpenalty=None)
    return tune_glm_criterion(data, resampling, options)


def _sum_units(data: PreparedGLM, options: TuningOptions) -> TuningOptions:
    """Strengths that the user gave, in units of a loss that is a sum over rows."""
    init, bounds = options.alpha_init, options.alpha_bounds
    if data.alpha_unit == 1.0 or (init is None and bounds is None):
        return options
    start_of(data.rows, options)
    check_alpha_bounds(bounds)
    if init is not None:
        init = np.asarray(init, dtype=np.float64) * data.alpha_unit
        init = float(init) if init.ndim == 0 else init
    if bounds is not None:
        bounds = tuple(float(each) * data.alpha_unit for each in bounds)
    return replace(options, alpha_init=init, alpha_bounds=bounds)
