"""Hypergradients that leave the inverse Hessian out."""

from __future__ import annotations

from dataclasses import dataclass

from skbilevel.solvers._oracle_base import (
    HypergradientRequest,
    HypergradientValue,
    metric_of,
)


@dataclass(frozen=True)
class JacobianFree:
    """``F' = f_theta - cross(q)`` with a diagonal in the place of the Hessian.

    ::

        q = f_w / M     scaled
        q = f_w         as published

    Parameters
    ----------
    scaled : bool
        Whether to divide by the metric M of the inner problem. The published form is
        that of fixed points ``w = h(w)``, whose Jacobian is near the identity. The
        Hessian of a loss has units, and is far from it: f_w itself is then of no
        particular length, and with strengths of different sizes it points elsewhere.

    Notes
    -----
    The scaled form is the first term of the Neumann series, hence too short, never
    too long. With one strength for all features both forms are proportional. Cost:
    no Hessian product, one cross product. The error does not shrink with the inner
    tolerance.

    References
    ----------
    S. W. Fung, H. Heaton, Q. Li, D. McKenzie, S. Osher, W. Yin (2022). JFB:
    Jacobian-free backpropagation for implicit networks. AAAI.
    """

    scaled: bool = True
    requires = frozenset[str]()

    def evaluate(self, request: HypergradientRequest) -> HypergradientValue:
        """Value and approximate gradient at the end of the inner descent."""
        problem, theta, w = request.problem, request.theta, request.descent.w
        outer = problem.outer.at(theta, w)
        q = outer.grad
        if self.scaled:
            q = q / metric_of(problem.inner, theta, w)
        grad = outer.grad_theta - request.descent.point.cross(q)
        return HypergradientValue(outer.value, grad, q)
