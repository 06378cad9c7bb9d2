"""Candidates of large ridge problems that come with their coefficients.

The points of the elastic net as strengths, and one strength on each of their supports,
by working sets of columns: no Gram matrix of all columns is formed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from skbilevel._typing import Array
from skbilevel.model_selection._elastic_net import (
    Descent,
    RowsOracle,
    elastic_net_strengths,
    relative_grid,
)
from skbilevel.model_selection._large_rows import LargeProblem
from skbilevel.model_selection._large_tuning import PathPoint
from skbilevel.model_selection._recipe import Recipe
from skbilevel.model_selection._refits import refits
from skbilevel.problems import Centered, Design, Loss, RowsDataFit, Sweep, as_design
from skbilevel.problems._moments import AugmentedRows, unit_metric

# Points of the elastic net at most.
_POINTS = 5


def paths_of(
    loss: Loss, recipe: Recipe, members: Array | None
) -> Callable[[AugmentedRows], NetPaths] | None:
    """Who makes the paths of rows; None where there are none."""
    if not loss.constant_curvature or members is not None or not recipe.elastic_net:
        return None
    return partial(
        NetPaths,
        n_points=recipe.elastic_net,
        ratio=recipe.ratio,
        with_refits=recipe.refits,
    )


@dataclass(frozen=True)
class NetPaths:
    """Points of the elastic net on training sets of the same rows, and their refits.

    Parameters
    ----------
    rows : AugmentedRows
        The rows.
    n_points : int
        Points of the path; five at most.
    ratio : float
        Share of the l1 norm.
    with_refits : bool
        Whether one strength is fitted on the support of every point, too.
    columns : int
        Largest working set of the path; later points repeat the last one.
    """

    rows: AugmentedRows
    n_points: int
    ratio: float
    with_refits: bool
    columns: int = 400

    def of(self, problem: LargeProblem, index: Array) -> list[PathPoint]:
        """Both families, with working coefficients of ``problem``."""
        metric = self._metric(index)
        fit = self._fit(index, metric)
        n_points, penalized = min(self.n_points, _POINTS), self.rows.penalized
        yy = float((fit.weight[:, None] * fit.target**2).sum())
        oracle = RowsOracle(fit, penalized, yy)
        grid = relative_grid(float(fit.weight_sum), len(penalized), n_points)
        descent, size = Descent(limit=self.columns), self.rows.column_size
        path = elastic_net_strengths(oracle, grid, self.ratio, descent, size)
        found = {"elastic_net": path}
        if self.with_refits:
            found["refit"] = refits(oracle, path[0], self.rows.n_free, None)
        metric = metric[penalized]
        out: list[PathPoint] = []
        for name, points in found.items():
            for k, (v, w) in enumerate(zip(*points, strict=True)):
                full = np.zeros((fit.n_features, w.shape[1]))
                full[penalized] = w
                coef = np.concatenate([fit.free_coef(full), metric[:, None] * w])
                working = problem.layout.working(coef).astype(problem.precision)
                out.append((name, float(k), v * metric**2, working))
        return out

    @cached_property
    def _design(self) -> Design:
        """All columns; those without penalty keep ``v = 0`` in it."""
        design, shift = as_design(self.rows.X), self.rows.shift.copy()
        shift[self.rows.free] = 0.0  # no product needs them
        return Centered(design, shift, np.ones(len(shift))) if shift.any() else design

    def _fit(self, index: Array, metric: Array) -> RowsDataFit:
        """Rows as a data fit of scaled columns, from which free ones are swept."""
        rows, everything = self.rows, np.arange(self.rows.n_rows)
        weight = np.zeros(rows.n_rows)
        weight[index] = rows.weight[index]
        design = self._design
        if rows.standardize:
            design = Centered(design, np.zeros(len(metric)), 1.0 / metric)
        sweep = Sweep.of(rows.free_block(everything), weight) if rows.n_free else None
        return RowsDataFit(design, rows.targets(everything), weight, sweep)

    def _metric(self, index: Array) -> Array:
        """Factors of all columns; ones unless a shared strength needs them."""
        ones = np.ones(self.rows.X.shape[1])
        if not self.rows.standardize:
            return ones
        plain = self._fit(index, ones)
        return unit_metric(plain.curvature_diag, float(plain.weight_sum))
