"""The elastic net with a strength for every column: single solutions, and paths.

Coordinate descent finds active columns and signs; a linear system then gives the
coefficients to rounding (`ActiveSet`), so that derivatives can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skbilevel._threads import quiet_descent
from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    DIRECT_UP_TO,
    Descent,
    GramOracle,
    LeastSquaresOracle,
    descend,
    violators,
)
from skbilevel.problems._active_set import ActiveSet, Moments, system
from skbilevel.problems._penalties import ElasticNet

# Tolerances of coordinate descent, until its signs are those of the minimizer.
_TOLERANCES = (1e-4, 1e-8, 1e-13)
# Of the points of a path, which are compared and not differentiated.
_ON_PATH = Descent(tol=1e-6)
# How often columns may be added to the working set.
_ROUNDS = 100
# A column enters where its gradient exceeds its strength by more than rounding.
_SLACK = 1e-9


def solve_net(
    oracle: LeastSquaresOracle, penalty: ElasticNet, start: ActiveSet | None = None
) -> ActiveSet:
    """The minimizer at one penalty; ``start`` is that of another one nearby."""
    index, w = np.empty(0, dtype=int), np.empty(0)
    if start is not None:
        kept = np.isfinite(penalty.l1[start.index])
        index, w = start.index[kept], start.w[kept]
    for _ in range(_ROUNDS):
        found = _on_columns(oracle, index, w, penalty)
        gradient = oracle.gradient(found.index, found.w[:, None])
        missed = violators(gradient, found.index, penalty.l1, _SLACK)
        if not missed.size:
            break
        index = np.union1d(found.index, missed)
        w = np.zeros(len(index))
        w[np.searchsorted(index, found.index)] = found.w
    return found


def _on_columns(
    oracle: LeastSquaresOracle, index: Array, w: Array, penalty: ElasticNet
) -> ActiveSet:
    """The minimizer on some columns, from coefficients nearby."""
    moments = Moments(oracle.sub_gram(index), oracle.cross[index][:, 0], oracle.yy)
    own = penalty.of(index)
    if w.all():
        found = _exact(index, w, moments, own)
        if found is not None:
            return found
    for tol in _TOLERANCES:
        w = _descended(moments, own, w, tol)
        found = _exact(index, w, moments, own)
        if found is not None:
            return found
    # Columns that are copies of each other: which of them are active is rounding.
    keep = np.flatnonzero(w)
    made = ActiveSet.with_signs(
        index[keep], np.sign(w[keep]), moments.of(keep), own.of(keep)
    )
    return ActiveSet(made.index, w[keep], made.factor, made.penalty)


def _exact(
    index: Array, w: Array, moments: Moments, penalty: ElasticNet
) -> ActiveSet | None:
    """The solution with the signs of ``w``, if it is the minimizer on its columns."""
    keep = np.flatnonzero(w)
    sign = np.sign(w[keep])
    found = ActiveSet.with_signs(index[keep], sign, moments.of(keep), penalty.of(keep))
    if (np.sign(found.w) != sign).any():
        return None
    rest = np.setdiff1d(np.arange(len(index)), keep)
    if rest.size:
        gradient = moments.cross[rest] - moments.gram[np.ix_(rest, keep)] @ found.w
        if (abs(gradient) > penalty.l1[rest] * (1.0 + _SLACK)).any():
            return None
    return found


def _descended(moments: Moments, penalty: ElasticNet, w: Array, tol: float) -> Array:
    """Coordinate descent in ``u = l1 w``, which has one strength of the L1 norm."""
    scale = penalty.l1
    gram = system(moments.gram, penalty) / np.outer(scale, scale)
    whole = GramOracle(gram, (moments.cross / scale)[:, None], moments.yy, 1.0)
    start, everything = (w * scale)[:, None], np.arange(len(w))
    with quiet_descent():
        found = descend(whole, everything, np.ones(1), 1.0, start, Descent(tol=tol))
    return np.asarray(found[0, :, 0] / scale)


def net_path(
    oracle: LeastSquaresOracle, unit: ElasticNet, alphas: Array
) -> Iterator[tuple[Array, Array, float]]:
    """Columns (k,), coefficients (k,) and the sum of squares that they leave.

    They are those at falling multiples of one penalty. Points are made when they are
    asked for, but for few columns, where one call of coordinate descent in ``u = l1 w``
    makes them all.
    """
    scale = unit.l1
    # The L2 part of the penalty of u, over its L1 part.
    share = 1.0 / (unit.v * scale**2)
    even = np.ptp(share) <= 1e-12 * share.max() if len(share) else True
    if len(scale) > DIRECT_UP_TO or not even:
        found = None
        for alpha in alphas:
            found = solve_net(oracle, unit.times(np.full(len(scale), alpha)), found)
            # The residual is orthogonal to the fit but for the slope of the penalty.
            pull = oracle.cross[found.index, 0] + found.penalty.slope(found.w)
            yield found.index, found.w, float(oracle.yy - found.w @ pull)
        return
    everything, l2 = np.arange(len(scale)), float(share.max(initial=0.0))
    gram = oracle.sub_gram(everything) / np.outer(scale, scale)
    whole = GramOracle(gram, oracle.cross / scale[:, None], oracle.yy, 1.0)
    with quiet_descent():
        coefs = descend(
            whole, everything, alphas * (1.0 + l2), 1.0 / (1.0 + l2), None, _ON_PATH
        )
    U = coefs[:, :, 0]
    rest = oracle.yy + ((U @ gram) * U).sum(axis=1) - 2.0 * U @ whole.cross[:, 0]
    for u, left in zip(U, rest, strict=True):
        index = np.flatnonzero(u)
        yield index, u[index] / scale[index], float(left)
