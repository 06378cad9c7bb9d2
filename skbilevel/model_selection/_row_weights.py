"""Which weights of rows: bases, candidates along a path, and a guard that judges them.

Many weights overfit few trusted rows. Three things keep them from it. The weights are a
combination of a few columns where they can be: labels of rows, or the *agreement* of a
row with the others, a piecewise linear function of the rank of its loss under a model
that has not seen it. A hyperpenalty makes them equal, on a path of factors. And trusted
rows that had no part in learning judge every point of the path. Equal weights stay
unless a gain over them is sure, which is positive after ``_CAUTION`` standard errors
are taken off; among such points the best is taken, after ``_CHOICE`` standard errors.

A few dozen rows do not show how bad a wrong prediction of high probability can be:
weights that sharpen all predictions look better on every one of them. So classes are
judged twice, and the lower gain counts: as they are, and with one error more than was
seen, spread over all rows (Laplace's rule of succession).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems import Design, Loss, RowsDataFit
from skbilevel.problems._weighted_rows import (
    EqualWeights,
    TrustedRows,
    WeightedRows,
    row_weights_problem,
)
from skbilevel.solvers import (
    LBFGSB,
    ConjugateGradient,
    DirectSolve,
    DoubleLoop,
    ImplicitGradient,
    Newton,
    minimize_bilevel,
)

# Factors of the hyperpenalty, from nearly equal weights to free ones.
FACTORS = (1.0, 0.2, 0.05, 0.01, 0.002)
# Price of another strength beside that of unequal weights, and how far it may go.
_DRIFT, _FARTHEST = 0.1, 1e3
# Mean loss of targets of unit variance that counts as noise at least.
_LEAST_NOISE = 1e-8
# No combination of columns changes a weight by more than this factor.
_SPREAD = 30.0
# Standard errors by which a gain over equal weights has to be positive.
_CAUTION = 2.0
# The same among points whose gain is positive by that.
_CHOICE = 0.5
# Points of the path behind the surest one before it is left.
_PATIENCE = 2
# Ranks at which the function of the loss has a value of its own.
_KNOTS = 5
# Each round orders the rows by a model with the weights of the one before.
_ROUNDS = 2
_TOL, _MAX_ITER, _ACCURACY = 1e-4, 40, 1e-9
# A mean loss of trusted rows from which nothing can be gained.
_NOTHING_LEFT = 1e-4
# Strengths of the first look, in units of the columns' mean variance.
_STRENGTHS = 10.0 ** np.arange(1.0, -8.5, -0.5)

Split = tuple[Array, Array]


@record
class TrustedTasks:
    """Rows, and which of them are trusted where.

    Parameters
    ----------
    design : Design
        All rows; ``n_free`` unpenalized columns in front.
    y : ndarray of shape (n, t)
        Targets, or indicators of classes.
    weight : ndarray of shape (n,)
        Prior weights: numbers of rows.
    loss : Loss
        Inside and outside.
    splits : list of (train, trusted)
        One for a mask; those of a splitter.
    folds : list of (train, valid)
        Folds of the training rows, each in one ``valid``: they order rows by losses of
        models that have not seen them.
    parts : list of ndarray
        Parts of the trusted rows, each judged by what was learned from the others. With
        several splits their trusted rows are the parts.
    n_free : int
        Number of unpenalized columns.
    """

    design: Design
    y: Array
    weight: Array
    loss: Loss
    splits: list[Split]
    folds: list[Split]
    parts: list[Array]
    n_free: int

    def fit_of(self, rows: Array, factors: Array | float = 1.0) -> RowsDataFit:
        """The loss of some rows."""
        weight = np.zeros(len(self.weight))
        weight[rows] = (self.weight * factors)[rows]
        return RowsDataFit(self.design, self.y, weight, None, self.loss)

    @cached_property
    def weighted(self) -> Array:
        """Rows that get weights: those that are a training row anywhere."""
        return np.unique(np.concatenate([train for train, _ in self.splits]))

    @cached_property
    def train(self) -> list[RowsDataFit]:
        """Training rows of every split."""
        return [self.fit_of(train) for train, _ in self.splits]

    def judged(self) -> list[tuple[list[int], list[Array], int, Array]]:
        """Splits and trusted rows to learn from, a split and rows to judge by."""
        if len(self.splits) == 1:
            trusted = self.splits[0][1]
            rest = [np.setdiff1d(trusted, part) for part in self.parts]
            pairs = zip(rest, self.parts, strict=True)
            return [([0], [learn], 0, part) for learn, part in pairs]
        out = []
        for k, (_, trusted) in enumerate(self.splits):
            others = [j for j in range(len(self.splits)) if j != k]
            out.append((others, [self.splits[j][1] for j in others], k, trusted))
        return out


@record
class RowWeights:
    """What a search has found.

    Parameters
    ----------
    factors : ndarray of shape (n,)
        What prior weights are multiplied with: at most one, and one for rows that have
        no weight of their own.
    alpha : float
        Strength beside the mean of the loss over the weights.
    losses : ndarray of shape (n,)
        Loss of every row that got a weight, under a model that has not seen it; NaN for
        the others.
    theta : ndarray
        Logarithms of the strength and of the weights of the columns of the basis.
    path : dict of ndarray
        ``factor``, ``gain`` and ``sure_gain`` of the candidates of the last round.
    chosen : int
        Its place in the path; 0 are equal weights.
    """

    factors: Array
    alpha: float
    losses: Array
    theta: Array
    path: dict[str, Array]
    chosen: int


def learn_row_weights(tasks: TrustedTasks, basis: Any = None) -> RowWeights:
    """Search the weights of rows.

    Parameters
    ----------
    tasks : TrustedTasks
        The rows.
    basis : ndarray or sparse array of shape (n, g) or None
        Columns whose combination is the logarithm of the weights; None makes the
        agreement, once more with the weights of the first round.
    """
    log_alpha, losses = _first_look(tasks, np.log(strengths_of(tasks)))
    tasks = _in_units_of_noise(tasks, losses)
    sure = -np.inf
    for _ in range(_ROUNDS if basis is None else 1):
        columns = agreement(tasks, losses) if basis is None else basis
        penalty = EqualWeights(0.0, _shares(tasks, columns), log_alpha, _DRIFT)
        judged = _judged_path(tasks, columns, penalty)
        place = surest(judged)
        if judged[place].sure <= sure:
            break
        path, chosen, sure = judged, place, judged[place].sure
        theta = next(islice(_walk(tasks, None, columns, penalty), chosen, None))
        factors = _factors(tasks, columns, theta)
        losses = cross_fitted(tasks, factors, theta[0])[0]
        if chosen == 0:
            break
    table = {
        "factor": np.array([np.inf, *FACTORS])[: len(path)],
        "gain": np.array([point.gain for point in path]),
        "sure_gain": np.array([point.sure for point in path]),
    }
    alpha = float(np.exp(theta[0]))
    return RowWeights(factors, alpha, losses, theta, table, chosen)


def strengths_of(tasks: TrustedTasks) -> Array:
    """Strengths of a first look, falling."""
    unit = float(tasks.design.column_squares(tasks.weight)[tasks.n_free :].mean())
    return _STRENGTHS * (unit / float(tasks.weight.sum()) or 1.0)


def agreement(tasks: TrustedTasks, losses: Array) -> Array:
    """Hat functions of the rank of a row's loss, (n, _KNOTS); zero for other rows.

    Ranks count weights, and rows of the same loss have the same.
    """
    rows = tasks.weighted
    values, place = np.unique(losses[rows], return_inverse=True)
    mass = np.bincount(place, tasks.weight[rows], len(values))
    rank = ((np.cumsum(mass) - 0.5 * mass) / mass.sum())[place]
    knots = np.linspace(0.0, 1.0, _KNOTS)
    columns = np.zeros((len(losses), _KNOTS))
    for k, unit in enumerate(np.eye(_KNOTS)):
        columns[rows, k] = np.interp(rank, knots, unit)
    return columns


def indicators(codes: Array) -> sparse.csr_array:
    """One column per label; rows of a negative code have no weight of their own."""
    rows = np.flatnonzero(codes >= 0)
    shape = (len(codes), int(codes.max()) + 1)
    return sparse.csr_array((np.ones(len(rows)), (rows, codes[rows])), shape=shape)


def cross_fitted(
    tasks: TrustedTasks,
    factors: Array,
    log_alpha: float,
    start: Sequence[Array] | None = None,
) -> tuple[Array, list[Array]]:
    """Losses of training rows under models of the other folds, and these models."""
    losses, models = np.full(len(tasks.weight), np.nan), []
    for k, (train, valid) in enumerate(tasks.folds):
        fit = tasks.fit_of(train, factors)
        W = _model(tasks, fit, log_alpha, None if start is None else start[k])
        losses[valid] = _seen_and_feared(tasks, W, valid)[0]
        models.append(W)
    return losses, models


def _first_look(tasks: TrustedTasks, log_alphas: Array) -> tuple[float, Array]:
    """The strength that serves equal weights best, and losses of rows there."""
    found, models = (float(log_alphas[0]), np.empty(0)), None
    best = np.inf
    worse, rows = 0, tasks.weighted
    for log_alpha in log_alphas:
        losses, models = cross_fitted(tasks, np.ones(()), log_alpha, models)
        value = float(tasks.weight[rows] @ losses[rows])
        worse = worse + 1 if value >= best else 0
        if worse == 0:
            best, found = value, (float(log_alpha), losses)
        if worse == 2:
            break
    return found


def _in_units_of_noise(tasks: TrustedTasks, losses: Array) -> TrustedTasks:
    """Targets of a squared loss in units in which a row's loss is a half.

    Factors of the hyperpenalty then mean the same as for a log likelihood.
    """
    if not tasks.loss.constant_curvature:
        return tasks
    rows = tasks.weighted
    mean = float(np.average(losses[rows], weights=tasks.weight[rows]))
    # Targets have unit variance: what a perfect model leaves of it is rounding.
    scale = np.sqrt(2.0 * max(mean, _LEAST_NOISE))
    return replace(tasks, y=tasks.y / scale)


def _model(
    tasks: TrustedTasks, fit: RowsDataFit, log_alpha: float, start: Array | None
) -> Array:
    """Coefficients of one weighted fit, flat."""
    inner = WeightedRows((fit,), np.zeros((len(tasks.weight), 0)), tasks.n_free)
    theta = np.array([log_alpha])
    start = np.zeros(inner.size) if start is None else start
    first = float(np.linalg.norm(inner.at(theta, np.zeros(inner.size)).grad))
    threshold, rng = _ACCURACY * first, np.random.default_rng(0)
    solver = Newton(max_iter=100)
    return solver.solve(inner, theta, start, threshold=threshold, rng=rng).w


def _shares(tasks: TrustedTasks, basis: Any) -> Array:
    """Shares of the weighted rows that each column has."""
    rows = tasks.weighted
    mass = np.asarray(basis[rows].T @ tasks.weight[rows])
    return np.asarray(mass / mass.sum())


def _factors(tasks: TrustedTasks, basis: Any, theta: Array) -> Array:
    """Factors of all rows; the largest is one, and so are those of trusted rows."""
    rows = tasks.weighted
    u = np.asarray(basis[rows] @ theta[1:])
    factors = np.ones(len(tasks.weight))
    factors[rows] = np.exp(u - u.max())
    return factors


def _walk(
    tasks: TrustedTasks,
    part: tuple[list[int], list[Array]] | None,
    basis: Any,
    penalty: EqualWeights,
) -> Iterator[Array]:
    """Outer variables at equal weights, and then along the factors, each from the last.

    ``part`` are splits and their trusted rows to learn from, None for all. A point is
    searched when it is asked for.
    """
    if part is None:
        part = list(range(len(tasks.splits))), [rows for _, rows in tasks.splits]
    trusted = [tasks.fit_of(rows) for rows in part[1]]
    problem = row_weights_problem(
        [tasks.train[k] for k in part[0]],
        trusted,
        basis,
        penalty,
        spread=_SPREAD,
        drift=_FARTHEST,
        n_free=tasks.n_free,
    )
    dense = "dense_hessian" in problem.inner.provides
    adjoint = ImplicitGradient(DirectSolve() if dense else ConjugateGradient())
    solver = DoubleLoop(Newton(), adjoint, LBFGSB(accuracy=(_ACCURACY, _ACCURACY)))
    yield problem.theta0
    for factor in FACTORS:
        outer = TrustedRows(tuple(trusted), replace(penalty, factor=factor))
        result = minimize_bilevel(
            replace(problem, outer=outer),
            solver,
            tol=_TOL,
            max_iter=_MAX_ITER,
            final_tol=None,
            on_iter=lambda info: info.value < _NOTHING_LEFT,
        )
        problem = replace(problem, theta0=result.theta)
        yield result.theta


@record
class Point:
    """A point of the path, and its gain over equal weights on trusted rows."""

    gain: float
    lowest: float
    error: float

    def less(self, errors: float) -> float:
        """The lowest gain, less a number of standard errors."""
        return self.lowest - errors * self.error

    @property
    def sure(self) -> float:
        """The gain that is positive where equal weights give way."""
        return self.less(_CAUTION)


def surest(path: Sequence[Point], errors: float = _CHOICE) -> int:
    """Place of the best point whose gain is sure; the first are equal weights."""
    likely = [point.less(errors) if point.sure > 0.0 else 0.0 for point in path]
    return int(np.argmax(likely))


def _judged_path(tasks: TrustedTasks, basis: Any, penalty: EqualWeights) -> list[Point]:
    """Gains of the points, as far as the path is worth going."""
    judged = tasks.judged()
    walks = [_walk(tasks, (a, b), basis, penalty) for a, b, _, _ in judged]
    rows = np.concatenate([part for *_, part in judged])
    starts: list[Array | None] = [None] * len(judged)
    equal: Array | None = None
    path: list[Point] = []
    for thetas in zip(*walks, strict=True):
        parts = []
        for k, (_, _, split, part) in enumerate(judged):
            factors = np.asarray(np.exp(basis @ thetas[k][1:]))
            train = tasks.train[split]
            fit = replace(train, weight=train.weight * factors)
            starts[k] = w = _model(tasks, fit, thetas[k][0], starts[k])
            parts.append(_seen_and_feared(tasks, w, part))
        losses = np.concatenate(parts, axis=1)
        equal = losses if equal is None else equal
        path.append(gain_of(tasks, equal - losses, tasks.weight[rows]))
        if len(path) - 1 - surest(path) > _PATIENCE:
            break
    return path


def gain_of(tasks: TrustedTasks, gains: Array, weight: Array) -> Point:
    """Mean and lowest gain from those of rows as they are and with other labels."""
    seen, feared = gains
    total = float(weight.sum())
    mean = float(weight @ seen) / total
    error = np.sqrt(float(weight @ (seen - mean) ** 2) / total / total)
    lowest = mean
    if not tasks.loss.constant_curvature:
        share = 1.0 / (total + 2.0)
        other = float(weight @ feared) / total
        lowest = min(mean, (1.0 - share) * mean + share * other)
    return Point(mean, lowest, float(error))


def _seen_and_feared(tasks: TrustedTasks, w: Array, rows: Array) -> Array:
    """Losses (2, m) of rows under a model, with their labels and with the others."""
    eta = tasks.design.matvec(w.reshape(tasks.design.shape[1], -1))[rows]
    y = tasks.y[rows]
    other = (1.0 - y) / max(1, y.shape[1] - 1)
    both = [tasks.loss.value(eta, each).sum(axis=1) for each in (y, other)]
    return np.array(both)
