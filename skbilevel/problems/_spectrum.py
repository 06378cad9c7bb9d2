"""One shared strength: every value of it from one eigendecomposition.

With swept, root-weighted rows ``Xs = U diag(sqrt(lam)) Q^T`` and ``v = c`` for all
features, the hat matrix is ``H0 + U diag(c lam / (1 + c lam)) U^T``; ``H0`` belongs
to the unpenalized columns. Then, with ``g = c lam / (1 + c lam)``::

    leave-one-out   F(c) = sum_i r_i^2 / (1 - h_i)^2 / sum(s)
    GCV             F(c) = n sum_i r_i^2 / (n - tr H)^2,    n = sum(s)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._sweep import regression_map

# Relative to the largest eigenvalue: from the mean alone to least squares.
_SPAN = (-14.0, 22.0)
_STEP = 0.5
# Where features explain the target exactly the loss falls to rounding; below this
# share of its largest value the strongest regularization is as good as any.
_TIE = 1e-10
# Leverage that the rows leave to noise: below the first it is rounding, and where the
# strength leaves no more than the second a row determines a coefficient alone.
_REACHED, _ALONE = 1e-12, 1e-10
# Curves that vary less than this are flat: with two rows, say, leave-one-out predicts
# the other row's target at any strength, and the rest is rounding.
_FLAT = 1e-6
# Degrees of freedom that a shared strength leaves to all rows together.
_LEAST_FREEDOM = 1.0
# Standard errors that stronger regularization may cost.
_PATIENCE = 0.25


@record
class Spectrum:
    """Eigenvalues and rotated targets of one training set.

    Parameters
    ----------
    lam : ndarray of shape (r,)
        Positive eigenvalues of the swept Gram matrix.
    rotated : ndarray of shape (r, t)
        ``U^T y`` for swept, root-weighted targets.
    left : ndarray of shape (n, r) or None
        ``U``; leave-one-out needs it, GCV does not.
    y : ndarray of shape (n, t) or None
        Swept, root-weighted targets.
    base : ndarray of shape (n,) or None
        Diagonal of ``H0``.
    yy : float
        ``sum |y|^2``.
    weight : float
        Sum of the row weights.
    n_free : int
        Rank of the unpenalized columns.
    """

    lam: Array
    rotated: Array
    left: Array | None
    y: Array | None
    base: Array | None
    yy: float
    weight: float
    n_free: int

    def grid(self) -> Array:
        """Values of ``log c`` that no optimum can leave.

        They leave the rows a degree of freedom, all together. Beyond it, where columns
        are as many as rows, leave-one-out and GCV are ratios of numbers that both
        vanish, and fall by chance.
        """
        top = self.lam.max() if self.lam.size else 1.0
        log_c = np.arange(_SPAN[0], _SPAN[1] + _STEP / 2, _STEP) - np.log(top)
        n = self.weight if self.left is None else len(self.left)
        freedom = n - self.n_free - _shrinkage(self.lam, log_c).sum(axis=0)
        # Fewer rows than that, or unpenalized columns that fit them, change nothing.
        least = min(_LEAST_FREEDOM, 0.5 * float(freedom[0]))
        return np.asarray(log_c[freedom >= least] if least > 0 else log_c)

    def ceiling(self) -> float:
        """Largest ``log v`` at which ``I + d G d`` is safely positive definite.

        Rounding leaves eigenvalues of the Gram matrix as low as -1e-16 times the
        largest; e^28 times that is still far from -1.
        """
        return float(_SPAN[1] + 6.0 - np.log(self.lam.max() if self.lam.size else 1.0))

    def leave_one_out(self, log_c: Array) -> Array:
        """Leave-one-out errors (n, c), ``s_i |y_i - prediction without row i|^2``.

        A weighted row leaves as a whole.
        """
        if self.left is None or self.y is None or self.base is None:
            raise ValueError("this spectrum was made without its left vectors")
        rest = _shrinkage(self.lam, -log_c, -1.0)
        # What no strength reaches, apart: near least squares the differences of
        # shares close to one would be rounding.
        square = self.left**2
        outside = 1.0 - self.base - square.sum(axis=1)
        reached = outside < _REACHED
        outside = np.where(reached, 0.0, outside)
        # A row that determines a coefficient alone has no out-of-sample residual.
        denominator = np.maximum(outside[:, None] + square @ rest, _ALONE)
        loss = np.zeros_like(denominator)
        for target, rotated in zip(self.y.T, self.rotated.T, strict=True):
            beyond = np.where(reached, 0.0, target - self.left @ rotated)
            residual = beyond[:, None] + self.left @ (rest * rotated[:, None])
            loss += (residual / denominator) ** 2
        return np.asarray(loss)

    def gcv(self, log_c: Array) -> Array:
        """Generalized cross-validation at each ``log c``."""
        shrink = _shrinkage(self.lam, log_c)
        power = (self.rotated**2).sum(axis=1)
        outside = max(self.yy - power.sum(), 0.0)
        rss = outside + ((1.0 - shrink) ** 2).T @ power
        freedom = self.weight - self.n_free - shrink.sum(axis=0)
        return np.asarray(self.weight * rss / np.maximum(freedom, 1e-10) ** 2)


def _shrinkage(lam: Array, log_c: Array, power: float = 1.0) -> Array:
    """``c lam / (1 + c lam)`` for all pairs, without overflow.

    With ``power=-1`` and ``-log c`` it is what is left, ``1 / (1 + c lam)``.
    """
    x = log_c[None, :] + power * np.log(lam)[:, None]
    return np.asarray(expit(x))


@record
class SharedOptimum:
    """The best strength shared by all columns of F training sets.

    Parameters
    ----------
    log_v : ndarray of shape (F,)
        Its log variance.
    ceiling : ndarray of shape (F,)
        Largest log variance that is numerically safe.
    edge : {-1, 0, 1}
        Where the first set's optimum is: -1 at infinite strength, 1 at zero.
    share : int
        Place of the first set's share of the L1 norm among those that were tried.
    """

    log_v: Array
    ceiling: Array
    edge: int
    share: int = 0

    @classmethod
    def of(cls, found: list[tuple[float, int, float]], share: int = 0) -> SharedOptimum:
        """From (log_v, edge, ceiling) of every set."""
        return cls(
            np.array([log_v for log_v, _, _ in found]),
            np.array([ceiling for _, _, ceiling in found]),
            found[0][1],
            share,
        )


def choose_shared(
    grid: Array, loss: Array, weight: Array, clustered: bool = False
) -> tuple[float, int]:
    """The strongest regularization that is no worse than the best one can tell.

    Loss curves are flat for many decades below their minimum, where a single row of
    high leverage decides: among the values whose excess over the smallest mean loss
    is below a quarter of its own (paired) standard error, the smallest ``c`` wins.

    Parameters
    ----------
    grid : ndarray of shape (c,)
        Increasing ``log c``.
    loss : ndarray of shape (m, c)
        Total losses of rows or of validation sets.
    weight : ndarray of shape (m,)
        Their weights.
    clustered : bool
        Whether an entry is a whole set of rows; a row of weight s counts as s rows.

    Returns
    -------
    log_c : float
        The choice.
    edge : {-1, 0, 1}
        -1 where the mean alone is best, 1 where least squares is.
    """
    total = weight.sum()
    mean = loss.sum(axis=0) / total
    k = int(np.argmin(mean))
    if np.ptp(mean) <= _FLAT * mean.max(initial=0.0):
        return float(grid[0]), 0
    if mean[k] < _TIE * mean.max():
        return float(grid[int(np.argmax(mean <= mean[k] + _TIE * mean.max()))]), 0
    excess = mean[: k + 1] - mean[k]
    spread = loss[:, : k + 1] - loss[:, [k]] - weight[:, None] * excess
    units = np.ones_like(weight) if clustered else np.where(weight > 0, weight, np.inf)
    error = np.sqrt((spread**2 / units[:, None]).sum(axis=0)) / total
    margin = excess - _PATIENCE * error
    first = int(np.argmax(margin <= 0))
    if first == k:
        return _vertex(grid, mean, k)
    if first == 0:
        return float(grid[0]), -1
    above, below = margin[first - 1], -margin[first]
    step = grid[first] - grid[first - 1]
    return float(grid[first] - step * below / (above + below)), 0


def shared_by(
    spectrum: Spectrum,
    criterion: str,
    weight: Array,
    resampled: Callable[[Array], Array] | None = None,
) -> tuple[float, int, float]:
    """The best shared ``log v`` of a set, the edge it is at, and the ceiling.

    By GCV; by losses (m, c) of validation sets on a grid, which ``resampled`` makes; or
    by leave-one-out. ``weight`` (m,) is that of the sets, or of the rows.
    """
    grid = spectrum.grid()
    if criterion == "gcv":
        found = refine_minimum(grid, spectrum.gcv(grid))
    elif resampled is not None:
        found = choose_shared(grid, resampled(grid), weight, True)
    else:
        found = choose_shared(grid, spectrum.leave_one_out(grid), weight)
    return *found, spectrum.ceiling()


def refine_minimum(grid: Array, value: Array) -> tuple[float, int]:
    """The smallest value of a criterion without rows, refined; see `choose_shared`."""
    if np.ptp(value) <= _FLAT * abs(value).max(initial=0.0):
        return float(grid[0]), 0
    return _vertex(grid, value, int(np.argmin(value)))


def _vertex(grid: Array, value: Array, k: int) -> tuple[float, int]:
    """Vertex of the parabola through the k-th value and its neighbours."""
    if k == 0 or k == len(grid) - 1:
        return float(grid[k]), -1 if k == 0 else 1
    a, b, c = value[k - 1 : k + 2]
    curvature = a - 2.0 * b + c
    if not curvature > 0:
        return float(grid[k]), 0
    shift = 0.5 * (a - c) / curvature
    return float(grid[k] + np.clip(shift, -1.0, 1.0) * (grid[1] - grid[0])), 0


def base_leverage(free: Array) -> Array:
    """Diagonal of the hat matrix of the root-weighted unpenalized columns."""
    return np.asarray((free * regression_map(free).T).sum(axis=1))
