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
from skbilevel.solvers._base import OuterResult, Status
from skbilevel.solvers.outer._search import BoxOptimizer, Search

# A sweep that lowers the criterion by less than this share changes rounding only.
_FLAT = 1e-13


@dataclass(frozen=True)
class GCVCoordinates(BoxOptimizer):
    """Fractional coordinate descent (FCD) on generalized cross-validation.

    GCV is a ratio, and along one variance its global minimum has a closed form: zero,
    the upper bound, or one stationary point. An iteration is a sweep over all features;
    a step costs as much as ``r^2`` products, r the smaller number of rows and columns.
    A ValueError is raised for any objective but `GCV` with one strength per feature.

    References
    ----------
    G. Yuan, "Coordinate descent methods for fractional minimization", ICML 2023 (the
    method; the step for this criterion is our own).
    """

    def _run(self, search: Search) -> OuterResult:
        problem = _checked(search.objective)
        # Parametrization and box are separable: they map ends to ends.
        strengths = problem.parametrization
        ends = (np.asarray(each, dtype=float) for each in search.bounds)
        low, high = (strengths.v(each) for each in ends)
        lines = GCVLines.of(problem.criterion)  # type: ignore[arg-type]
        search.start(0.0)
        # A start that is stationary may have neighbours in which a strength vanishes.
        while (status := search.status(search.n_iter > 0)) is None:
            before = search.value
            swept = _swept(lines, strengths.v(search.theta), low, high)
            theta = strengths.init(swept)
            value, grad = search.evaluate(theta, 0.0)
            # Beside a huge variance a sweep may raise the criterion, by rounding.
            if value <= before:
                search.move(theta, value, grad)
            search.note(0.0)
            flat = before - search.value <= _FLAT * search.size
            if flat and not search.stopped:
                return search.result(Status.CONVERGED if search.small else Status.FLAT)
        return search.result(status)


def _swept(lines: GCVLines, v: Array, low: Array, high: Array) -> Array:
    """v after one step in every feature; M is made anew for every sweep."""
    v, M = v.copy(), lines.inverse(v)
    for j in range(len(v)):
        v[j], M = lines.step(M, v, j, float(low[j]), float(high[j]))
    return v


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
