"""A new inner solver, gradient descent with momentum, in use and under the checks."""

from dataclasses import dataclass

import numpy as np

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    LBFGSB,
    Descent,
    DoubleLoop,
    GradientDescent,
    ImplicitGradient,
    metric_norm,
    metric_of,
    minimize_bilevel,
)
from skbilevel.testing import check_solver


@dataclass(frozen=True)
class Nesterov:
    """Steps from a point ahead; the momentum starts anew where g would grow.

    ::

        w+ = u - M^-1 g_w(theta, u)
        u  = w+ + k / (k + 3) (w+ - w)

    Parameters
    ----------
    max_iter : int
        Largest number of steps; one gradient each.
    """

    max_iter: int = 5000
    requires = frozenset()  # words that the inner problem must provide
    provides = frozenset()  # words for hypergradients

    def solve(self, inner, theta, w, *, threshold, rng, memory=None, outer_grad=None):
        """Descend from ``w`` until the gradient is below ``threshold``."""
        metric = metric_of(inner, theta, w)
        ahead, k = w, 0
        for n_iter in range(self.max_iter):
            point = inner.at(theta, ahead)
            if metric_norm(point.grad, metric) <= threshold:
                return Descent(ahead, point, True, n_iter)
            last, w = w, ahead - point.grad / metric
            k = k + 1 if point.grad @ (w - last) <= 0.0 else 0
            ahead = w + k / (k + 3) * (w - last)
        return Descent(w, inner.at(theta, w), False, self.max_iter)


def stiff_problem(p=20):
    """A quadratic toy whose curvatures lie between 0.001 and 1."""
    bend = np.logspace(-3, 0, p)
    inner = InnerOracles(
        value=lambda theta, w: 0.5 * bend @ w**2 - bend @ (theta * w),
        grad=lambda theta, w: bend * (w - theta),
        hvp=lambda theta, w, d: bend * d,
        cross=lambda theta, w, d: -bend * d,
        smoothness=lambda theta: 1.0,
    )
    outer = OuterOracles(
        value=lambda theta, w: 0.5 * ((w - 1) ** 2).sum(),
        grad=lambda theta, w: w - 1,
    )
    return OracleProblem(inner, outer, np.zeros(p), np.zeros(p))


def main():
    """Check the solver, then count the gradients that it saves."""
    print(check_solver(DoubleLoop(Nesterov(), ImplicitGradient(), LBFGSB())))
    for inner in (Nesterov(), GradientDescent()):
        loop = DoubleLoop(inner, ImplicitGradient(), LBFGSB())
        result = minimize_bilevel(stiff_problem(), loop, tol=1e-6)
        name, error = type(inner).__name__, np.abs(result.theta - 1).max()
        print(f"{name:<15} {result.counts.n_grad:>6} gradients, error {error:.0e}")


if __name__ == "__main__":
    main()
