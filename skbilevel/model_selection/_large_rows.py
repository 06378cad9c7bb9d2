"""X by columns, shared by training sets of a problem where n and p are both large.

Training sets are weights on its rows, so nothing is copied per fold and rows outside
of a set enter every sum times zero. All numbers that limit the work stand in `Budget`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from skbilevel._typing import Array
from skbilevel.problems import Centered, Design, as_design
from skbilevel.problems._moments import AugmentedRows
from skbilevel.problems._spectrum import SharedOptimum
from skbilevel.solvers import choose_regime


@dataclass(frozen=True)
class Budget:
    """All limits of the large regime.

    Parameters
    ----------
    exact_columns : int
        Up to this many columns (and fewer than rows) Gram matrices are formed.
    scored_rows : int
        Where no splits are given, outer folds are scored until they hold out so many
        rows; small problems score all of them.
    single_holdout_above : int
        With more stored values of X only the first outer fold is scored.
    holdout : float
        Share of a training set on which its strengths are tuned.
    metadata_steps : int
        Gauss-Newton steps on a function of metadata.
    lam : float
        Weight of its mean squared departure from a shared strength.
    group_steps : int
        Quasi-Newton steps on strengths of labels.
    reach : tuple of float
        How far it may carry a log variance below and above the shared one.
    elastic_net : int
        Most points of the elastic-net path.
    columns : int
        Largest working set of the elastic net; later points repeat the last one.
    tuning_accuracy : tuple of float
        Relative accuracy of coefficients and of their derivatives while tuning.
    accuracy : float
        Relative accuracy of the candidates' and the published coefficients.
    max_iter : int
        Most conjugate-gradient steps of one solve.
    """

    exact_columns: int = 1500
    scored_rows: int = 5000
    single_holdout_above: int = 100_000_000
    holdout: float = 0.25
    metadata_steps: int = 2
    lam: float = 0.001
    group_steps: int = 10
    reach: tuple[float, float] = (-6.0, 4.0)
    elastic_net: int = 5
    columns: int = 400
    tuning_accuracy: tuple[float, float] = (5e-4, 3e-2)
    accuracy: float = 1e-5
    max_iter: int = 1000


def is_large(rows: AugmentedRows, budget: Budget | None = None) -> bool:
    """Whether neither Gram matrices nor kernels are within reach of the guard."""
    budget = Budget() if budget is None else budget
    p = rows.n_penalized
    regime = choose_regime(rows.n_rows, p, sparse.issparse(rows.X))
    return regime == "matrix-free" or (regime == "primal" and p > budget.exact_columns)


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
