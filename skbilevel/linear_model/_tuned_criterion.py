"""Ridge strengths that minimize a criterion as it is, or with one hyperpenalty."""

from __future__ import annotations

from functools import partial

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
from skbilevel.linear_model._data import PreparedData
from skbilevel.linear_model._fold_features import views_of
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.model_selection._course import Found
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._regime import Regime, choose
from skbilevel.model_selection._resampling import Pair
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._row_views import RowViews

# A closed form needs a matrix of this size at most to be factored.
_CLOSED_UP_TO = 6000


def tune_criterion(
    data: PreparedData, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Tune the criterion that ``cv`` names."""
    check_limits(data, options)
    rows = data.rows
    splits = splits_of(data, resampling, options.seed)
    views = views_of(rows, splits, resampling.features)
    options = options.widened(views.full.n_penalized)
    metadata = metadata_of(data, options, data.y_scale, splits, views)
    regime = _regime(data, resampling.criterion, len(splits), options)
    plain = metadata is not None
    source = _source(data, views, resampling.criterion, splits, regime, plain)
    unit = Unit("validation MSE", 2.0 * data.y_scale * data.y_scale / rows.n_targets)

    def left_out(v: Array) -> Array:
        assert isinstance(source, RowSource)
        return (source.left_out_predictions(v) + rows.y_shift) * data.y_scale

    def finish(found: Found, brief: bool = True) -> Tuned:
        closed = isinstance(source, RowSource) and not splits
        others = partial(left_out, found.v) if closed else None
        return report(data, source, views, splits, found, options, unit, others, brief)

    found = search_strengths(source, regime, options, metadata, unit, finish)
    return finish(found, brief=False)


def _regime(
    data: PreparedData, criterion: str, n_folds: int, options: TuningOptions
) -> Regime:
    n, p = data.rows.n_rows, data.rows.n_penalized
    regime = choose(options.solver, n, p, sparse.issparse(data.rows.X), n_folds)
    if criterion == "folds":
        return regime
    asked = regime.given != "auto" and regime.oracles is None
    factors = regime.name != "matrix-free"
    check_closed_form(options.solver, factors or not asked, criterion)
    if min(n, p) > _CLOSED_UP_TO:
        raise ValueError(
            f"cv={criterion!r} factors a matrix of {min(n, p)} columns, which is too "
            "large; give a number of folds."
        )
    return regime


def _source(
    data: PreparedData,
    views: RowViews,
    criterion: str,
    splits: list[Pair],
    regime: Regime,
    plain: bool,
) -> MomentFolds | RowSource:
    """The form of the data that suits; metadata speak of columns as they are."""
    rows, standardize = data.rows, data.rows.standardize and not plain
    if criterion == "folds" and regime.name == "primal":
        return MomentFolds.of(views, splits, standardize)
    if criterion == "folds":
        return RowSource.of(views, splits, criterion, None, regime.inner, standardize)
    dual = {"primal": False, "dual": True}.get(
        regime.name, rows.n_rows < rows.n_penalized
    )
    inner = Regime("dual", None).inner
    return RowSource.of(views, splits, criterion, dual, inner, standardize)
