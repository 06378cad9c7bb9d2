"""A new loss, for targets with outliers, under the checks and tuned by folds."""

from dataclasses import dataclass

import numpy as np

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    RowsDataFit,
    SquaredLoss,
    Task,
    as_design,
    linear_oracles,
)
from skbilevel.solvers import minimize_bilevel
from skbilevel.testing import check_problem


@dataclass(frozen=True)
class PseudoHuberLoss:
    """``delta^2 (sqrt(1 + (r / delta)^2) - 1)`` with ``r = eta - y``.

    Half a square near zero, a line of slope ``delta`` far away, and smooth between.

    Parameters
    ----------
    delta : float
        Residuals beyond it count as outliers.
    """

    delta: float = 1.0
    constant_curvature = False

    def _root(self, eta, y):
        return np.sqrt(1.0 + ((eta - y) / self.delta) ** 2)

    def value(self, eta, y):
        """Loss of every entry."""
        return self.delta**2 * (self._root(eta, y) - 1.0)

    def grad(self, eta, y):
        """Derivative in ``eta``: the residual, bounded."""
        return (eta - y) / self._root(eta, y)

    def curvature(self, eta, y):
        """Second derivative; positive everywhere, so the loss is convex."""
        return self._root(eta, y) ** -3

    def second_derivative(self, eta, y):
        """The map ``D -> loss'' D``."""
        h = self.curvature(eta, y)
        return lambda D: h * D

    def third_derivative(self, eta, y):
        """The bilinear map that is the third derivative: for leave-one-out only."""
        k = -3.0 * (eta - y) / self.delta**2 * self._root(eta, y) ** -5
        return lambda U, V: k * U * V

    def mean(self, eta):
        """Prediction from the linear predictor."""
        return eta


def check_derivatives(loss, eta, y, h=1e-5):
    """Largest error of each derivative against central differences."""
    D = np.ones_like(eta)

    def slope(function):
        return (function(eta + h) - function(eta - h)) / (2 * h)

    return {
        "grad": abs(loss.grad(eta, y) - slope(lambda x: loss.value(x, y))).max(),
        "curvature": abs(
            loss.second_derivative(eta, y)(D) - slope(lambda x: loss.grad(x, y))
        ).max(),
        "third": abs(
            loss.third_derivative(eta, y)(D, D) - slope(lambda x: loss.curvature(x, y))
        ).max(),
    }


def folds_problem(X, y, loss, n_folds=5):
    """One strength per feature; the first column of X is an unpenalized constant."""
    n, p = X.shape
    design, y, fold = as_design(X), y[:, None], np.arange(n) % n_folds
    tasks = []
    for k in range(n_folds):
        train, valid = (fold != k).astype(float), (fold == k).astype(float)
        inner = RowsDataFit(design, y, train, loss=loss)
        outer = RowsDataFit(design, y, valid, loss=loss)
        scale = n / train.sum()  # theta is in units of all rows
        tasks.append(Task(inner, outer, valid.sum(), scale, n_free=1))
    strengths = FeatureStrengths(p - 1)
    return BilevelProblem(tuple(tasks), strengths, strengths.bounds(1e-6, 1e2))


def check_oracles(problem, theta0):
    """Every derivative that solvers ask of the whole problem, against differences."""
    return check_problem(linear_oracles(problem, theta0)).checks


def data(n=120, p=8, seed=0):
    """Three useful features, five useless ones, and 5 % wild targets."""
    rng = np.random.default_rng(seed)
    X = np.c_[np.ones(n), rng.standard_normal((n, p))]
    y = X[:, :4] @ [1.0, 2.0, -1.0, 0.5] + 0.5 * rng.standard_normal(n)
    y[rng.random(n) < 0.05] += 30.0
    return X, y


def main():
    """Check the loss, tune with it, and compare its coefficients with least squares."""
    rng = np.random.default_rng(1)
    eta, y = 3.0 * rng.standard_normal((2, 50, 1))
    for name, error in check_derivatives(PseudoHuberLoss(1.5), eta, y).items():
        print(f"{name:16} error of the derivative {error:.0e}")
    X, y = data()
    for loss in (SquaredLoss(), PseudoHuberLoss(1.0)):
        problem = folds_problem(X, y, loss)
        theta0 = problem.parametrization.init(0.1)
        result = minimize_bilevel(problem, "newton", theta0=theta0)
        coef = result.w.reshape(5, -1).mean(axis=0)  # of the five training sets
        error = abs(coef - [1.0, 2.0, -1.0, 0.5, 0, 0, 0, 0, 0]).max()
        print(f"{type(loss).__name__:16} {result.message} Error {error:.2f}")
    print(len(check_oracles(problem, theta0)), "checks of the problem hold")


if __name__ == "__main__":
    main()
