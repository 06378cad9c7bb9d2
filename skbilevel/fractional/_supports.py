"""Ways to k features, from columns of a Gram matrix.

All work on centred columns of one length: what has more weight by its unit alone should
not be found first. None forms the Gram matrix; columns are made for features that move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from scipy.linalg import cho_solve

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems import GramColumns, LeastSquaresL1, TopK
from skbilevel.problems._dense_spd import factor_spd
from skbilevel.solvers import RatioResult, minimize_ratio

# The lasso's path goes on until so many features per wanted one are active.
_ACTIVE_PER_FEATURE = 4
# Steps of the path per feature, as features leave it again.
_STEPS_PER_FEATURE = 4
# Exchanges of one feature for another per wanted feature, at most.
_EXCHANGES_PER_FEATURE = 10
# What is left of correlations below this share of the first is rounding.
_ROUNDING = 1e-10
# Strengths that GCV chooses from, in units of the mean curvature of the columns.
_GRID = np.logspace(-6.0, 6.0, 121)
# Variances below this share of the mean square are rounding.
_CONSTANT = 1e-13
# Curvature that keeps a coefficient at zero.
_STIFF = 1e100


@dataclass(frozen=True)
class Moments:
    """Columns of length one, targets, and the number of rows by weight.

    Parameters
    ----------
    gram : GramColumns
        Of the columns.
    cross : ndarray of shape (p,)
        Products of the columns with the target.
    yy : float
        Square of the centred target.
    freedom : float
        Sum of the weights, less one for an intercept.
    """

    gram: GramColumns
    cross: Array
    yy: float
    freedom: float

    def block(self, support: Array) -> Array:
        """The Gram matrix of some columns."""
        columns = [self.gram.column(int(i))[support] for i in support]
        return np.array(columns).reshape(len(support), len(support))

    def solve(self, support: Array, b: Array) -> Array:
        """The solution of ``block(support) x = b``, of a singular block by a jitter."""
        block = self.block(support)
        # A constant column has a row of zeros, which no share of the diagonal mends.
        block[np.diag_indices_from(block)] += np.diagonal(block) == 0.0
        return np.asarray(cho_solve((factor_spd(block), True), b))


@record
class ScaledRows:
    """Moments of columns of length one, and the way back to the user's units.

    Parameters
    ----------
    moments : Moments
        Of the scaled columns.
    shift, scale : ndarray of shape (p,)
        Means, zero without an intercept, and lengths; constant columns have an
        infinite one, so that they are nobody's choice.
    y_shift : float
        Mean of the target, or zero.
    """

    moments: Moments
    shift: Array
    scale: Array
    y_shift: float

    @classmethod
    def of(cls, X: Any, y: Array, weight: Array, intercept: bool) -> ScaledRows:
        """From rows of positive weight."""
        total, thin = float(weight.sum()), sparse.issparse(X)
        shift, y_shift = np.zeros(X.shape[1]), 0.0
        if intercept:
            shift = np.asarray(weight @ X, dtype=float).ravel() / total
            y_shift = float(weight @ y) / total
        # What can be centred is, as differences of large numbers lose digits.
        rows = X if thin else np.asarray(X, dtype=float) - shift
        inner = shift if thin else np.zeros_like(shift)
        squares = GramColumns(rows, weight, inner).diagonal
        large = squares > _CONSTANT * (squares + total * shift**2)
        scale = np.sqrt(np.where(large, squares, np.inf))
        gram = GramColumns(rows, weight, inner, scale)
        # Along a column of zeros the ratio would fall for ever.
        gram.diagonal[~large] = _STIFF
        target = y - y_shift
        square = float(weight @ target**2)
        freedom = max(total - float(intercept), 1.0)
        moments = Moments(gram, gram.pull(target), square, freedom)
        return cls(moments, shift, scale, y_shift)

    def predict(self, support: Array, X: Any) -> Array:
        """What `ridge` on a support says of other rows."""
        coef = ridge(self.moments, support) / self.scale[support]
        part = X[:, support]
        out = np.asarray(part @ coef, dtype=float)
        return out + (self.y_shift - float(self.shift[support] @ coef))


def filled(order: Array, moments: Moments, size: int) -> Array:
    """The first ``size`` features of an order, and the most correlated ones behind."""
    rest = np.abs(moments.cross)
    rest[order] = -1.0
    more = np.argsort(-rest, kind="stable")[: max(0, size - len(order))]
    return np.sort(np.concatenate([order, more])[:size].astype(np.intp))


def pursuit(moments: Moments, size: int) -> Array:
    """Order of features by orthogonal matching pursuit, at most ``size``.

    Every step takes the column that is most correlated with what is left, and then fits
    all that it has anew (Pati et al., 1993).
    """
    order: list[int] = []
    grad = moments.cross.copy()
    least = _ROUNDING * np.abs(grad).max(initial=0.0)
    while len(order) < size:
        grad[order] = 0.0
        best = int(np.abs(grad).argmax())
        if np.abs(grad[best]) <= least:
            break
        order.append(best)
        chosen = np.array(order)
        w = moments.solve(chosen, moments.cross[chosen])
        grad = moments.cross.copy()
        for i, value in zip(order, w, strict=True):
            grad -= value * moments.gram.column(i)
    return np.array(order, dtype=np.intp)


@record
class LassoPath:
    """Knots of the lasso's path: sizes of their active sets, and coefficients."""

    knots: list[tuple[Array, Array]]

    def support(self, size: int) -> Array:
        """The largest coefficients where four times as many features are active."""
        wanted = _ACTIVE_PER_FEATURE * size
        found = (knot for knot in self.knots if len(knot[0]) >= wanted)
        active, w = next(found, self.knots[-1])
        return np.asarray(active[np.argsort(-np.abs(w), kind="stable")[:size]])


