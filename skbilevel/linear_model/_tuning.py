"""Which problem is posed and who solves it: the step between door and publication."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._guarded import tune_guarded
from skbilevel.linear_model._options import (
    FoldModel,
    Tuned,
    TuningOptions,
    candidate_table,
)
from skbilevel.model_selection._named_criteria import CRITERIA
from skbilevel.model_selection._outer_space import check_alpha_bounds
from skbilevel.problems._losses import HALF_EVENT, facts_of


# Steps that are too long meet infinite losses, and are shortened.
@np.errstate(over="ignore")
def tune(data: Prepared, resampling: Resampling, options: TuningOptions) -> Tuned:
    """Search the strengths as the options say."""
    if not _is_auto(options.solver):
        # Loaded when asked for, as are searches without the guard below.
        from skbilevel.linear_model._tuned_criterion import check_chosen

        check_chosen(options, resampling.criterion)
    if data.net:
        check_net(options, resampling)
    _check_guarded(options, resampling.criterion)
    options = working_units(data, options)
    events = facts_of(data.loss).has_events and data.rows.intercept
    if events and not data.rows.y.any():
        # The likelihood has no finite maximum.
        return without_events(data)
    if isinstance(options.hyperpenalty, str):
        left_out = options.one_strength and resampling.criterion == "loo"
        if data.quadratic or not left_out:
            return tune_guarded(data, resampling, options)
        # One strength overfits nothing: leave-one-out alone chooses it.
        options = replace(options, hyperpenalty=None)
    from skbilevel.linear_model._tuned_criterion import tune_criterion

    return tune_criterion(data, resampling, options)


def _is_auto(solver: Any) -> bool:
    return isinstance(solver, str) and solver == "auto"


def _check_guarded(options: TuningOptions, criterion: str) -> None:
    """Raise where the guard is asked for a criterion that it does not take."""
    alone = criterion in CRITERIA and not CRITERIA[criterion].guarded
    if alone and isinstance(options.hyperpenalty, str):
        raise ValueError(
            f"cv={criterion!r} needs hyperpenalty=None or a tuple: under 'auto' cv "
            "gives the nested folds, and the guard has candidates from the evidence."
        )


def check_net(options: TuningOptions, resampling: Resampling) -> None:
    """Raise where a penalty that removes columns is asked for what it has not."""
    if resampling.criterion != "folds":
        raise ValueError(
            f"cv={resampling.criterion!r} has no closed form with an l1 penalty: give "
            "cv a number of folds or a splitter, or use BilevelRidgeCV."
        )
    guarded = isinstance(options.hyperpenalty, str)
    if resampling.features is not None and not guarded:
        raise ValueError(
            f"hyperpenalty={options.hyperpenalty!r} of an l1 penalty tunes folds of "
            "one X, but transformers make another X of every training set: leave "
            "hyperpenalty='auto'."
        )
    if callable(options.metadata) and not guarded:
        raise ValueError(
            "feature_metadata is a function of rows, which an l1 penalty takes with "
            "hyperpenalty='auto' only: give an array of shape (n_features, q)."
        )


def working_units(data: Prepared, options: TuningOptions) -> TuningOptions:
    """What the user says in units of ``alpha_`` and of weights, in working units."""
    init, bounds, metadata = options.alpha_init, options.alpha_bounds, options.metadata
    unit = data.alpha_unit
    if unit != 1.0 and init is not None:
        options.start(data.rows)
        init = np.asarray(init, dtype=np.float64) * unit
        init = float(init) if init.ndim == 0 else init
    if unit != 1.0 and bounds is not None:
        check_alpha_bounds(bounds)
        bounds = tuple(float(each) * unit for each in bounds)
    made = metadata
    if callable(metadata) and data.counts.unit != 1.0:

        def made(X: Any, y: Array, weight: Array) -> Any:
            """The same of numbers of rows, asked in the weights of the user."""
            return metadata(X, y, weight * data.counts.unit)

    return replace(options, alpha_init=init, alpha_bounds=bounds, metadata=made)


def without_events(data: Prepared) -> Tuned:
    """No features, and an intercept that expects half an event in all rows."""
    rows, weight = data.rows, data.rows.weight
    shift = np.zeros(len(weight)) if data.offset is None else data.offset[:, 0]
    largest = shift.max()
    level = np.log(HALF_EVENT / (weight @ np.exp(shift - largest))) - largest
    coef = np.zeros((rows.n_free + rows.n_penalized, 1))
    coef[0] = level
    loss = data.outer.value((level + shift)[:, None], rows.y)
    score = np.array([-float(weight @ loss[:, 0] / weight.sum())])
    v, one = np.zeros(rows.n_penalized), np.ones(1)
    none, alpha = np.array([np.nan]), np.full((1, len(v)), np.inf)
    found = candidate_table(["no events"], none, score, none, one, alpha)
    fold = FoldModel(np.arange(rows.n_rows), coef, rows)
    history = {"candidate": np.arange(1), "score": score, "weight": one}
    history["seconds"] = np.zeros(1)
    return Tuned(v, coef, float(score[0]), 1, history, found, [fold], 0)
