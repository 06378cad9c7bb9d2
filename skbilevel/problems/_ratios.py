"""Numerators and denominators of ratios, as functions of one coordinate.

A part is ``poly(x) ** power`` where ``poly`` is, along every coordinate, a polynomial
in ``t`` between a few breaks::

    poly(x + t e_i) = sum_d coef[d, i, k] t^d     for t in the k-th interval of i

so that a coordinate problem has finitely many candidates: the stationary points of its
pieces, and the breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._centered import Centered
from skbilevel.problems._design import as_design

# Moves after which products are made anew, as rounding adds up.
_REFRESH = 500


@dataclass(frozen=True)
class Lines:
    """Piecewise polynomials in ``t``, one for each of m coordinates.

    Parameters
    ----------
    breaks : ndarray of shape (m, b)
        Ends of the intervals, increasing in every row.
    coef : ndarray of shape (d + 1, m, b + 1)
        Coefficients of the powers of t in every interval, that of the constant first.
    """

    breaks: Array
    coef: Array

    def on(self, breaks: Array) -> Array:
        """Coefficients on the intervals of more breaks, its own among them."""
        if not self.breaks.shape[1]:
            shape = (*self.coef.shape[:2], breaks.shape[1] + 1)
            return np.broadcast_to(self.coef, shape)
        piece = np.zeros((len(breaks), breaks.shape[1] + 1), dtype=np.intp)
        for each in self.breaks.T:
            piece[:, 1:] += breaks >= each[:, None]
        flat = np.arange(len(breaks))[:, None] * self.coef.shape[2] + piece
        return np.stack([part.ravel()[flat] for part in self.coef])


class PartPoint(Protocol):
    """A part at one x; it keeps what neighbours of x need."""

    @property
    def value(self) -> float:
        """The polynomial at x, before its power is taken."""

    def along(self, index: Array) -> Lines:
        """The polynomial along some coordinates."""

    def moved(self, i: int, t: float) -> PartPoint:
        """The point ``x + t e_i``."""


class RatioPart(Protocol):
    """A numerator or a denominator; see `SquaredNorm` for a short one."""

    @property
    def power(self) -> float:
        """Power of the polynomial."""

    def at(self, x: Array) -> PartPoint:
        """The part at x of shape (p,)."""


def _stepped(x: Array, i: int, t: float) -> Array:
    x = x.copy()
    x[i] += t
    return x


def _smooth(*columns: Any) -> Lines:
    """Lines without breaks, from the coefficients of the powers of t."""
    coef = np.stack(np.broadcast_arrays(*columns))[:, :, None]
    return Lines(np.empty((coef.shape[1], 0)), coef)


@dataclass(frozen=True)
class SquaredNorm:
    """``|x|^2``."""

    power: float = 1.0

    def at(self, x: Array) -> _NormPoint:
        """The part at x."""
        return _NormPoint(np.asarray(x, dtype=float))


@record
class _NormPoint:
    x: Array

    @property
    def value(self) -> float:
        return float(self.x @ self.x)

    def along(self, index: Array) -> Lines:
        return _smooth(self.value, 2.0 * self.x[index], 1.0)

    def moved(self, i: int, t: float) -> _NormPoint:
        return _NormPoint(_stepped(self.x, i, t))


@dataclass(frozen=True)
class FourthPowers:
    """``|G x|_4^2``, the root of ``sum_k (G x)_k^4``; G may be sparse.

    Parameters
    ----------
    G : ndarray or sparse matrix of shape (m, p)
        The map.
    power : float
        1/2 for the square of the norm.
    """

    G: Any
    power: float = 0.5

    @cached_property
    def _columns(self) -> Any:
        return sparse.csc_matrix(self.G, dtype=float)

    def at(self, x: Array) -> _FourthPoint:
        """The part at x."""
        return _FourthPoint(self._columns, self._columns @ np.asarray(x, dtype=float))


@record
class _FourthPoint:
    columns: Any
    b: Array

    @property
    def value(self) -> float:
        square = self.b * self.b
        return float(square @ square)

    def along(self, index: Array) -> Lines:
        sums = np.array([self._sums(i) for i in index]).reshape(-1, 4)
        return _smooth(self.value, *sums.T)

    def _column(self, i: int) -> tuple[Array, Array]:
        part = slice(*self.columns.indptr[i : i + 2])
        return self.columns.indices[part], self.columns.data[part]

    def _sums(self, i: int) -> tuple[float, float, float, float]:
        rows, a = self._column(i)
        b = self.b[rows]
        ab, aa, bb = a * b, a * a, b * b
        return 4.0 * (ab @ bb), 6.0 * (aa @ bb), 4.0 * (aa @ ab), float(aa @ aa)

    def moved(self, i: int, t: float) -> _FourthPoint:
        rows, a = self._column(i)
        b = self.b.copy()
        b[rows] += t * a
        return _FourthPoint(self.columns, b)


class GramColumns:
    """Columns of ``Z^T Z``, made when a coordinate first moves.

    ::

        Z = diag(weight)^(1/2) (X - 1 shift^T) diag(1 / scale)

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (n, p)
        The rows.
    weight : ndarray of shape (n,), optional
        Weights of the rows; ones by default.
    shift, scale : ndarray of shape (p,), optional
        Shift, the weighted means or zero, and scales of the columns; X may be sparse.
    """

    def __init__(
        self,
        X: Any,
        weight: Array | None = None,
        shift: Array | None = None,
        scale: Array | None = None,
    ) -> None:
        rows: Any = sparse.csc_array(X) if sparse.issparse(X) else np.asarray(X, float)
        n, p = rows.shape
        self._X = rows
        self._weight = np.ones(n) if weight is None else weight
        self._scale = np.ones(p) if scale is None else scale
        shift = np.zeros(p) if shift is None else shift
        self._design = Centered(as_design(rows), shift, self._scale)
        self.diagonal = self._design.column_squares(self._weight)
        self._known: dict[int, Array] = {}

    def column(self, i: int) -> Array:
        """Column i, shape (p,)."""
        if i not in self._known:
            each = self._X[:, [i]]
            each = each.toarray() if sparse.issparse(each) else each
            self._known[i] = self.pull(each[:, 0]) / self._scale[i]
        return self._known[i]

    def pull(self, r: Array) -> Array:
        """``Z^T diag(weight)^(1/2) r`` of r of shape (n,), shifted to mean zero."""
        return self._design.rmatvec((self._weight * r)[:, None])[:, 0]

    def product(self, x: Array) -> Array:
        """``Z^T Z x``."""
        return self.pull(self._design.matvec(x[:, None])[:, 0])


@dataclass(frozen=True)
class LeastSquaresL1:
    """``0.5 |X w - y|^2 + alpha |w|_1``.

    Parameters
    ----------
    gram : GramColumns
        Of X.
    cross : ndarray of shape (p,)
        ``X^T y``.
    yy : float
        ``|y|^2``.
    alpha : float
        Strength of the l1 norm.
    """

    gram: GramColumns
    cross: Array
    yy: float
    alpha: float
    power: float = 1.0

    def at(self, x: Array) -> _LassoPoint:
        """The part at x."""
        x = np.asarray(x, dtype=float)
        grad = self.gram.product(x) - self.cross
        half = 0.5 * (self.yy + float((grad - self.cross) @ x))
        return _LassoPoint(self, x, grad, half, 0)


@record
class _LassoPoint:
    part: LeastSquaresL1
    x: Array
    grad: Array
    half_rss: float
    age: int

    @property
    def value(self) -> float:
        return self.half_rss + self.part.alpha * float(np.abs(self.x).sum())

    def along(self, index: Array) -> Lines:
        alpha, x, grad = self.part.alpha, self.x[index], self.grad[index]
        rest = self.value - alpha * np.abs(x)
        second = 0.5 * self.part.gram.diagonal[index]
        coef = np.empty((3, len(x), 2))
        for k, sign in enumerate((-alpha, alpha)):
            coef[:, :, k] = rest + sign * x, grad + sign, second
        return Lines(-x[:, None], coef)

    def moved(self, i: int, t: float) -> _LassoPoint:
        x = _stepped(self.x, i, t)
        if self.age >= _REFRESH:
            return self.part.at(x)
        gram = self.part.gram
        half = self.half_rss + t * (self.grad[i] + 0.5 * t * gram.diagonal[i])
        grad = self.grad + t * gram.column(i)
        return replace(self, x=x, grad=grad, half_rss=half, age=self.age + 1)


@dataclass(frozen=True)
class TopK:
    """``alpha`` times the sum of the k largest ``|w_j|``.

    Parameters
    ----------
    k : int
        How many; at least 1, and below the number of coordinates.
    alpha : float
        Factor.
    """

    k: int
    alpha: float = 1.0
    power: float = 1.0

    def at(self, x: Array) -> _TopPoint:
        """The part at x."""
        x = np.asarray(x, dtype=float)
        if not 1 <= self.k < len(x):
            raise ValueError(
                f"k={self.k} must be at least 1 and below the number of coordinates, "
                f"{len(x)}."
            )
        return _TopPoint(self, x)


@record
class _TopPoint:
    part: TopK
    x: Array

    @property
    def value(self) -> float:
        k, size = self.part.k, np.abs(self.x)
        return self.part.alpha * float(np.partition(size, -k)[-k:].sum())

    def along(self, index: Array) -> Lines:
        k, alpha, size = self.part.k, self.part.alpha, np.abs(self.x)
        order = np.argpartition(size, (-k - 1, -k))
        inside = np.zeros(len(size), dtype=bool)
        inside[order[-k:]] = True
        last, next_one = size[order[-k]], size[order[-k - 1]]
        total, inside = size[order[-k:]].sum(), inside[index]
        # Of the other coordinates: the sum of the k - 1 largest, and the k-th.
        rest = np.where(inside, total - size[index], total - last)
        bar = np.where(inside, next_one, last)
        x = self.x[index]
        coef = np.zeros((2, len(index), 3))
        coef[:, :, 0] = rest - x, np.full(len(x), -1.0)
        coef[0, :, 1] = rest + bar
        coef[:, :, 2] = rest + x, np.ones(len(x))
        return Lines(np.column_stack([-bar - x, bar - x]), alpha * coef)

    def moved(self, i: int, t: float) -> _TopPoint:
        return _TopPoint(self.part, _stepped(self.x, i, t))
