"""One strength for all columns, on hold-outs, from strong to weak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel.model_selection._large_glm_search import HoldOut
from skbilevel.problems import RowsDataFit, zeros
from skbilevel.problems._row_curvature import RowCurvature
from skbilevel.solvers.inner._newton_cg import NewtonCG

# The path starts where the penalty is this many times the curvature.
_STRONG = 100.0
# Strengths per point, and the most points.
_FACTOR, _POINTS = 5.0, 14
# The path ends where a point gains less than this share of the null loss: weaker
# strengths cost more and more, and metadata may weaken them where it pays.
_GAIN = 2e-3


@dataclass(frozen=True)
class SharedPoint:
    """The best point of the path.

    Parameters
    ----------
    log_v : float
        Between the points of the path, where a parabola has its minimum.
    edge : int
        -1 where the path was best at its strongest point, 1 at its weakest, else 0.
    loss, null : float
        Mean hold-out loss at the best point, and without penalized columns.
    states : tuple
        Coefficients of every hold-out at the best point.
    """

    log_v: float
    edge: int
    loss: float
    null: float
    states: tuple[Any, ...]


def curvature_level(fit: RowsDataFit, n_free: int) -> float:
    """Typical curvature of a coefficient at the null model; 0 where there is none.

    A mean that columns enter by their own curvature: rare columns, of which there
    are many, say little about the strength at which fits begin to differ.
    """
    eta = fit.at(zeros(fit)).eta
    diagonal = fit.design.column_squares(RowCurvature.of(fit, eta).diagonal)
    size = diagonal[n_free:].mean(axis=1, dtype=np.float64)
    total = float(size.sum())
    return float((size**2).sum()) / total if total > 0 else 0.0


def shared_path(
    holdouts: Sequence[HoldOut],
    solver: NewtonCG,
    tol: float,
    box: tuple[float, float],
) -> SharedPoint:
    """Walk to weaker strengths until the hold-out loss hardly drops.

    ``box`` limits ``log v``. Every point starts at the one before, which is what makes
    weak strengths cheap.
    """
    layout = holdouts[0].problem.layout
    ones = np.ones(layout.n_penalized)
    total = sum(float(each.task.weight) for each in holdouts)
    fits = [each.train for each in holdouts]
    level = max(curvature_level(fit, layout.n_free) for fit in fits)
    grid = -np.log(_STRONG * max(level, 1e-300)) + np.log(_FACTOR) * np.arange(_POINTS)
    grid = np.unique(np.clip(grid, *box))
    none = layout.variances(0.0 * ones)
    states: list[Any] = [solver.solve(fit, none, None, tol=tol).state for fit in fits]
    null = _losses(holdouts, states) / total
    losses: list[float] = []
    best: tuple[Any, ...] = ()
    for log_v in grid:
        v = layout.variances(np.exp(log_v) * ones)
        for k, fit in enumerate(fits):
            states[k] = solver.solve(fit, v, states[k], tol=tol).state
        losses.append(_losses(holdouts, states) / total)
        if losses[-1] <= min(losses):
            best = tuple(states)
        if len(losses) > 1 and losses[-1] > losses[-2] - _GAIN * null:
            break
    k = int(np.argmin(losses))
    edge = -1 if k == 0 else 1 if k == len(grid) - 1 else 0
    log_v = float(grid[k])
    if 0 < k < len(losses) - 1:
        log_v += np.log(_FACTOR) * _vertex(losses[k - 1 : k + 2])
        log_v = float(np.clip(log_v, *box))
    return SharedPoint(log_v, edge, losses[k], null, best)


def _losses(holdouts: Sequence[HoldOut], states: Sequence[Any]) -> float:
    return float(
        sum(
            float(each.task.outer.at(W).value)
            for each, W in zip(holdouts, states, strict=True)
        )
    )


def _vertex(values: Sequence[float]) -> float:
    """Minimum of the parabola through three points at -1, 0 and 1."""
    left, middle, right = values
    bend = left - 2.0 * middle + right
    return 0.5 * (left - right) / bend if bend > 0 else 0.0
