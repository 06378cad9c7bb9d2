"""Differences of B-spline coefficients, and coordinates in which they are lengths."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from skbilevel._typing import Array

# Directions whose variance over the rows is below this share of the largest carry
# nothing but rounding: values of the column are fewer than splines.
_VANISHED = 1e-10


@dataclass(frozen=True)
class Coordinates:
    """Coefficients of B-splines that the columns of a term stand for.

    Parameters
    ----------
    free : ndarray of shape (m, number of powers)
        Of the powers that the penalty leaves alone, as columns of mean 0 and variance
        1 over the rows, each orthogonal to those before it.
    penalized : ndarray of shape (m, k)
        Of the penalized columns: orthogonal over the rows to each other, to the powers
        and to a constant, the one of most variance first, their variances add up to 1.
    unit : float
        The penalty of a function is ``unit`` times the sum of the squared coefficients
        of its penalized columns.
    """

    free: Array
    penalized: Array
    unit: float


def difference_matrix(knots: Array, degree: int, order: int) -> Array:
    """Differences (m - order, m) of the coefficients of B-splines on any knots.

    Those of derivatives: they vanish for polynomials of a degree below ``order``,
    wherever the knots are (Li and Cao, General P-splines for non-uniform B-splines,
    2022, equation 5). Every row is then given the length of a row of plain differences,
    so that roughness is measured by the distance of the knots around it. On uniform
    knots these are the plain differences of Eilers and Marx (1996).

    Parameters
    ----------
    knots : ndarray of shape (m + degree + 1,)
        All knots, in increasing order.
    degree : int
        Of the splines.
    order : int
        Of the differences, at most ``degree``.
    """
    rows = np.eye(len(knots) - degree - 1)
    for k in range(order):
        width = degree - k
        inner = knots[k + 1 : len(knots) - k - 1]
        apart = inner[width:] - inner[:-width]
        rows = np.diff(rows, axis=0) / apart[:, None]
        rows /= abs(rows).max()
    length = np.sqrt(comb(2 * order, order))
    return np.asarray(rows * (length / np.linalg.norm(rows, axis=1, keepdims=True)))


def circular_differences(n_splines: int, order: int) -> Array:
    """Plain differences (m, m) of coefficients in a circle."""
    rows = np.eye(n_splines)
    for _ in range(order):
        rows = np.roll(rows, -1, axis=0) - rows
    return rows


def power_coefficients(knots: Array, degree: int, power: int) -> Array:
    """Coefficients (m,) of B-splines that add up to a power, at most ``degree``.

    That of a spline is the mean of all products of ``power`` of its inner knots
    (Marsden's identity), for the first power their mean.
    """
    n_splines = len(knots) - degree - 1
    inner = [knots[j + 1 : j + 1 + degree] for j in range(n_splines)]
    sums = np.array([np.poly(-each)[power] for each in inner])
    return sums / comb(degree, power)


def coordinates(
    gram: Array, mean: Array, differences: Array, powers: list[Array]
) -> Coordinates:
    """Coordinates in which the squared length is the penalty.

    Parameters
    ----------
    gram : ndarray of shape (m, m)
        Means of products of two B-splines over the rows.
    mean : ndarray of shape (m,)
        Means of the B-splines, which add up to 1 in every row.
    differences : ndarray of shape (k, m)
        The penalty is the squared length of these times the coefficients.
    powers : list of ndarray of shape (m,)
        Together with a constant they are what the penalty leaves alone.

    Returns
    -------
    coordinates : Coordinates
        Columns of penalized splines are combinations of B-splines with them.
    """
    cov = gram - np.outer(mean, mean)
    free = np.zeros((len(mean), 0))
    for each in powers:
        column = _without(each[:, None], free, cov, mean)
        spread = float(np.sqrt(max(0.0, (column.T @ cov @ column).item())))
        # A constant column stays, as zeros: the number of these is always the same.
        known = spread > 1e-7 * abs(each).max()
        free = np.hstack([free, column / spread if known else 0.0 * column])
    _, sizes, rows = np.linalg.svd(differences, full_matrices=False)
    kept = sizes > 1e-10 * sizes[0] if len(sizes) else np.zeros(0, dtype=bool)
    rough = _without(rows[kept].T / sizes[kept], free, cov, mean)
    variance, turn = np.linalg.eigh(rough.T @ cov @ rough)
    order = np.argsort(-variance, kind="stable")
    top = variance[order[0]] if len(order) else 0.0
    order = order[variance[order] > max(_VANISHED * top, 1e-14)]
    total = variance[order].sum() if len(order) else 1.0
    rough = _signed(rough @ turn[:, order]) / np.sqrt(total)
    return Coordinates(free, rough, 1.0 / total)


def _without(columns: Array, free: Array, cov: Array, mean: Array) -> Array:
    """Columns without what a constant and the free ones explain of them."""
    # Twice: once leaves rounding behind where the columns are large.
    for _ in range(2):
        columns = columns - free @ (free.T @ cov @ columns)
        columns = columns - mean @ columns
    return columns


def _signed(columns: Array) -> Array:
    """Signs that do not depend on the library: the last coefficient is positive."""
    return columns * np.where(columns[-1] < 0, -1.0, 1.0)
