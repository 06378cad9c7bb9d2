"""The elastic net on the columns that it keeps: a linear system with known signs.

With G and c the Gram matrix and ``X^T y`` of the training rows, A the active columns
and s the signs of their coefficients, the minimizer of ::

    0.5 w^T G w - c^T w + sum_j l1_j |w_j| + 0.5 w_j^2 / v_j

solves ``(G_AA + diag(1 / v_A)) w_A = c_A - l1_A s_A`` and is zero elsewhere. While A
and s stay, it is a smooth function of the strengths. With ``m = l1 s + w / v``, the
slope of the penalty, and ``S = (G_AA + diag(1 / v_A))^-1``, ::

    d w_A / d log alpha_A = -S diag(m)

where ``alpha_j`` multiplies both parts. A held-out error ``w^T H w - 2 d^T w + yy`` has
the gradient ``-2 m * (S (H w - d)_A)`` in ``log alpha`` and the Gauss-Newton matrix
``diag(m) S H_AA S diag(m)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.linalg import cho_solve

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._dense_spd import diagonal_of, factor_spd, inverse_of_factor
from skbilevel.problems._penalties import ElasticNet

# Columns that are copies of each other share their coefficient evenly, and derivatives
# exist, at the price of so many relative units of a column's square.
_UNIQUE = 1e-10
# Columns of which the others leave less than this share are no columns of their own.
_DEPENDENT = 1e-7


@dataclass(frozen=True)
class Moments:
    """Sums of squares of some columns and a target, ``|y - X w|^2`` of some rows.

    ``gram`` (k, k) is ``X^T X``, ``cross`` (k,) is ``X^T y``, ``yy`` is ``y^T y``.
    """

    gram: Array
    cross: Array
    yy: float

    def error(self, w: Array) -> Array:
        """Sums of squared errors (...) of coefficients (k, ...)."""
        square = (w * (self.gram @ w)).sum(axis=0)
        return np.asarray(np.maximum(square - 2.0 * (self.cross @ w) + self.yy, 0.0))

    def of(self, columns: Array) -> Moments:
        """Those of some of the columns."""
        gram = self.gram[np.ix_(columns, columns)]
        return Moments(gram, self.cross[columns], self.yy)


def system(gram: Array, penalty: ElasticNet) -> Array:
    """``G + diag(1 / v)``, and a share of its diagonal that keeps it definite."""
    K = np.array(gram)
    diagonal_of(K)[...] *= 1.0 + _UNIQUE
    diagonal_of(K)[...] += 1.0 / penalty.v
    return K


@record
class HeldOutError:
    """A held-out error, its gradient (k,) and Gauss-Newton matrix (k, k).

    They are derivatives in ``log alpha`` of the active columns; the matrix is half of
    the second derivative, as in ``value + grad . d + d . normal d``.
    """

    value: float
    grad: Array
    normal: Array


@dataclass(frozen=True)
class ActiveSet:
    """A minimizer on its active columns.

    Parameters
    ----------
    index : ndarray of int, shape (k,)
        The active columns, increasing.
    w : ndarray of shape (k,)
        Their coefficients, none of them zero.
    factor : ndarray of shape (k, k)
        Lower Cholesky factor of ``G_AA + diag(1 / v_A)``.
    penalty : ElasticNet
        That of the active columns.
    """

    index: Array
    w: Array
    factor: Array
    penalty: ElasticNet

    @classmethod
    def with_signs(
        cls, index: Array, sign: Array, moments: Moments, penalty: ElasticNet
    ) -> Self:
        """The solution of the linear system of these signs, whatever its own are."""
        factor = factor_spd(system(moments.gram, penalty))
        w = _solve(factor, moments.cross - penalty.l1 * sign)
        return cls(index, w, factor, penalty)

    def held_out(self, moments: Moments) -> HeldOutError:
        """The error on rows with these moments of the active columns.

        Where columns are dependent, coefficients move by the least that keeps the fit.
        """
        slope, value = self.penalty.slope(self.w), float(moments.error(self.w))
        residual = moments.gram @ self.w - moments.cross
        inverse = self._inverse()
        moved = inverse * slope
        normal = moved.T @ moments.gram @ moved
        return HeldOutError(value, -2.0 * slope * (inverse @ residual), normal)

    def _inverse(self) -> Array:
        """Inverse of the system, or its pseudo-inverse, in units of the columns."""
        L = np.tril(self.factor)
        size = np.sqrt((L**2).sum(axis=1))
        if (np.square(np.diag(L) / size) > _DEPENDENT).all():
            return inverse_of_factor(self.factor.copy(order="F"))
        L = L / size[:, None]
        inverse = np.linalg.pinv(L @ L.T, rcond=100.0 * _UNIQUE, hermitian=True)
        return np.asarray(inverse / np.outer(size, size))


def _solve(factor: Array, b: Array) -> Array:
    """The solution of a system with this lower factor."""
    if not factor.size:
        return np.zeros_like(b)
    return np.asarray(cho_solve((factor, True), b, check_finite=False))
