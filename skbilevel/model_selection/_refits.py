"""Refits: one strength on the columns that a point of the elastic net keeps.

The elastic net both selects and shrinks. A refit keeps the selection and shrinks by
one ridge strength, ``v = c`` on the support and 0 elsewhere, with ``c`` from
leave-one-out, or from generalized cross-validation where rows are not at hand. (The
relaxed lasso of Meinshausen, 2007, with ridge in the place of least squares.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import LeastSquaresOracle
from skbilevel.problems._spectrum import Spectrum, choose_shared, refine_minimum

# Every third value of the grid: the nested score of a refit decides, not its strength.
_STRIDE = 3
# Supports that differ by less than this share are fitted once.
_SAME = 0.1


@dataclass(frozen=True)
class RowShares:
    """What leave-one-out has to know beside rows.

    Parameters
    ----------
    weight : ndarray of shape (n,)
        Row weights.
    base : ndarray of shape (n,)
        Leverage of the unpenalized columns.
    """

    weight: Array
    base: Array


def refits(
    oracle: LeastSquaresOracle,
    v: Array,
    n_free: int,
    shares: RowShares | None,
    columns: Array | None = None,
) -> tuple[Array, Array]:
    """Variances (c, p) and coefficients (c, p, t) on the supports of ``v`` (c, p).

    ``shares`` is None where rows are not to be read: GCV chooses then. ``columns`` are
    those of the oracle that ``v`` has; None for all.
    """
    c, p = v.shape
    out, w = np.zeros((c, p)), np.zeros((c, p, oracle.cross.shape[1]))
    for k, support in enumerate(v > 0):
        if np.count_nonzero(support != (out[k - 1] > 0)) <= _SAME * support.sum():
            out[k], w[k] = out[k - 1], w[k - 1]
        elif support.any():
            active = np.flatnonzero(support)
            own = active if columns is None else columns[active]
            out[k, active], w[k, active] = _refit(oracle, own, n_free, shares)
    return out, w


def _refit(
    oracle: LeastSquaresOracle, active: Array, n_free: int, shares: RowShares | None
) -> tuple[float, Array]:
    """The best variance shared by some columns, and their coefficients there."""
    rows = None if shares is None else oracle.rows_of(active)
    left: Array | None
    if rows is not None and len(rows[0]) < len(active):
        # In the space of the rows: fewer numbers.
        lam, left = positive(*np.linalg.eigh(rows[0] @ rows[0].T))
        turn = rows[0].T @ (left / np.sqrt(lam))
    else:
        lam, turn = positive(*np.linalg.eigh(oracle.sub_gram(active)))
        left = None if rows is None else rows[0] @ (turn / np.sqrt(lam))
    rotated = (turn.T @ oracle.cross[active]) / np.sqrt(lam)[:, None]
    y = None if rows is None else rows[1]
    base = None if shares is None else shares.base
    spectrum = Spectrum(lam, rotated, left, y, base, oracle.yy, oracle.weight, n_free)
    grid = spectrum.grid()[::_STRIDE]
    if shares is None or rows is None:
        log_c, _ = refine_minimum(grid, spectrum.gcv(grid))
    else:
        log_c, _ = choose_shared(grid, spectrum.leave_one_out(grid), shares.weight)
    c = float(np.exp(log_c))
    shrunk = np.sqrt(lam) * c / (1.0 + c * lam)
    return c, turn @ (shrunk[:, None] * rotated)


def positive(lam: Array, vectors: Array) -> tuple[Array, Array]:
    """Eigenvalues above rounding, and their vectors."""
    keep = lam > 1e-12 * max(float(lam.max(initial=0.0)), np.finfo(float).tiny)
    return lam[keep], vectors[:, keep]
