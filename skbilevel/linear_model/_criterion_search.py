"""What searches on a criterion share: splits, start, limits, warnings, the report."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skbilevel._records import record
from skbilevel._threads import map_threads, n_threads
from skbilevel._typing import Array
from skbilevel._warn import warn_user
from skbilevel.linear_model._cv import Resampling
from skbilevel.linear_model._data import Prepared
from skbilevel.linear_model._options import (
    FoldModel,
    Tried,
    Tuned,
    TuningOptions,
    candidate_table,
)
from skbilevel.model_selection._criterion import Source
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._outer_space import (
    FoldMetadata,
    OuterSpace,
    check_alpha_bounds,
    check_hyperpenalty,
    variance_limits,
)
from skbilevel.model_selection._progress import MappedListener, Step
from skbilevel.model_selection._regime import Regime
from skbilevel.model_selection._resampling import (
    Pair,
    fold_labels,
    leave_one_unit_out,
)
from skbilevel.model_selection._row_views import RowViews
from skbilevel.model_selection._search import CriterionResult, Search
from skbilevel.problems._summed_rows import SummedRows
from skbilevel.solvers import Status
from skbilevel.solvers._shared import Visited

# Shared strengths nearer than this, in logarithms, are one.
_SAME = 1e-3
# Ends that a user can do something about.
_WARNED = (Status.MAX_ITER, Status.LINE_SEARCH, Status.INNER, Status.WORSE)


@record
class Unit:
    """What the loss is called, and the factor that gives it in the user's units."""

    name: str
    factor: float

    def of(self, loss: Any) -> Any:
        """Losses in the user's units; too large a one is infinite."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.where(loss == 0.0, 0.0, np.multiply(loss, self.factor))


def search_strengths(
    source: Source,
    regime: Regime,
    options: TuningOptions,
    metadata: FoldMetadata | None,
    unit: Unit,
    finish: Callable[[CriterionResult], Tuned],
) -> CriterionResult:
    """Search the strengths of a criterion from the best shared one, or a given start.

    Parameters
    ----------
    source : Source
        The criterion.
    regime : Regime
        Who solves.
    options : TuningOptions
        Everything else.
    metadata : FoldMetadata or None
        Metadata of the columns.
    unit : Unit
        For what is printed and warned of.
    finish : callable
        Makes a result of what was found so far, if anybody wants it.
    """
    rows = source.rows
    family, value = check_hyperpenalty(options.hyperpenalty)
    limits = check_alpha_bounds(options.alpha_bounds)
    t = options.n_own(rows.n_targets)
    box = variance_limits(limits, source.trace, source.metric)
    low, high = (np.repeat(each, t) for each in box)
    space = OuterSpace(
        rows.n_penalized,
        options.members(t),
        metadata,
        low,
        high,
        family,
        value,
        t,
    )
    listener = None
    if options.listener is not None:
        listener = MappedListener(options.listener, finish, partial(_words, unit))
    search = Search(
        regime,
        options.tol,
        options.max_iter,
        listener,
        _mapper(options),
        options.seed,
    )
    alpha, v_init = options.start(rows), None
    if alpha is not None:
        v_init = (1.0 / (alpha.T * source.metric**2)).T.reshape(-1)
    found = search.run(source, space, v_init)
    _warn(found, unit)
    return found


def check_limits(data: Prepared, options: TuningOptions) -> None:
    """Raise where the user's words about strengths make no sense."""
    check_hyperpenalty(options.hyperpenalty)
    check_alpha_bounds(options.alpha_bounds)
    options.start(data.rows)


def metadata_of(
    data: Prepared, options: TuningOptions, splits: list[Pair], views: RowViews
) -> FoldMetadata | None:
    """Metadata of the columns, in every fold where they depend on rows."""
    given = Metadata.given(options.metadata, views.full, data.y_scale)
    if given is None:
        return None
    if options.groups is not None:
        raise ValueError(
            "feature_metadata and feature_groups cannot be given together; write "
            "the labels as columns of feature_metadata."
        )
    return FoldMetadata.of(given, views, splits)


