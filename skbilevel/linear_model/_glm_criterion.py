"""Strengths of generalized linear models that minimize a criterion as it is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from scipy import sparse

from skbilevel.linear_model._criterion_search import (
    Unit,
    check_closed_form,
    check_limits,
    metadata_of,
    report,
    search_strengths,
    splits_of,
)
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._fold_features import views_of
from skbilevel.linear_model._glm_data import PreparedGLM
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.model_selection._course import Found
from skbilevel.model_selection._glm_source import GLMSource
from skbilevel.model_selection._regime import Regime, oracle_solver
from skbilevel.solvers import (
    LBFGSB,
    NEWTON,
    ApproximateLeaveOneOut,
    Implicit,
    Nested,
    NewtonCholesky,
    NewtonDual,
    choose_newton,
)

# Losses are published as the search sees them.
_UNIT = Unit("validation loss", 1.0)
# Approximate leave-one-out inverts a Hessian of this size at most: of one target, and
# over all classes, whose rows cost as much as the inverse.
_INVERSE_UP_TO, _CLASSES_UP_TO = 6000, 3000


def tune_glm_criterion(
    data: PreparedGLM, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Tune folds, a hold-out or approximate leave-one-out, as ``cv`` says."""
    check_limits(data, options)
    rows = data.rows
    splits = splits_of(data, resampling, options.seed, data.strata)
    views = views_of(rows, splits, resampling.features)
    options = options.widened(views.full.n_penalized)
    metadata = metadata_of(data, options, 1.0, splits, views)
    regime = _regime(data, not splits, options)
    source = GLMSource.of(
        views,
        (data.loss, data.outer),
        data.offset,
        splits,
        regime.inner,
        rows.standardize and metadata is None,
    )

    def finish(found: Found, brief: bool = True) -> Tuned:
        others = None if splits else partial(source.left_out_predictions, found.v)
        return report(data, source, views, splits, found, options, _UNIT, others, brief)

    found = search_strengths(source, regime, options, metadata, _UNIT, finish)
    return finish(found, brief=False)


def _regime(data: PreparedGLM, left_out: bool, options: TuningOptions) -> Regime:
    """Who solves; approximate leave-one-out needs factors."""
    n, p = data.rows.n_rows, data.rows.n_penalized
    given = options.solver
    if isinstance(given, Nested):
        name, solver = "given", given
    else:
        published = oracle_solver(given)
        if published is not None and left_out:
            raise ValueError(
                f"solver={given!r} needs held-out rows: give cv a number of folds or a "
                "splitter, or choose solver='auto'."
            )
        name = "auto" if published is not None else given
        name = "exact" if left_out and name == "auto" else name
        own = options.n_own(data.rows.n_targets)
        name = choose_newton(n, p, sparse.issparse(data.rows.X), name, own)
        solver = Nested(NEWTON[name], Implicit(), LBFGSB())
    if left_out:
        factors = isinstance(solver.inner, NewtonCholesky | NewtonDual)
        check_closed_form(given, factors, "loo")
        size = min(n, p) * data.rows.n_targets
        coupled = data.rows.n_targets > 1
        if size > (_CLASSES_UP_TO if coupled else _INVERSE_UP_TO):
            raise ValueError(
                f"cv='loo' inverts a matrix of {size} columns, which is too large; "
                "give a number of folds."
            )
        solver = replace(solver, hypergradient=ApproximateLeaveOneOut())
    return Regime(name, solver, given)
