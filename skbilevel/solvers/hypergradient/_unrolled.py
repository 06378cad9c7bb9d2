"""Reverse-mode differentiation of the steps that the inner solver made."""

from __future__ import annotations

from dataclasses import dataclass

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
