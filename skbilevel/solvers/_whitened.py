"""Newton's method for whitened problems."""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._target_features import predict
from skbilevel.solvers._whitened_problem import Curvature, Whitened

_MAX_ITER, _MAX_HALVINGS = 100, 30
# A factor is kept as a preconditioner while it makes do with so many iterations.
_STALE_UP_TO = 25
# Relative accuracy of a step far from the solution.
_ROUGH = 0.1
# Decrements that are small beside the objective.
_FLAT = 1e-6
# The unit of the loss is at least this share of its value at the start: where all
# counts are zero, the unit falls without end.
_FALLEN = 1e-12


@record
class WhitenedSolution:
    """Where Newton's method ended.

    Parameters
    ----------
    T : ndarray of shape (m + r, t)
        Coefficients.
    eta : ndarray of shape (n, t)
        Predictions.
    grad : ndarray of shape (m + r, t)
        Gradient that is left.
    converged : bool
        Whether the decrement fell below the tolerance.
    n_iter : int
        Newton steps.
    """

    T: Array
    eta: Array
    grad: Array
    converged: bool
    n_iter: int


def minimize_whitened(
    problem: Whitened,
    start: Array | None = None,
    *,
    tol: float = 1e-10,
    max_iter: int = _MAX_ITER,
) -> WhitenedSolution:
    """Newton's method with backtracking; predictions are updated, not recomputed.

    Parameters
    ----------
    problem : Whitened
        The problem.
    start : ndarray of shape (m + r, t), optional
        Zero by default.
    tol : float
        The search ends where the decrement ``g^T H^-1 g``, an estimate of twice the
        distance to the minimum, is below ``tol`` times the sum of the weights, in the
        unit of the loss.
    max_iter : int
        Most steps.
    """
    shape = (problem.width, problem.n_targets)
    T = np.zeros(shape)
    eta = problem.eta(T)
    value, least = problem.value(T, eta), 0.0
    if start is not None:
        warm = np.array(start, dtype=np.float64)
        warm_eta = problem.eta(warm)
        warm_value = problem.value(warm, warm_eta)
        # A start made from the gradients of an exact fit is rounding error: zero may be
        # the better one.
        if warm_value <= value:
            T, eta, value = warm, warm_eta, warm_value
    accuracy, stale = _ROUGH, None
    for n_iter in range(1, max_iter + 1):
        grad, enough = problem.grad(T, eta), max(problem.enough(tol, eta), least)
        least = max(least, _FALLEN * enough)
        curvature = Curvature(problem, eta, stale)
        step, n_inner = curvature.solve(-grad, accuracy, 0.1 * enough)
        stale = curvature.factor if n_inner <= _STALE_UP_TO else None
        slope = float((grad * step).sum())
        # As accurate as the next step of an exact method would be.
        accuracy = min(_ROUGH, max(-slope, 0.0) / (10.0 * enough / tol))
        before = value
        T, eta, value, moved = _line_search(problem, T, eta, value, step, slope)
        # Where the objective is all rounding no further step can be judged.
        flat = before - value <= problem.noise * abs(value) and -slope <= _FLAT * abs(
            value
        )
        # The last step is taken, too: it costs nothing and squares the error.
        if -slope <= enough or flat or not moved:
            grad, near = problem.grad(T, eta), flat or -slope <= 1e4 * enough
            return WhitenedSolution(T, eta, grad, near, n_iter)
    return WhitenedSolution(T, eta, problem.grad(T, eta), False, max_iter)


def _line_search(
    problem: Whitened, T: Array, eta: Array, value: float, step: Array, slope: float
) -> tuple[Array, Array, float, bool]:
    """Halve the step until the objective falls; one product with Z in all."""
    along = predict(problem.Z, step)
    length, noise = 1.0, problem.noise * abs(value)
    for _ in range(_MAX_HALVINGS):
        new_T, new_eta = T + length * step, eta + length * along
        new = problem.value(new_T, new_eta)
        if new <= value + 1e-4 * length * slope + noise:
            return new_T, new_eta, new, True
        length *= 0.5
    return T, eta, value, False
