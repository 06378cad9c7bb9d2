"""X by columns, shared by training sets of a problem where n and p are both large.

Training sets are weights on its rows, so nothing is copied per fold and rows outside
of a set enter every sum times zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems import Centered, Design, as_design
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.problems._summed_rows import SummedRows
from skbilevel.solvers import choose_regime

# Up to this many columns, and fewer than rows, the guard forms Gram matrices.
_GRAM_UP_TO = 1500
# Sparse rows from this number on, with this many columns for each of them, go by
# products: kernels take ten to forty times as long and are no better (decisions.md).
_WIDE_ROWS_FROM, _WIDE_FROM = 1000, 4


def is_large(rows: AugmentedRows) -> bool:
    """Whether neither Gram matrices nor kernels are within reach of the guard."""
    if isinstance(rows, SummedRows):
        return False
    p = rows.n_penalized
    thin = sparse.issparse(rows.X)
    if thin and rows.n_rows >= _WIDE_ROWS_FROM and p >= _WIDE_FROM * rows.n_rows:
        return True
    regime = choose_regime(rows.n_rows, p, thin)
    return regime == "matrix-free" or (regime == "primal" and p > _GRAM_UP_TO)


@dataclass(frozen=True)
class LargeRows:
    """What all training sets share: X by columns, unpenalized columns, targets.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    design : Design
        All columns; those without penalty keep ``v = 0`` in it.
    free : ndarray of shape (n, n_free)
        Unpenalized columns, the constant one first.
    y : ndarray of shape (n, t)
        Shifted targets.
    """

    rows: AugmentedRows
    design: Design
    free: Array
    y: Array

    @classmethod
    def of(cls, rows: AugmentedRows) -> LargeRows:
        """One copy of a sparse X, none of a dense one."""
        design, shift = as_design(rows.X), rows.shift.copy()
        shift[rows.free] = 0.0  # no product needs them
        if shift.any():
            design = Centered(design, shift, np.ones(len(shift)))
        everything = np.arange(rows.n_rows)
        free = rows.free_block(everything)
        return cls(rows, design, free, rows.targets(everything))


@dataclass(frozen=True)
class CompactCandidates:
    """`Candidates` of one training set; what is mostly zero is stored as such.

    Parameters
    ----------
    family, value, shared
        As in `Candidates`.
    packed_v : csr_array of shape (c, p)
        Variances.
    packed_w : csr_array of shape (c, p * t)
        Coefficients.
    """

    family: tuple[str, ...]
    value: Array
    packed_v: sparse.csr_array
    packed_w: sparse.csr_array
    shared: SharedOptimum

    @property
    def v(self) -> Array:
        """Variances (1, c, p), made when asked for."""
        return np.asarray(self.packed_v.toarray())[None]

    @property
    def w(self) -> Array:
        """Coefficients (1, c, p, t), made when asked for."""
        c, p = self.packed_v.shape
        return np.asarray(self.packed_w.toarray()).reshape(1, c, p, -1)

    def average(self, weight: Array) -> Array:
        """Weighted sum (1, p, t) of the coefficients."""
        p = self.packed_v.shape[1]
        return np.asarray(self.packed_w.T @ weight).reshape(1, p, -1)
