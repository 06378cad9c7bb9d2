"""A new criterion, Mallows' Cp, checked by differences and minimized."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skbilevel.problems import (
    GCV,
    CriterionPoint,
    CriterionProblem,
    FeatureStrengths,
    SweptRows,
    as_design,
)
from skbilevel.solvers import minimize_bilevel


@dataclass(frozen=True)
class MallowsCp:
    """``(0.5 |r|^2 + noise df) / n``: unbiased for half of the error of new targets.

    With ``M = (I + X V X^T)^-1``, residuals are ``r = M y``, and degrees of freedom
    ``df = n - tr(M)``.

    Parameters
    ----------
    X : ndarray of shape (n, p)
        Centred columns.
    y : ndarray of shape (n,)
        Centred targets.
    noise : float
        Their noise variance, which is known.
    """

    X: np.ndarray
    y: np.ndarray
    noise: float
    has_curvature: ClassVar[bool] = True

    @property
    def n_features(self):
        """Number of variances."""
        return self.X.shape[1]

    def at(self, v):
        """Value, gradient and Gauss-Newton matrix at ``v``."""
        X, n = self.X, len(self.y)
        M = np.linalg.inv(np.eye(n) + (X * v) @ X.T)
        r, B = M @ self.y, M @ X
        value = (0.5 * r @ r + self.noise * (n - np.trace(M))) / n
        grad = (self.noise * (B**2).sum(axis=0) - (X.T @ r) * (B.T @ r)) / n

        def curvature(D):
            moved = (B * (X.T @ r)) @ D
            return moved.T @ moved / n

        return CriterionPoint(value, grad, curvature)


def check_derivatives(criterion, v):
    """Errors of the gradient, and of the curvature of residuals, by differences."""
    point, h = criterion.at(v), 1e-6

    def residuals(v):
        K = np.eye(len(criterion.y)) + (criterion.X * v) @ criterion.X.T
        return np.linalg.solve(K, criterion.y) / np.sqrt(len(K))

    def differences(fun):
        return np.array(
            [(fun(v + h * e) - fun(v - h * e)) / (2 * h) for e in np.eye(len(v))]
        )

    slope, J = differences(lambda v: criterion.at(v).value), differences(residuals)
    pairs = (point.grad, slope), (point.curvature(np.eye(len(v))), J @ J.T)
    return [abs(ours - theirs).max() / abs(theirs).max() for ours, theirs in pairs]


def data(n=60, p=20, seed=0):
    """Few columns of twenty matter; the noise variance is one."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    coef = np.where(np.arange(p) < 4, 1.0, 0.0)
    y = X @ coef + rng.standard_normal(n)
    return X - X.mean(axis=0), y - y.mean(), coef


def main():
    """Print errors of derivatives, then errors of coefficients of two criteria."""
    X, y, coef = data()
    ours = MallowsCp(X, y, noise=1.0)
    print("errors", *(f"{e:.0e}" for e in check_derivatives(ours, np.full(20, 0.1))))
    rows = SweptRows(as_design(X), y[:, None], np.ones(len(y)), np.ones((len(y), 1)))
    strengths = FeatureStrengths(20, 0.05)
    for criterion in (GCV.of(rows), ours):
        problem = CriterionProblem(criterion, strengths, strengths.bounds(0.0, 1e6))
        v = minimize_bilevel(problem, theta0=strengths.init(0.05)).v
        found = v * (X.T @ np.linalg.solve(np.eye(len(y)) + (X * v) @ X.T, y))
        name, error = type(criterion).__name__, np.linalg.norm(found - coef)
        print(f"{name:9s} {(v > 0).sum():2d} columns, error {error:.2f}")


if __name__ == "__main__":
    main()