def splits_of(
    data: Prepared, resampling: Resampling, seed: int, strata: Array | None = None
) -> list[Pair]:
    """Splits of the rows; none for a closed form."""
    if isinstance(data.rows, SummedRows):
        if resampling.criterion != "folds":
            return []
        return leave_one_unit_out(np.arange(data.rows.n_rows), data.rows.fold)
    if resampling.criterion != "folds":
        reasons = (
            (resampling.features, "transformers make another X of every training set"),
            (resampling.groups, "groups stay together in folds alone"),
        )
        for given, reason in reasons:
            if given is not None:
                raise ValueError(
                    f"cv={resampling.criterion!r} judges all rows of one X, but "
                    f"{reason}; give a number of folds or a splitter."
                )
        return []
    if resampling.splits is None:
        n = data.rows.n_rows
        draw = np.random.default_rng(seed)
        label = fold_labels(n, min(resampling.n_folds, n), draw, strata)
        return leave_one_unit_out(np.arange(n), label)
    return resampling.splits


def check_closed_form(
    given: Any, factors: bool, cv: str, size: int, limit: int
) -> None:
    """Raise where a closed form has no matrix to factor, or one that is too large."""
    if not factors:
        raise ValueError(
            f"solver={given!r} does without factors of a matrix, and cv={cv!r} is made "
            "of them: choose solver='auto', or give cv a number of folds."
        )
    if size > limit:
        raise ValueError(
            f"cv={cv!r} factors a matrix of {size} columns, which is too large; give a "
            "number of folds."
        )


def _words(unit: Unit, step: Step) -> str:
    """One line for each step."""
    info = step.info
    if info is None:
        return "start: one strength, or what alpha_init says"
    return (
        f"iteration {info.n_iter}: {unit.name} {unit.of(info.value):.6g}, "
        f"projected gradient {unit.of(info.grad_norm):.2e}, {info.seconds:.2f} s"
    )


def _mapper(options: TuningOptions) -> Any:
    if n_threads(options.n_jobs) == 1:
        return map
    return lambda fun, items: map_threads(
        fun, ((item,) for item in items), options.n_jobs
    )


def _warn(found: CriterionResult, unit: Unit) -> None:
    if found.status in _WARNED:
        warn_user(
            f"{found.status.value} Reached a {unit.name} of "
            f"{unit.of(found.loss):.6g} in {found.n_iter} outer iterations.",
            ConvergenceWarning,
        )


def report(
    data: Prepared,
    source: Source,
    views: RowViews,
    splits: list[Pair],
    found: CriterionResult,
    options: TuningOptions,
    unit: Unit,
    left_out: Callable[[], Array] | None,
    brief: bool = False,
) -> Tuned:
    """All that is published, in the user's units; models of folds unless ``brief``."""
    p, m = data.rows.n_penalized, data.rows.n_free
    # Columns behind the last one were there for the folds.
    v = (found.v.T * source.metric**2).T[:p]
    with np.errstate(divide="ignore"):
        alpha = 1.0 / v
    family, value = check_hyperpenalty(options.hyperpenalty)
    score = -float(unit.of(found.loss))
    one = np.array([value]), np.array([score]), np.array([np.nan]), np.ones(1)
    history = {
        "value": unit.of(found.history["value"]),
        "grad_norm": unit.of(found.history["grad_norm"]),
        "tol": found.history["tol"],
        "seconds": found.history["seconds"],
    }

    def models_at(v: Array, states: tuple[Any, ...]) -> list[FoldModel]:
        coefs = source.fold_coefficients(v, states)
        return [
            FoldModel(b, coef, views.fold(k).rows)
            for k, ((_, b), coef) in enumerate(zip(splits, coefs, strict=False))
        ]

    shared = splits and options.one_strength
    return Tuned(
        v,
        source.coefficients(found.v, found.states)[: m + p],
        score,
        found.n_iter,
        history,
        candidate_table([family], *one, alpha[None]),
        [] if brief else models_at(found.v, found.states),
        found.edge,
        left_out,
        _tried(found, models_at) if shared and not brief else None,
    )


def _tried(
    found: CriterionResult,
    models_at: Callable[[Array, tuple[Any, ...]], list[FoldModel]],
) -> Tried | None:
    """The shared strengths that were evaluated, the chosen one among them."""
    if not found.v.size:
        return None
    chosen = float(found.v.flat[0])
    log_v = float(np.log(chosen)) if chosen > 0 else -np.inf
    best = Visited(log_v, found.loss, found.states)
    tried = [best]
    for each in found.trace:
        if all(abs(each.log_v - other.log_v) > _SAME for other in tried):
            tried.append(each)
    tried.sort(key=lambda each: each.log_v)
    v, place = np.exp([each.log_v for each in tried]), tried.index(best)
    v[place] = chosen

    def models(k: int) -> list[FoldModel]:
        return models_at(np.full_like(found.v, v[k]), tried[k].states)

    return Tried(v, place, models)
