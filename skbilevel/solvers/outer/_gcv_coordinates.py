"""Generalized cross-validation, minimized exactly over one strength at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._bilevel import CriterionProblem
from skbilevel.problems._gcv_lines import GCVLines
from skbilevel.problems._leave_one_out import GCV
from skbilevel.problems._parametrizations import FeatureStrengths
from skbilevel.solvers._base import Objective, OnIter, OuterResult, Status, Trace
from skbilevel.solvers.outer._lbfgsb import stationarity_norm

# A sweep that lowers the criterion by less than this share changes rounding only.
_FLAT = 1e-13


@dataclass(frozen=True)
class GCVCoordinates:
    """Fractional coordinate descent (FCD) on generalized cross-validation.

    GCV is a ratio, and along one variance its global minimum has a closed form: zero,
    the upper bound, or one stationary point. An iteration is a sweep over all features;
    a step costs as much as ``r^2`` products, r the smaller number of rows and columns.

    References
    ----------
    G. Yuan, "Coordinate descent methods for fractional minimization", ICML 2023 (the
    method; the step for this criterion is our own).
    """

    def minimize(
        self,
        objective: Objective,
        theta0: Array,
        bounds: tuple[Array, Array],
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        on_iter: OnIter | None = None,
    ) -> OuterResult:
        """Minimize; tol bounds the projected gradient relative to the first value.

        Raises
        ------
        ValueError
            If the objective is anything but `GCV` with one strength per feature.
        """
        problem = _checked(objective)
        # Parametrization and box are separable: they map ends to ends.
        strengths = problem.parametrization
        low, high = (strengths.v(np.asarray(each, dtype=float)) for each in bounds)
        lines = GCVLines.of(problem.criterion)  # type: ignore[arg-type]
        theta = np.clip(np.asarray(theta0, dtype=float), *bounds)
        trace, status, n_iter = Trace(on_iter), Status.MAX_ITER, 0
        value, norm = _look(objective, theta, bounds)
        trace.add(value, norm, 0.0)
        size = abs(value) or 1.0
        # A start that is stationary may have neighbours in which a strength vanishes.
        while (norm > tol * size or not n_iter) and n_iter < max_iter:
            before, n_iter = value, n_iter + 1
            tried = strengths.init(_swept(lines, strengths.v(theta), low, high))
            found = _look(objective, tried, bounds)
            # Beside a huge variance a sweep may raise the criterion, by rounding.
            if found[0] <= before:
                theta, (value, norm) = tried, found
            trace.add(value, norm, 0.0)
            if trace.tell(n_iter, theta):
                status = Status.STOPPED
                break
            if before - value <= _FLAT * size:
                status = Status.FLAT
                break
        if norm <= tol * size and status is not Status.STOPPED:
            status = Status.CONVERGED
        return OuterResult(theta, value, norm, status, n_iter, trace.history())


def _swept(lines: GCVLines, v: Array, low: Array, high: Array) -> Array:
    """v after one step in every feature; M is made anew for every sweep."""
    v, M = v.copy(), lines.inverse(v)
    for j in range(len(v)):
        v[j], M = lines.step(M, v, j, float(low[j]), float(high[j]))
    return v


def _look(
    objective: Objective, theta: Array, bounds: tuple[Array, Array]
) -> tuple[float, float]:
    value, grad = objective(theta, 0.0)
    return value, stationarity_norm(theta, grad, bounds)


def _checked(objective: Any) -> CriterionProblem:
    problem = getattr(objective, "problem", None)
    if (
        isinstance(problem, CriterionProblem)
        and isinstance(problem.criterion, GCV)
        and isinstance(problem.parametrization, FeatureStrengths)
        and problem.hyperpenalty is None
    ):
        return problem
    raise ValueError(
        "GCVCoordinates minimizes the criterion GCV over one strength per feature "
        "(FeatureStrengths), without a hyperpenalty; choose LBFGSB for anything else."
    )
