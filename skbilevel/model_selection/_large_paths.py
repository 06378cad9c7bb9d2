"""Candidates of large ridge problems that come with their coefficients.

The points of the elastic net as strengths, and one strength on each of their supports,
by working sets of columns: no Gram matrix of all columns is formed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    Descent,
    RowsOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._refits import refits
from skbilevel.problems import Centered, Design, RowsDataFit, Sweep, as_design
from skbilevel.problems._moments import AugmentedRows, unit_metric

# A family, its hyperpenalty or place on a path, variances (p,), working coefficients.
PathPoint = tuple[str, float, Array, Array]


@record
class NetPaths:
    """Points of the elastic net on training sets of the same rows, and their refits.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    n_points : int
        Points of the path.
    ratio : float
        Share of the l1 norm.
    columns : int
        Largest working set of the path; later points repeat the last one.
    """

    rows: AugmentedRows
    n_points: int
    ratio: float
    columns: int = 400

    def of(self, problem: LargeProblem, index: Array) -> Iterator[PathPoint]:
        """Both families, with working coefficients of ``problem``."""
        design = self._design()
        metric = self._metric(design, index)
        fit = self._fit(design, index, metric)
        penalized = self.rows.penalized
        oracle = RowsOracle(fit, penalized)
        grid = relative_grid(float(fit.weight_sum), len(penalized), self.n_points)
        descent, size = Descent(limit=self.columns), self.rows.column_size
        path = elastic_net_strengths(oracle, grid, self.ratio, descent, size)
        # Few of very many columns are on the path.
        used = np.flatnonzero(path[0].any(axis=0))
        path = path[0][:, used], path[1][:, used]
        again = refits(oracle, path[0], self.rows.n_free, None, used)
        metric = metric[penalized]
        for name, points in (("elastic_net", path), ("refit", again)):
            for k, (own, w) in enumerate(zip(*points, strict=True)):
                full = np.zeros((fit.n_features, w.shape[1]))
                full[penalized[used]] = w
                head, coef = fit.free_coef(full), metric[:, None] * full[penalized]
                working = problem.layout.working(np.concatenate([head, coef]))
                v = np.zeros(len(penalized))
                v[used] = own * metric[used] ** 2
                yield name, float(k), v, working.astype(problem.precision)

    def _design(self) -> Design:
        """All columns; those without penalty keep ``v = 0`` in it."""
        design, shift = as_design(self.rows.X), self.rows.shift.copy()
        shift[self.rows.free] = 0.0  # no product needs them
        return Centered(design, shift, np.ones(len(shift))) if shift.any() else design

    def _fit(self, design: Design, index: Array, metric: Array) -> RowsDataFit:
        """Rows as a data fit of scaled columns, from which free ones are swept."""
        rows, everything = self.rows, np.arange(self.rows.n_rows)
        weight = np.zeros(rows.n_rows)
        weight[index] = rows.weight[index]
        if rows.standardize:
            design = Centered(design, np.zeros(len(metric)), 1.0 / metric)
        sweep = Sweep.of(rows.free_block(everything), weight) if rows.n_free else None
        return RowsDataFit(design, rows.targets(everything), weight, sweep)

    def _metric(self, design: Design, index: Array) -> Array:
        """Factors of all columns; ones unless a shared strength needs them."""
        ones = np.broadcast_to(1.0, self.rows.X.shape[1])
        if not self.rows.standardize:
            return ones
        plain = self._fit(design, index, ones)
        return unit_metric(plain.curvature_diag, float(plain.weight_sum))