def lasso_path(moments: Moments, size: int) -> LassoPath:
    """The path from no feature to four times ``size`` features (Efron et al., 2004).

    Coefficients are linear between knots, where a feature enters or leaves.
    """
    p = len(moments.cross)
    size = min(_ACTIVE_PER_FEATURE * size, p, max(1, int(moments.freedom) - 1))
    grad, w = moments.cross.copy(), np.zeros(p)
    level = float(np.abs(grad).max(initial=0.0))
    least, left = _ROUNDING * level, -1
    active = [int(np.abs(grad).argmax())] if level > 0 else []
    knots = [(np.empty(0, dtype=np.intp), np.empty(0))]
    for _ in range(_STEPS_PER_FEATURE * size):
        if not active or level <= least:
            break
        index = np.array(active)
        sign = np.sign(grad[index])
        step = moments.solve(index, sign)
        slope = np.zeros(p)
        for i, value in zip(active, step, strict=True):
            slope += value * moments.gram.column(i)
        length, enters = _entering(grad, slope, level, active, left)
        with np.errstate(divide="ignore", invalid="ignore"):
            zero = np.where(step != 0, -w[index] / step, np.inf)
        zero = np.where(zero > _ROUNDING * level, zero, np.inf)
        leaves = int(zero.argmin())
        stays = length <= zero[leaves]
        length = min(length, float(zero[leaves]))
        w[index] += length * step
        grad -= length * slope
        level -= length
        left = -1
        if not stays:
            left = active.pop(leaves)
            w[left] = 0.0
        knots.append((np.array(active, dtype=np.intp), w[active]))
        if enters < 0 or len(active) >= size:
            break
        if stays:
            active.append(enters)
    return LassoPath(knots)


def _entering(
    grad: Array, slope: Array, level: float, active: list[int], left: int
) -> tuple[float, int]:
    """How far it is to the next feature, and which; -1 for none before the end."""
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.stack(
            [(level - grad) / (1.0 - slope), (level + grad) / (1.0 + slope)]
        )
    each[:, active] = np.inf
    if left >= 0:
        each[:, left] = np.inf
    each = np.where(np.isfinite(each) & (each > 0.0), each, np.inf).min(axis=0)
    best = int(each.argmin())
    return (float(each[best]), best) if each[best] < level else (level, -1)


def exchanged(moments: Moments, starts: list[Array]) -> Array:
    """The least squares support at which exchanges from several starts end."""
    ends = [_exchange(moments, start) for start in starts]
    explained = [
        moments.cross[end] @ moments.solve(end, moments.cross[end]) for end in ends
    ]
    return ends[int(np.argmax(explained))]


def _exchange(moments: Moments, support: Array) -> Array:
    """Exchange one feature for another while that lowers the squared error.

    With features S, ``H = G_SS^-1``, least squares ``w = H c_S`` and what is left of
    the correlations, ``r = c - G_S w``, the exchange of i in S for j lowers it by ::

        (r_j + b_ji w_i / h_ii)^2 / (d_j + b_ji^2 / h_ii) - w_i^2 / h_ii

    where ``b = G_S H`` and ``d_j = g_jj - b_j G_Sj``; the best pair is taken each time.
    """
    support = support.copy()
    for _ in range(_EXCHANGES_PER_FEATURE * len(support)):
        columns = np.column_stack([moments.gram.column(int(i)) for i in support])
        inverse = moments.solve(support, np.eye(len(support)))
        own = np.diagonal(inverse)
        w = inverse @ moments.cross[support]
        left, b = moments.cross - columns @ w, columns @ inverse
        diagonal = moments.gram.diagonal
        room = (diagonal - (b * columns).sum(axis=1))[:, None] + b**2 / own
        fine = room > _ROUNDING * diagonal[:, None]
        gain = (left[:, None] + b * (w / own)) ** 2 / np.where(fine, room, np.inf)
        gain -= w**2 / own
        gain[support] = -np.inf
        enters, leaves = np.unravel_index(int(gain.argmax()), gain.shape)
        if not gain[enters, leaves] > _ROUNDING * moments.yy:
            break
        support[leaves] = enters
    return np.sort(support)


def by_ratio(
    moments: Moments, size: int, start: Array, alpha: float, tol: float, max_iter: int
) -> tuple[Array, RatioResult]:
    """The ``size`` largest coefficients where PCD ends, and that end.

    It minimizes ``(0.5 |y - Z w|^2 + alpha |w|_1) / (alpha |w|_top-k)``.
    """
    result = minimize_ratio(
        LeastSquaresL1(moments.gram, moments.cross, moments.yy, alpha),
        TopK(size, alpha),
        start,
        solver="pcd",
        rule="greedy",
        tol=tol,
        max_iter=max_iter,
    )
    order = np.argsort(-np.abs(result.x), kind="stable")[:size]
    return order[result.x[order] != 0], result


def ridge(moments: Moments, support: Array) -> Array:
    """Coefficients (k,) of ridge whose one strength GCV chooses; exact in all weights.

    Weights count as repeated rows, so that only moments are needed.
    """
    cross = moments.cross[support]
    size, vectors = np.linalg.eigh(moments.block(support))
    size = np.maximum(size, 0.0)
    along = vectors.T @ cross
    alpha = (size.mean() or 1.0) * _GRID[:, None]
    shrunk = along / (size + alpha)
    rss = moments.yy - (shrunk * (2.0 * along - size * shrunk)).sum(axis=1)
    freedom = moments.freedom - (size / (size + alpha)).sum(axis=1)
    value = np.maximum(rss, 0.0) / np.maximum(freedom, 1e-3 * moments.freedom) ** 2
    return np.asarray(vectors @ shrunk[value.argmin()])
