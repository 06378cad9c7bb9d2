"""Which problem of a generalized linear model is posed, and who solves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._glm_criterion import tune_glm_criterion
from skbilevel.linear_model._glm_data import PreparedGLM
from skbilevel.linear_model._glm_guarded import tune_glm_guarded
from skbilevel.linear_model._glm_zeros import all_zero, without_events
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.linear_model._tuning import check_published, working_units
from skbilevel.model_selection._regime import check_solver


# Steps that are too long meet infinite losses, and are shortened.
@np.errstate(over="ignore")
def tune_glm(
    data: PreparedGLM, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Search the strengths as the options say."""
    if not isinstance(options.solver, str):  # names are checked by the door
        check_solver(options.solver)
    check_published(options)
    options = working_units(data, options)
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
