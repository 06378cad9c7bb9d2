"""Strengths that minimize a criterion as it is, or with one hyperpenalty."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.parallel import Parallel, delayed

from skbilevel._typing import Array
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import PreparedData
from skbilevel.linear_model._options import Tuned, TuningOptions
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._outer_space import (
    FoldMetadata,
    OuterSpace,
    check_alpha_bounds,
    check_alpha_init,
    check_hyperpenalty,
    variance_limits,
)
from skbilevel.model_selection._regime import Regime, choose
from skbilevel.model_selection._resampling import Pair, fold_labels
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._search import Found, Search
from skbilevel.solvers import IterInfo, Status

# A closed form needs a matrix of this size at most to be factored.
_CLOSED_UP_TO = 6000


def tune_criterion(
    data: PreparedData, resampling: Resampling, options: TuningOptions
) -> Tuned:
    """Tune the criterion that ``cv`` names."""
    family, value = check_hyperpenalty(options.hyperpenalty)
    limits = check_alpha_bounds(options.alpha_bounds)
    rows, metadata = data.rows, None
    alpha = check_alpha_init(options.alpha_init, rows.penalized, rows.X.shape[1])
    splits = _splits(data, resampling, options.seed)
    if options.metadata is not None:
        if options.groups is not None:
            raise ValueError(
                "feature_metadata and feature_groups cannot be given together; write "
                "the labels as columns of feature_metadata."
            )
        metadata = FoldMetadata.of(
            options.metadata, rows, data.y_scale, data.positive, splits
        )
    regime = _regime(data, resampling.criterion, len(splits), options)
    source = _source(data, resampling.criterion, splits, regime, metadata is not None)
    low, high = variance_limits(limits, source.trace, source.metric)
    members = None if options.groups is None else options.groups.members
    space = OuterSpace(rows.n_penalized, members, metadata, low, high, family, value)
    unit = 2.0 * data.y_scale**2 / rows.n_targets
    search = Search(
        regime, options.tol, options.max_iter, _printer(options, unit), _mapper(options)
    )
    v_init = None if alpha is None else 1.0 / (alpha * source.metric**2)
    found = search.run(source, space, v_init)
    _warn(found, unit)
    return _report(data, source, splits, found, (family, value), unit)


def _splits(data: PreparedData, resampling: Resampling, seed: int) -> list[Pair]:
    """Splits into rows of positive weight; none for a closed form."""
    positive = data.positive
    if len(positive) < 2:
        raise ValueError("At least 2 rows of positive weight are needed.")
    if resampling.criterion != "folds":
        if resampling.groups is not None:
            raise ValueError(
                f"cv={resampling.criterion!r} leaves out single rows and cannot keep "
                "groups together; give a number of folds or a splitter."
            )
        return []
    if resampling.splits is None:
        n_folds = min(resampling.n_folds, len(positive))
        label = fold_labels(len(positive), n_folds, np.random.default_rng(seed))
        return [(positive[label != k], positive[label == k]) for k in range(n_folds)]
    mask = np.zeros(data.rows.n_rows, dtype=bool)
    mask[positive] = True
    pairs = [(_index(a, mask), _index(b, mask)) for a, b in resampling.splits]
    pairs = [(a, b) for a, b in pairs if len(a) and len(b)]
    if not pairs:
        raise ValueError(
            "cv gives no split with training and validation rows of positive "
            "weight; check cv and sample_weight."
        )
    return pairs


def _index(rows: Array, positive: Array) -> Array:
    """Indices, from indices or a mask, of rows that have a weight."""
    rows = np.asarray(rows)
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    return rows[positive[rows]]


def _regime(
    data: PreparedData, criterion: str, n_folds: int, options: TuningOptions
) -> Regime:
    n, p = len(data.positive), data.rows.n_penalized
    regime = choose(options.solver, n, p, sparse.issparse(data.rows.X), n_folds)
    if criterion != "folds" and min(n, p) > _CLOSED_UP_TO:
        raise ValueError(
            f"cv={criterion!r} factors a matrix of {min(n, p)} columns, which is too "
            "large; give a number of folds."
        )
    return regime


def _source(
    data: PreparedData,
    criterion: str,
    splits: list[Pair],
    regime: Regime,
    plain: bool,
) -> MomentFolds | RowSource:
    """The form of the data that suits; metadata speak of columns as they are."""
    rows, standardize = data.rows, data.rows.standardize and not plain
    if criterion == "folds" and regime.name == "primal":
        return MomentFolds.of(rows, data.positive, splits, standardize)
    if criterion == "folds":
        return RowSource.of(rows, splits, criterion, None, regime.inner, standardize)
    dual = {"primal": False, "dual": True}.get(
        regime.name, len(data.positive) < rows.n_penalized
    )
    inner = Regime("dual", None).inner
    return RowSource.of(rows, splits, criterion, dual, inner, standardize)


def _printer(options: TuningOptions, unit: float) -> Any:
    """One printed line per outer iteration."""
    if not options.verbose:
        return None

    def line(info: IterInfo) -> None:
        print(
            f"[skbilevel] iteration {info.n_iter}: validation MSE "
            f"{info.value * unit:.6g}, projected gradient {info.grad_norm * unit:.2e}"
        )

    return line


def _mapper(options: TuningOptions) -> Any:
    if effective_n_jobs(options.n_jobs) == 1:
        return map
    pool = Parallel(n_jobs=options.n_jobs, prefer="threads")
    return lambda fun, items: pool(delayed(fun)(item) for item in items)


def _warn(found: Found, unit: float) -> None:
    if found.status in (Status.MAX_ITER, Status.LINE_SEARCH, Status.INNER):
        warnings.warn(
            f"{found.status.value} Reached a validation MSE of {found.loss * unit:.6g} "
            f"in {found.n_iter} outer iterations.",
            ConvergenceWarning,
            stacklevel=6,
        )


def _report(
    data: PreparedData,
    source: MomentFolds | RowSource,
    splits: list[Pair],
    found: Found,
    chosen: tuple[str, float],
    unit: float,
) -> Tuned:
    v = found.v * source.metric**2
    with np.errstate(divide="ignore"):
        alpha = 1.0 / v
    score = -found.loss * unit
    hyperpenalty = {
        "family": np.array([chosen[0]]),
        "value": np.array([chosen[1]]),
        "score": np.array([score]),
        "standard_error": np.array([np.nan]),
        "kept": np.array([True]),
        "weight": np.ones(1),
        "alpha": alpha[None],
    }
    history = {
        "value": found.history["value"] * unit,
        "grad_norm": found.history["grad_norm"] * unit,
        "tol": found.history["tol"],
    }
    coefs = source.fold_coefficients(found.v)
    folds = [(b, coef) for (_, b), coef in zip(splits, coefs, strict=False)]
    left_out = None
    if isinstance(source, RowSource) and not splits:

        def left_out() -> Array:
            inside = source.left_out_predictions(found.v) + data.rows.y_shift
            return inside * data.y_scale

    return Tuned(
        v,
        source.coefficients(found.v),
        score,
        found.n_iter,
        history,
        hyperpenalty,
        folds,
        found.edge,
        left_out,
    )
