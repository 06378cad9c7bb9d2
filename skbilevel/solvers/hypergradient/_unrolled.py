"""Hypergradients from the steps or the ends of inner descents: no adjoint system."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from skbilevel._typing import Array
from skbilevel.solvers._oracle_base import HypergradientRequest, HypergradientValue


@dataclass(frozen=True)
class Unrolled:
    """Derivative of the outer loss at the T-th iterate, by the chain rule.

    For an inner solver that keeps its iterates ``w_0, ..., w_T`` (`GradientDescent`
    with ``keep=True``), with M the metric of its steps::

        a <- f_w(theta, w_T),   grad <- f_theta(theta, w_T)
        for t = T-1, ..., 0:
            d    <- M^-1 a
            grad <- grad - g_theta_w(theta, w_t) d
            a    <- a - g_ww(theta, w_t) d

    Notes
    -----
    This is iterative differentiation (ITD). It is the exact derivative of the T-step
    map with two things held fixed: the start ``w_0``, also where it is the end of an
    earlier descent, and the steps ``1 / M``, although M grows with the strengths.
    Neither matters in the limit: the error falls with T like that of the iterates.
    From a start that is warm, few steps give too small a response; see `PZOBO`.

    Cost: a Hessian product and a cross product for each step, memory of T iterates.
    No linear system is solved, so there is nothing to warm-start.

    References
    ----------
    L. Franceschi, M. Donini, P. Frasconi, M. Pontil (2017). Forward and reverse
    gradient-based hyperparameter optimization. ICML.
    """

    requires = frozenset({"trajectory"})

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and gradient at the last iterate."""
        problem, theta, descent = request.problem, request.theta, request.descent
        outer = problem.outer.at(theta, descent.w)
        grad, a = outer.grad_theta, outer.grad
        for w in descent.trajectory[-2::-1]:
            point = problem.inner.at(theta, w)
            d = a / descent.metric
            grad = grad - point.cross(d)
            a = a - point.hvp(d)
        return HypergradientValue(outer.value, grad, None, descent.converged)


# Descents that are held side by side: more of them make products no faster.
_AT_ONCE = 32


@dataclass(frozen=True)
class PZOBO:
    """Response to random directions in theta, without any second derivative.

    With ``w(theta)`` what the inner solver reaches from its start, Q directions and a
    smoothing mu::

        u_1, ..., u_Q ~ N(0, I)
        delta_q <- (w(theta + mu u_q) - w(theta)) / mu
        grad    <- f_theta + (1/Q) sum_q <delta_q, f_w> u_q

    Parameters
    ----------
    n_directions : int
        Q, the number of inner descents of a call besides the first.
    smoothing : float
        mu, in the units of theta: 0.01 to 0.1 for logarithms of strengths. Directions
        may leave the box of theta by some multiples of it.

    Notes
    -----
    Works with every inner solver, and needs neither Hessian nor cross products. All
    descents of a call have the same start and the same random numbers, so that their
    differences are responses and not noise. The cost is that of Q descents; where the
    inner solver is gradient descent with a budget, and the problem a linear model,
    they are made side by side by products with matrices: two to four times faster.

    *Variance.* The directions are not normalized, so the estimate has the scale of
    the gradient. For small mu it is ``(1/Q) sum_q u_q u_q^T`` times the derivative of
    the T-step map, whose mean is exact and whose relative error in quadratic mean is
    ``sqrt((d + 1) / Q)`` with d the length of theta. Q has to grow with d, or the outer
    optimizer has to average (`Adam`). Differences in both senses, at ``theta - mu u``
    as well, would cost as much as twice the directions and are worth less.

    *Too small a response.* From a warm start, T steps of length a move the solution
    along an eigenvector of the Hessian with eigenvalue h by the share
    ``1 - (1 - a h)^T`` of its full response, at worst ``1 - (1 - a mu_g)^T`` with mu_g
    the smallest eigenvalue. The estimate is short by this factor; it keeps the sign,
    and it is what `Unrolled` computes. The factor differs between eigenvectors, so no
    number repairs it: give the inner solver more steps than an implicit gradient would
    need, or a tolerance in place of a budget (then the smoothing has to stay well
    above that tolerance). The metric of `GradientDescent` helps, because penalties
    are in it: where they dominate, ``a h`` is near one. Problems with other metrics
    should provide ``smoothness``, without which steps rest on Hessian products.

    References
    ----------
    D. Sow, K. Ji, Y. Liang (2022). On the convergence theory for Hessian-free bilevel
    algorithms. NeurIPS.
    """

    n_directions: int = 10
    smoothing: float = 0.01
    requires = frozenset[str]()

    def __post_init__(self) -> None:
        if self.n_directions < 1 or not self.smoothing > 0.0:
            raise ValueError("PZOBO needs at least one direction and smoothing > 0.")

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and estimated gradient at the end of the inner descent."""
        descent = request.descent
        outer = request.problem.outer.at(request.theta, descent.w)
        total = np.zeros_like(request.theta)
        for directions in self._draw(request.rng, len(request.theta)):
            total += response(request, outer.grad, directions, self.smoothing)
        grad = outer.grad_theta + total / self.n_directions
        return HypergradientValue(outer.value, grad, None, descent.converged)

    def _draw(self, rng: np.random.Generator, size: int) -> Iterator[Array]:
        """Directions, as many as are held at a time."""
        for start in range(0, self.n_directions, _AT_ONCE):
            rows = min(_AT_ONCE, self.n_directions - start)
            yield rng.standard_normal((rows, size))


def response(
    request: HypergradientRequest, outer_grad: Array, directions: Array, mu: float
) -> Array:
    """``sum_q <w(theta + mu u_q) - w, f_w> u_q / mu`` over the rows of directions."""
    many = request.again_many or _one_by_one(request.again)
    moved = many(request.theta + mu * directions) - request.descent.w
    # Beyond the box the problem may have no solution: such a direction tells nothing.
    moved = np.where(np.isfinite(moved).all(axis=1, keepdims=True), moved, 0.0)
    return np.asarray((moved @ outer_grad / mu) @ directions)


def _one_by_one(again: Callable[[Array], Array]) -> Callable[[Array], Array]:
    return lambda thetas: np.stack([again(theta) for theta in thetas])
