"""The elastic-net path of a training set, rewritten as strengths.

With ``l1 = n a ratio`` and ``l2 = n a (1 - ratio)`` the elastic net minimizes
``0.5 |y - X W|^2 + l1 sum_j |W_j| + 0.5 l2 |W|^2`` (``|W_j|`` is the norm over
targets). Its stationarity condition is that of ridge at

    v_j = 1 / (l1 / |W_j| + l2),    v_j = 0 where W_j = 0.

Coordinate descent asks a `LeastSquaresOracle`: of a Gram matrix, of kernel rows, or of
rows that are known through products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import unwrap
from typing import Any, Protocol

import numpy as np
from scipy import sparse
from sklearn.linear_model import enet_path

from skbilevel._records import record
from skbilevel._threads import quiet_descent
from skbilevel._typing import Array
from skbilevel.problems import (
    Centered,
    Design,
    RowsDataFit,
    SparseDesign,
    Sweep,
)
from skbilevel.problems._design import BLOCK_BYTES
from skbilevel.problems._kernel import KernelSet

# Up to this many columns one call on the whole Gram matrix beats working sets.
DIRECT_UP_TO = 120
# Columns that a working set starts with, and how often it may grow at one penalty.
_FIRST, _ROUNDS = 20, 20
# Descent goes round the columns in order, and would draw a seed from the global
# generator all the same. To seed one takes as long as a small descent.
_UNUSED = np.random.RandomState(0)
# Without its check of parameters, which takes as long as a small descent, too.
_descent_path = unwrap(enet_path)


class LeastSquaresOracle(Protocol):
    """What coordinate descent has to know of a training set."""

    @property
    def yy(self) -> float:
        """Sum of squares of the target."""

    @property
    def weight(self) -> float:
        """Sum of the row weights."""

    @property
    def cross(self) -> Array:
        """``X^T y`` of shape (p, t)."""

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some columns."""

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns, with W given on ``active``."""

    def rows_of(self, active: Array, few: bool = False) -> tuple[Array, Array] | None:
        """Some columns of the rows, and targets, or None where rows are not at hand.

        None as well, with ``few``, where rows are more than these columns.
        """


@record
class GramOracle:
    """A training set whose Gram matrix is formed.

    ``rows``, if given, makes some columns of the swept, root-weighted rows, of which
    there are ``n_rows``, and targets.
    """

    gram: Array
    cross: Array
    yy: float
    weight: float
    rows: Callable[[Array], tuple[Array, Array]] | None = None
    n_rows: int = 0

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some columns, not to be written to."""
        if len(active) == len(self.gram) and (np.diff(active) > 0).all():
            return self.gram
        return self.gram[np.ix_(active, active)]

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns."""
        return np.asarray(self.cross - self.gram[active].T @ w)

    def rows_of(self, active: Array, few: bool = False) -> tuple[Array, Array] | None:
        """Some columns of the rows, and targets, or None where moments are all."""
        if self.rows is None or (few and self.n_rows > len(active)):
            return None
        return self.rows(active)


@dataclass(frozen=True)
class Descent:
    """How coordinate descent is run.

    Parameters
    ----------
    limit : int or None
        Where more columns would enter, the path stays at the point before.
    unit : float or None
        The share of the L1 norm holds for targets of which this is one, by default
        their standard deviation: the path does not depend on how they are measured.
    tol, max_iter : float, int
        Of scikit-learn's coordinate descent.
    """

    limit: int | None = None
    unit: float | None = None
    tol: float = 1e-4
    max_iter: int = 1000


# For working responses: one is their unit, and every point is solved again anyway.
ROUGH_DESCENT = Descent(unit=1.0, tol=1e-3, max_iter=200)


def relative_grid(weight: float, n_columns: int, n_points: int = 5) -> Array:
    """Strengths relative to the smallest that removes every feature.

    They stand in the middle of ``n_points`` equal parts of the logarithmic range.
    """
    low = -2.5 if n_columns >= weight else -3.0
    return np.logspace(-0.1, low, 4 * n_points)[2::4]


def elastic_net_strengths(
    oracle: LeastSquaresOracle,
    grid: Array,
    ratio: float,
    descent: Descent | None = None,
    size: float = 1.0,
) -> tuple[Array, Array]:
    """Variances (c, p) and coefficients (c, p, t) along a path of c points.

    ``grid`` is relative to ``max_j |x_j^T y| / ratio`` of this training set, so that
    a point means the same in every set and no set depends on another's rows. ``ratio``
    holds for columns divided by ``size``, and for targets in units of their own.
    """
    descent = descent or Descent()
    top = np.sqrt((oracle.cross**2).sum(axis=1)).max(initial=0.0)
    p, t = oracle.cross.shape
    if not top > 0:
        return np.zeros((len(grid), p)), np.zeros((len(grid), p, t))
    unit = descent.unit
    if unit is None:
        unit = float(np.sqrt(oracle.yy / (t * oracle.weight)))
    ratio = ratio / (ratio + (1.0 - ratio) * size / unit)
    penalties = top / ratio * grid
    # The candidates are scored anyway; the user has no parameter to act on.
    with quiet_descent():
        if p <= DIRECT_UP_TO:
            everything = np.arange(p)
            coefs = descend(oracle, everything, penalties, ratio, None, descent)
        else:
            coefs, penalties = _working_sets(oracle, penalties, ratio, descent)
    v = np.zeros((len(coefs), p))
    point, column = np.nonzero(coefs.any(axis=-1))
    norm = np.sqrt((coefs[point, column] ** 2).sum(axis=-1))
    v[point, column] = 1.0 / (penalties[point] * (ratio / norm + 1.0 - ratio))
    return v, coefs


def _working_sets(
    oracle: LeastSquaresOracle, penalties: Array, ratio: float, descent: Descent
) -> tuple[Array, Array]:
    """The path by working sets: descend on few columns, check all, add the worst.

    Returns coefficients (c, p, t) and the penalties that they belong to.
    """
    p, t = oracle.cross.shape
    coefs = np.zeros((len(penalties), p, t))
    w, gradient = coefs[0], oracle.cross
    for k, penalty in enumerate(penalties):
        active = np.flatnonzero(w.any(axis=1))
        for round_ in range(_ROUNDS):
            missed = violators(gradient, active, penalty * ratio)
            active = np.union1d(active, missed)
            if not active.size or (round_ and not missed.size):
                break
            if descent.limit is not None and len(active) > descent.limit:
                coefs[k:] = coefs[k - 1] if k else 0.0
                penalties[k:] = penalties[max(k - 1, 0)]
                return coefs, penalties
            start = w[active]
            w, one = coefs[k], np.array([penalty])
            w[:] = 0.0
            w[active] = descend(oracle, active, one, ratio, start, descent)[0]
            gradient = oracle.gradient(active, w[active])
        coefs[k] = w
    return coefs, penalties


def violators(
    gradient: Array, active: Array, l1: Array | float, slack: float = 1e-3
) -> Array:
    """The columns outside the working set that most want to enter it."""
    size = np.sqrt((gradient**2).sum(axis=1)) / l1
    size[active] = 0.0
    missed = np.flatnonzero(size > 1.0 + slack)
    room = max(_FIRST, 2 * len(active))
    return np.asarray(missed[np.argsort(-size[missed], kind="stable")[:room]])


def descend(
    oracle: LeastSquaresOracle,
    active: Array,
    penalties: Array,
    ratio: float,
    start: Array | None,
    descent: Descent,
) -> Array:
    """Coordinate descent on some columns, all penalties; (c, len(active), t)."""
    options: dict[str, Any] = {
        "l1_ratio": ratio,
        "tol": descent.tol,
        "max_iter": descent.max_iter,
        "random_state": _UNUSED,
    }
    cross = oracle.cross[active]
    if cross.shape[1] > 1:
        rows, targets = _as_rows(oracle, active)
        _, coefs, _ = _descent_path(
            rows,
            targets,
            alphas=penalties / len(rows),
            coef_init=None if start is None else np.asfortranarray(start.T),
            **options,
        )
        return np.asarray(np.moveaxis(coefs, 2, 0).swapaxes(1, 2))
    # One dummy row with the norm of y: with a Gram matrix given, the rows only
    # set the scale of the penalty and of the tolerance.
    _, coefs, _ = _descent_path(
        np.zeros((1, len(active)), order="F"),
        np.array([np.sqrt(oracle.yy)]),
        alphas=penalties,
        precompute=np.ascontiguousarray(oracle.sub_gram(active)),
        Xy=np.ascontiguousarray(cross[:, 0]),
        coef_init=None if start is None else np.ascontiguousarray(start[:, 0]),
        check_input=False,
        **options,
    )
    return np.asarray(coefs.T[:, :, None])


def _as_rows(oracle: LeastSquaresOracle, active: Array) -> tuple[Array, Array]:
    """Few rows and targets with the moments of all, since scikit-learn wants rows."""
    given = oracle.rows_of(active, few=True)
    if given is not None:
        return np.asfortranarray(given[0]), np.asfortranarray(given[1])
    lam, Q = np.linalg.eigh(oracle.sub_gram(active))
    keep = lam > 1e-12 * lam.max()
    root, Q = np.sqrt(lam[keep]), Q[:, keep]
    targets = (Q.T @ oracle.cross[active]) / root[:, None]
    return np.asfortranarray(root[:, None] * Q.T), np.asfortranarray(targets)


class RowsOracle:
    """`LeastSquaresOracle` of a data fit; ``index`` are its penalized columns."""

    def __init__(self, fit: RowsDataFit, index: Array) -> None:
        self._fit, self._index = fit, index
        self.yy = float((fit.weight[:, None] * fit.target**2).sum())
        self.weight = float(fit.weight_sum)
        none = np.empty(0, dtype=int)
        self.cross = self.gradient(none, np.empty((0, fit.n_targets)))

    def rows_of(self, active: Array, few: bool = False) -> tuple[Array, Array] | None:
        """None: rows are never gathered."""
        return None

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some swept columns; the columns are never gathered dense."""
        fit = self._fit
        columns = self._index[active]
        gram = _weighted_gram(fit.design, columns, fit.weight)
        if fit.sweep is None:
            return gram
        # Sweeping takes out what the unpenalized columns explain of each product.
        E = fit.sweep.free
        moment = E.T @ (fit.weight[:, None] * E)
        on_free = fit.free_map[:, columns].T
        return np.asarray(gram - on_free @ moment @ on_free.T)

    def gradient(self, active: Array, w: Array) -> Array:
        """``X^T (y - X W)`` for all columns."""
        full = np.zeros((self._fit.n_features, w.shape[1]))
        full[self._index[active]] = w
        return -self._fit.at(full).grad[self._index]


