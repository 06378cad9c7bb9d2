"""Numbers that leave the rows, with noise; nothing else reads the rows of a fit.

Neighbours differ in one row, which is replaced. ``n`` rows have norms of at most B, and
the noise of a release is ``multiplier`` times its sensitivity:

- the sum of ``r r^T`` over rows of norm B: ``sqrt(2) B^2`` in the Frobenius norm, with
  noise ``(N + N^T) / 2``, which has the same size in every direction of symmetric
  matrices;
- the mean of gradients of norm C: ``2 C / n``;
- the mean of a coordinate of gradients between -C and C: ``2 C / n``.

The gradient of a row is ``l'(x w) x``, so that shortening it to norm C is clipping
``l'`` at ``C / |x|``: it stays the gradient of a convex loss, whose curvature is no
larger than before.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.privacy._bounds import row_norms
from skbilevel.privacy._ledger import Release
from skbilevel.privacy._noise import Randomness
from skbilevel.problems import Loss

# Largest value of (a - b)^2 (1 + (a + b)^2) / (a^2 + b^2) for numbers in [-1, 1].
_COLUMN_PAIR = 2.3116


@record
class NoisyMoments:
    """Sums over rows ``(z, k y)`` with noise.

    Parameters
    ----------
    gram : ndarray of shape (q, q)
        ``Z^T Z``; noise may have made it indefinite.
    cross : ndarray of shape (q,)
        ``Z^T y``.
    yy : float
        ``y^T y``.
    noise : float
        Standard deviation of the noise of the diagonal of ``gram``; entries off the
        diagonal have ``sqrt(1/2)`` of it.
    cross_noise : float
        The same of ``cross``.
    n_rows : int
        Number of rows, which is public.
    """

    gram: Array
    cross: Array
    yy: float
    noise: float
    cross_noise: float
    n_rows: int


def mean_sensitivity(clip: Any, n_rows: float) -> Any:
    """Sensitivity of a mean of vectors of norm ``clip``."""
    return 2.0 * clip / n_rows


def column_sensitivity(n_columns: int, norm: float) -> float:
    """Sensitivity of means and mean squares of columns in [-1, 1], rows of ``norm``."""
    return math.sqrt(min(4.0 * n_columns, 2.0 * _COLUMN_PAIR * norm**2))


def square_sensitivity(n_columns: int, norm: float) -> float:
    """Sensitivity of mean squares alone: two squares differ by the larger at most."""
    return math.sqrt(min(float(n_columns), 2.0 * norm**2))


def moment_sensitivity(norm: float) -> float:
    """Sensitivity of the sum of ``r r^T``."""
    return math.sqrt(2.0) * norm**2


@record
class PrivateRows:
    """Rows that only noisy sums can leave.

    Parameters
    ----------
    X : ndarray or CSR array of shape (n, q)
        Rows, no longer than ``norm``.
    y : ndarray of shape (n,)
        Targets: in [-1, 1], or 0 and 1 for classes.
    norm : float
        Bound on the norm of a row; inf only without noise.
    noise : Randomness
        Where noise comes from.
    """

    X: Any
    y: Array
    norm: float
    noise: Randomness

    @property
    def n_rows(self) -> int:
        """Number of rows, which is public."""
        return int(self.X.shape[0])

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return int(self.X.shape[1])

    @cached_property
    def _norms(self) -> Array:
        return np.asarray(np.maximum(row_norms(self.X), 1e-300))

    def noisy(self, value: Any, sensitivity: Any, multiplier: float) -> Array:
        """The value with noise; without a multiplier the value itself.

        All that leaves the rows leaves here.
        """
        exact: Array = np.asarray(value, dtype=float)
        if multiplier == 0.0:
            return exact
        drawn = self.noise.normal(exact.shape)
        return np.asarray(exact + multiplier * sensitivity * drawn)

    def column_moments(self, multiplier: float) -> tuple[Array, Array, float, Release]:
        """Means and mean squares of columns in [-1, 1], and sd of their noise."""
        n, p = self.X.shape
        value = np.stack([_column_sums(self.X), _column_sums(self.X * self.X)]) / n
        sensitivity = column_sensitivity(p, self.norm) / n
        noisy = self.noisy(value, sensitivity, multiplier)
        release = Release("moments of columns", sensitivity, multiplier)
        return noisy[0], noisy[1], multiplier * sensitivity, release

    def column_squares(self, multiplier: float) -> tuple[Array, float, Release]:
        """Mean squares of columns in [-1, 1], and sd of their noise."""
        n, p = self.X.shape
        size = square_sensitivity(p, self.norm) / n
        noisy = self.noisy(_column_sums(self.X * self.X) / n, size, multiplier)
        release = Release("squares of columns", size, multiplier)
        return noisy, multiplier * size, release

    def second_moments(
        self, target_scale: float, targets: Array, multiplier: float
    ) -> tuple[NoisyMoments, Release]:
        """Second moments of rows ``(z, k t)``, with targets t in [-1, 1]."""
        q, k = self.n_columns, target_scale
        total = np.empty((q + 1, q + 1))
        gram = self.X.T @ self.X
        total[:q, :q] = gram.toarray() if sparse.issparse(gram) else gram
        total[:q, q] = total[q, :q] = k * (self.X.T @ targets)
        total[q, q] = k * k * (targets @ targets)
        size = moment_sensitivity(math.hypot(self.norm, k))
        total = self.noisy(total, size, multiplier)
        total = (total + total.T) / 2.0
        sd = multiplier * size if multiplier > 0.0 else 0.0
        moments = NoisyMoments(
            total[:q, :q],
            total[:q, q] / k,
            float(total[q, q] / k**2),
            sd,
            sd / (k * math.sqrt(2.0)),
            self.n_rows,
        )
        return moments, Release("second moments", size, multiplier)

    def gradient(
        self,
        loss: Loss,
        w: Array,
        clip: float,
        multiplier: float,
        rate: float | None = None,
    ) -> Array:
        """Mean of clipped gradients at ``w``.

        With a rate that of a Poisson batch: the sum over it, divided by ``rate n``.
        """
        rows, n = self, float(self.n_rows)
        if rate is not None:
            taken = np.flatnonzero(self.noise.uniform((self.n_rows,)) < rate)
            rows, n = replace(self, X=self.X[taken], y=self.y[taken]), rate * n
        limit = clip / rows._norms
        slope = np.clip(loss.grad(rows.X @ w, rows.y), -limit, limit)
        return self.noisy(rows.X.T @ slope / n, mean_sensitivity(clip, n), multiplier)

    def gradient_release(
        self,
        clip: float,
        multiplier: float,
        count: int,
        rate: float = 1.0,
        contraction: float | None = None,
    ) -> Release:
        """What ``count`` gradients have released."""
        size = mean_sensitivity(clip, rate * self.n_rows)
        return Release("gradients", size, multiplier, count, rate, contraction)

    def coordinates_release(
        self, clips: Array, multiplier: float, count: int
    ) -> Release:
        """What ``count`` sweeps over all coordinates have released."""
        sizes = tuple(float(mean_sensitivity(clip, self.n_rows)) for clip in clips)
        return Release("coordinates of gradients", sizes, multiplier, count)


class CoordinateRows:
    """Rows whose predictions are kept up to date while single coefficients move."""

    def __init__(self, rows: PrivateRows, w: Array) -> None:
        self._rows = rows
        X = rows.X
        self._columns = sparse.csc_array(X) if sparse.issparse(X) else X.T.copy()
        self._eta = np.asarray(X @ w)

    def _column(self, j: int) -> tuple[Any, Array]:
        """Rows where a column is not zero, and its entries there."""
        if not sparse.issparse(self._columns):
            return slice(None), self._columns[j]
        part = slice(self._columns.indptr[j], self._columns.indptr[j + 1])
        return self._columns.indices[part], self._columns.data[part]

    def partial(self, loss: Loss, j: int, clip: float, multiplier: float) -> float:
        """Mean of clipped derivatives in coefficient j, with noise."""
        rows = self._rows
        index, column = self._column(j)
        each = loss.grad(self._eta[index], rows.y[index]) * column
        total = np.clip(each, -clip, clip).sum() / rows.n_rows
        size = mean_sensitivity(clip, rows.n_rows)
        return float(rows.noisy(total, size, multiplier))

    def move(self, j: int, change: float) -> None:
        """Change coefficient j."""
        index, column = self._column(j)
        self._eta[index] += change * column


def _column_sums(X: Any) -> Array:
    return np.asarray(X.sum(axis=0)).reshape(-1)
