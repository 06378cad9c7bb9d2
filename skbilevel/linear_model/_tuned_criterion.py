"""Strengths that minimize a criterion as it is, or with one hyperpenalty."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from scipy import sparse

from skbilevel._typing import Array
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
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._fold_features import views_of
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._named_criteria import CRITERIA, NamedCriterion
from skbilevel.model_selection._regime import (
    Regime,
    check_solver,
    choose,
    oracle_solver,
)
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._search import CriterionResult
from skbilevel.problems._summed_rows import SummedRows
from skbilevel.solvers import (
    CRITERION_SOLVERS,
    INNER,
    LBFGSB,
    NEWTON,
    Implicit,
    Nested,
    NewtonCholesky,
    NewtonDual,
    choose_newton,
)
from skbilevel.solvers.hypergradient._implicit import INVERSE_UP_TO

# A closed form needs a matrix of this size at most to be factored.
_CLOSED_UP_TO = 6000
# Of several classes: leaving out their rows costs as much as the inverse.
_CLASSES_UP_TO = 3000


def tune_criterion(
    data: Prepared, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Tune folds, a hold-out or a closed form, as ``cv`` says."""
    check_limits(data, options)
    splits = splits_of(data, resampling, options.seed, data.strata)
    views = views_of(data, splits, resampling.features)
    options = options.widened(views.full.n_penalized)
    metadata = metadata_of(data, options, splits, views)
    # Metadata speak of columns as they are.
    standardize = data.rows.standardize and metadata is None
    source: Any
    named = CRITERIA.get(resampling.criterion)
    words = named.words if named else NamedCriterion.words
    if data.net:
        # Ridge does not wait for modules that it has no use for.
        from skbilevel.model_selection._net_source import NetSource

        regime = Regime("primal", None)
        unit = Unit(words[0], 2.0 * data.y_scale**2)
        source = NetSource(views, splits, data.net)
        if options.alpha_init is None:
            options = replace(options, alpha_init=1.0 / source.shared_v)
    elif data.quadratic:
        regime = _regime(data, resampling.criterion, len(splits), options)
        source = _source(data, views, resampling.criterion, splits, regime, standardize)
        square = 2.0 * data.y_scale * data.y_scale / data.rows.n_targets
        unit = Unit(words[0], square)
    else:
        from skbilevel.model_selection._glm_source import GLMSource

        regime = _glm_regime(data, resampling.criterion, options)
        losses = data.loss, data.outer
        source = GLMSource.of(
            views, losses, data.offset, splits, regime.inner, standardize
        )
        if named and named.likelihood and regime.solver:
            how = named.likelihood(source)
            regime = replace(regime, solver=replace(regime.solver, hypergradient=how))
        unit = Unit(words[1], 1.0)

    def left_out(v: Array) -> Array:
        predicted: Array = source.left_out_predictions(v) + data.rows.y_shift
        return predicted * data.y_scale

    def finish(found: CriterionResult, brief: bool = True) -> Tuned:
        others = None if splits else partial(left_out, found.v)
        made = report(data, source, views, splits, found, options, unit, others, brief)
        return replace(made, share=source.share) if data.net else made

    found = search_strengths(source, regime, options, metadata, unit, finish)
    return finish(found, brief=False)


def check_chosen(options: TuningOptions, criterion: str) -> None:
    """Raise where the chosen solver is none, or minimizes something else."""
    if not isinstance(options.solver, str):  # names are checked by the door
        check_solver(options.solver)
    _check_published(options)
    _check_coordinates(options, criterion)


def _check_published(options: TuningOptions) -> None:
    """Raise where an algorithm of the literature is asked to tune something else."""
    if oracle_solver(options.solver) is None:
        return
    penalty = options.hyperpenalty
    if isinstance(penalty, str) or (isinstance(penalty, tuple) and "sparse" in penalty):
        raise ValueError(
            f"solver={options.solver!r} minimizes the validation loss over finite "
            f"strengths, which hyperpenalty={penalty!r} does not ask for: set "
            "hyperpenalty=None or ('smooth', value), or choose solver='auto'."
        )


def _check_coordinates(options: TuningOptions, criterion: str) -> None:
    """Raise where the solver of one criterion is asked to minimize another."""
    if not isinstance(options.solver, str) or options.solver not in CRITERION_SOLVERS:
        return
    shared = options.groups is not None or options.metadata is not None
    if criterion != "gcv" or options.hyperpenalty is not None or shared:
        raise ValueError(
            f"solver={options.solver!r} minimizes generalized cross-validation over "
            "one strength per feature: set cv='gcv' and hyperpenalty=None, and leave "
            "feature_groups and feature_metadata out; or choose solver='auto'."
        )


def _regime(
    data: Prepared, criterion: str, n_folds: int, options: TuningOptions
) -> Regime:
    n, p = data.rows.n_rows, data.rows.n_penalized
    if isinstance(data.rows, SummedRows):
        return Regime("primal", None)
    regime = choose(options.solver, n, p, sparse.issparse(data.rows.X), n_folds)
    if criterion == "folds":
        return regime
    asked = regime.given != "auto" and regime.oracles is None
    factors = regime.name != "matrix-free" or not asked
    check_closed_form(options.solver, factors, criterion, min(n, p), _CLOSED_UP_TO)
    return regime


def _source(
    data: Prepared,
    views: RowViews,
    criterion: str,
    splits: list[Pair],
    regime: Regime,
    standardize: bool,
) -> MomentFolds | RowSource:
    """The form of the data that suits."""
    rows = data.rows
    folds = criterion == "folds" and regime.name == "primal"
    if folds or isinstance(rows, SummedRows):
        return MomentFolds.of(views, splits, standardize, criterion)
    wide = rows.n_rows < rows.n_penalized
    dual = {"primal": False, "dual": True}.get(regime.name, wide)
    inner = regime.inner if criterion == "folds" else INNER["dual"]
    return RowSource.of(views, splits, criterion, dual, inner, standardize)


def _glm_regime(data: Prepared, criterion: str, options: TuningOptions) -> Regime:
    """Who solves; criteria of all rows need factors."""
    left_out = criterion != "folds"
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
        limit = _CLASSES_UP_TO if data.rows.n_targets > 1 else INVERSE_UP_TO
        size = min(n, p) * data.rows.n_targets
        check_closed_form(given, factors, criterion, size, limit)
    return Regime(name, solver, given)
