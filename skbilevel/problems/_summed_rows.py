"""Rows that are known by sums over cells of them: nothing reads a single one."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._moments import AugmentedRows


@record
class UnreadRows:
    """Stands in the place of X: it has a shape, and no values.

    Parameters
    ----------
    shape : tuple of int
        Cells and columns.
    """

    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """Numbers that an array of this shape holds."""
        return self.shape[0] * self.shape[1]

    def __getitem__(self, rows: Any) -> Any:
        raise TypeError("Rows of this problem are known by their moments only.")


@record
class SummedRows(AugmentedRows):
    """`AugmentedRows` whose rows are cells: sums over rows that no set tells apart.

    A weight is the sum of the weights of a cell, and a moment the sum of the moments of
    some cells. Whatever is made of weights and moments alone works on cells as it does
    on rows; predictions of single rows are those of ``sample``.

    Parameters
    ----------
    moments : ndarray of shape (n_cells, width, width)
        Moments of the cells.
    sample : AugmentedRows or None
        A random part of the rows, in the same units.
    sample_cell : ndarray of shape (s,)
        The cell of each of its rows.
    sample_unit : ndarray of shape (s,)
        Label of its unit of resampling, from 0.
    whole_units : bool
        Whether all rows of these units are in the sample.
    n_counted : int
        Number of rows in all cells.
    fold : ndarray of shape (n_cells,)
        Outer fold of every cell.
    sides : ndarray of shape (n_halvings, n_cells)
        Side of every cell in halvings of the rows.
    """

    moments: Array = field(default_factory=lambda: np.zeros((0, 0, 0)))
    sample: AugmentedRows | None = None
    sample_cell: Array = field(default_factory=lambda: np.zeros(0, dtype=int))
    sample_unit: Array = field(default_factory=lambda: np.zeros(0, dtype=int))
    whole_units: bool = True
    n_counted: int = 0
    fold: Array = field(default_factory=lambda: np.zeros(0, dtype=int))
    sides: Array = field(default_factory=lambda: np.zeros((0, 0), dtype=bool))

    def moment(self, rows: Array) -> Array:
        """Sum of the moments of some cells."""
        member = np.zeros(len(self.moments))
        member[rows] = 1.0
        return np.tensordot(member, self.moments, axes=1)