class KernelOracle(RowsOracle):
    """The same for some of the rows, of which columns may be gathered."""

    def __init__(self, train: KernelSet) -> None:
        rows, index = train.rows, train.index
        weight, ones = np.zeros(rows.rows.n_rows), np.ones(len(rows.metric))
        weight[index] = rows.rows.weight[index]
        design = Centered(rows.kernels.design, 0.0 * ones, ones / rows.metric)
        sweep = Sweep.of(rows.free, weight) if rows.rows.n_free else None
        super().__init__(
            RowsDataFit(design, rows.y, weight, sweep), np.arange(len(ones))
        )
        self._train = train
        # Columns that were asked for, and their Gram matrix: paths ask for them again.
        self._known, self._gram = np.empty(0, dtype=int), np.empty((0, 0))
        self._place = np.full(len(ones), -1)

    def sub_gram(self, active: Array) -> Array:
        """Gram matrix of some columns."""
        new, m = active[self._place[active] < 0], len(self._known)
        if new.size:
            self._known = np.concatenate([self._known, new])
            self._place[new] = np.arange(m, len(self._known))
            if sparse.issparse(self._train.rows.X):
                self._gram = super().sub_gram(self._known)
            else:
                block = self._train.swept(self._train.rows.columns(self._known))
                below = block[:, m:].T @ block
                above = np.concatenate([self._gram, below[:, :m].T], axis=1)
                self._gram = np.concatenate([above, below])
        return self._gram[np.ix_(self._place[active], self._place[active])]

    def rows_of(self, active: Array, few: bool = False) -> tuple[Array, Array] | None:
        """Some columns of the rows, and targets, swept and root-weighted."""
        if few and len(self._train.index) > len(active):
            return None
        return self._train.swept(self._train.rows.columns(active)), self._train.y


def _weighted_gram(design: Design, columns: Array, weight: Array) -> Array:
    """``X_a^T S X_a`` of some columns."""
    if isinstance(design, Centered):
        scale = design.scale[columns]
        gram = _weighted_gram(design.base, columns, weight)
        mean = design.mean[columns]
        if mean.any():
            total = design.base.column_sums(weight)[columns]
            cross = np.outer(total, mean)
            gram = gram - cross - cross.T + weight.sum() * np.outer(mean, mean)
        return np.asarray(gram / np.outer(scale, scale))
    if isinstance(design, SparseDesign):
        block = design.X[:, columns]
        block.data *= np.sqrt(weight)[block.indices]
        return np.asarray((block.T @ block).toarray())
    gram = np.zeros((len(columns), len(columns)))
    step = max(1, BLOCK_BYTES // (8 * max(design.shape[1], 1)))
    rows = np.flatnonzero(weight)
    for start in range(0, len(rows), step):
        index = rows[start : start + step]
        block = np.asarray(design.take_rows(index)[:, columns], dtype=np.float64)
        gram += block.T @ (weight[index, None] * block)
    return gram
