"""The elastic net with a strength for every column: single solutions, and paths.

Coordinate descent finds active columns and signs. Points of a path, which are compared
with each other, stay as it leaves them. For a single solution a linear system then
gives the coefficients to rounding (`ActiveSet`), so that derivatives can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skbilevel._threads import quiet_descent
from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    Descent,
    GramOracle,
    LeastSquaresOracle,
    descend,
    violators,
)
from skbilevel.problems._active_set import ActiveSet, Moments, system
from skbilevel.problems._penalties import ElasticNet

# Up to this many columns descent goes round all of them: a Gram matrix of 2 MB stays
# in the cache of a core. Of more columns it goes round a working set.
_WHOLE = 500
# Points of a path that are made at once: five, and more where columns are few, so that
# a call of coordinate descent takes longer than its overhead.
_AT_ONCE, _CELLS = 5, 300
# Points of a path, which are compared with each other.
_ON_PATH = Descent(tol=1e-6)
# Single solutions, until signs are those of the minimizer.
_ROUGH, _CLOSER = Descent(tol=1e-4), (Descent(tol=1e-8), Descent(tol=1e-13))
# How often columns may be added to the working set of a single solution.
_ROUNDS = 100
# A column enters where its gradient exceeds its strength by more than rounding.
_SLACK = 1e-9


def solve_net(
    oracle: LeastSquaresOracle, penalty: ElasticNet, start: ActiveSet | None = None
) -> ActiveSet:
    """The minimizer at one penalty; ``start`` is that of another one nearby."""
    w, one = np.zeros(len(penalty.l1)), np.ones(1)
    if start is not None:
        kept = np.isfinite(penalty.l1[start.index])
        w[start.index[kept]] = start.w[kept]
    index = _working_set(penalty, w)
    for _ in range(_ROUNDS):
        index, moments, W = _points(oracle, penalty, one, index, w, _ROUGH)
        found = _polished(moments, index, W[0], penalty.of(index))
        if len(index) == len(w):
            break
        gradient = oracle.gradient(found.index, found.w[:, None])
        missed = violators(gradient, found.index, penalty.l1, _SLACK)
        if not missed.size:
            break
        index, w = np.union1d(index, missed), np.zeros(len(w))
        w[found.index] = found.w
    return found


def net_path(
    oracle: LeastSquaresOracle, unit: ElasticNet, alphas: Array
) -> Iterator[tuple[Array, Array, Array]]:
    """Columns (k,), coefficients (c, k) and the sums of squares (c,) that they leave.

    They are those at falling multiples of one penalty, c of them at once, which are
    made when they are asked for.
    """
    share = _l2_share(unit)
    even = np.ptp(share) <= 1e-12 * share.max() if len(share) else True
    step = _AT_ONCE + _CELLS // max(len(share), 1) if even else 1
    w = np.zeros(len(share))
    for k in range(0, len(alphas), step):
        some, index = alphas[k : k + step], _working_set(unit, w)
        if len(index) < len(w) and step > 1:
            # The last point has nearly all columns that the others have.
            index, *_ = _points(oracle, unit, some[-1:], index, w, _ROUGH)
        index, moments, W = _points(oracle, unit, some, index, w, _ON_PATH)
        # The residual is orthogonal to the fit but for the slope of the penalty.
        pull = moments.cross + some[:, None] * unit.of(index).slope(W)
        yield index, W, oracle.yy - (W * pull).sum(axis=1)
        w = np.zeros(len(w))
        w[index] = W[-1]


def _working_set(penalty: ElasticNet, w: Array) -> Array:
    """The columns that descent from ``w`` (p,) begins with."""
    few = len(w) <= _WHOLE
    return np.flatnonzero(np.isfinite(penalty.l1) if few else w)


def _points(
    oracle: LeastSquaresOracle,
    unit: ElasticNet,
    alphas: Array,
    index: Array,
    w: Array,
    descent: Descent,
) -> tuple[Array, Moments, Array]:
    """Columns (k,), their moments, and coefficients (c, k) at multiples of a penalty.

    Parameters
    ----------
    index : ndarray of int
        Columns to begin with, increasing.
    w : ndarray of shape (p,)
        Coefficients nearby, zero for all other columns.
    """
    while True:
        moments = Moments(oracle.sub_gram(index), oracle.cross[index, 0], oracle.yy)
        W = _descended(moments, unit.of(index), alphas, w[index], descent)
        if len(index) == len(w):
            return index, moments, W
        size = abs(oracle.gradient(index, W.T)) / alphas
        missed = violators(size.max(axis=1, keepdims=True), index, unit.l1)
        if not missed.size:
            return index, moments, W
        w = np.zeros(len(w))
        w[index] = W[0]
        index = np.union1d(index, missed)


def _polished(
    moments: Moments, index: Array, w: Array, penalty: ElasticNet
) -> ActiveSet:
    """The minimizer on some columns, to rounding, from coefficients close to it."""
    for descent in (None, *_CLOSER):
        if descent is not None:
            w = _descended(moments, penalty, np.ones(1), w, descent)[0]
        found = _exact(index, w, moments, penalty)
        if found is not None:
            return found
    # Columns that are copies of each other: which of them are active is rounding.
    keep = np.flatnonzero(w)
    made = ActiveSet.with_signs(
        index[keep], np.sign(w[keep]), moments.of(keep), penalty.of(keep)
    )
    return ActiveSet(made.index, w[keep], made.factor, made.penalty)


def _exact(
    index: Array, w: Array, moments: Moments, penalty: ElasticNet
) -> ActiveSet | None:
    """The solution with the signs of ``w``, if it is the minimizer on its columns."""
    keep, rest = np.flatnonzero(w), np.flatnonzero(w == 0)
    sign = np.sign(w[keep])
    found = ActiveSet.with_signs(index[keep], sign, moments.of(keep), penalty.of(keep))
    if (np.sign(found.w) != sign).any():
        return None
    gradient = moments.cross[rest] - moments.gram[np.ix_(rest, keep)] @ found.w
    outside = abs(gradient) > penalty.l1[rest] * (1.0 + _SLACK)
    return None if outside.any() else found


def _l2_share(penalty: ElasticNet) -> Array:
    """The L2 part over the L1 part, for ``u = l1 w``."""
    return np.asarray(1.0 / (penalty.v * penalty.l1**2))


def _descended(
    moments: Moments, unit: ElasticNet, alphas: Array, w: Array, descent: Descent
) -> Array:
    """Coordinate descent in ``u = l1 w``, which has one strength of the L1 norm.

    Coefficients (c, k); for several alphas the L2 part is to be a multiple of it, too.
    """
    if not len(w):
        return np.zeros((len(alphas), 0))
    scale, l2 = unit.l1, 0.0
    if len(alphas) > 1:
        gram, l2 = moments.gram / scale, float(_l2_share(unit).max())
    else:
        gram = system(moments.gram, unit.times(alphas))
        gram /= scale
    gram /= scale[:, None]
    whole = GramOracle(gram, (moments.cross / scale)[:, None], moments.yy, 1.0)
    start, everything = (w * scale)[:, None], np.arange(len(w))
    strengths, ratio = alphas * (1.0 + l2), 1.0 / (1.0 + l2)
    with quiet_descent():
        found = descend(whole, everything, strengths, ratio, start, descent)
    return np.asarray(found[:, :, 0] / scale)
