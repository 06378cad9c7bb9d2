"""Generalized linear models to solve and to differentiate."""

from dataclasses import dataclass

import numpy as np
import pytest

from skbilevel.problems import (
    BilevelProblem,
    FeatureStrengths,
    GammaLoss,
    LogisticLoss,
    OracleProblem,
    PoissonLoss,
    SoftmaxLoss,
    TweedieLoss,
    as_design,
    linear_oracles,
    rows_task,
)
from skbilevel.problems._bilevel import GLMTasks

# A new loss is one more line here, and one in `draw_targets`.
GLM_LOSSES = {
    "binary": LogisticLoss(),
    "softmax": SoftmaxLoss(),
    "poisson": PoissonLoss(),
    "gamma": GammaLoss(),
    "tweedie": TweedieLoss(1.4),
}


def draw_targets(loss, eta, rng):
    """Targets (n, t) that a model of this loss could have made."""
    n = len(eta)
    if isinstance(loss, LogisticLoss):
        return (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
    if isinstance(loss, SoftmaxLoss):
        scores = np.column_stack([eta, -eta, 0.3 * eta]) + rng.gumbel(size=(n, 3))
        return np.eye(3)[scores.argmax(axis=1)]
    amount = (rng.gamma(2.0, size=n) * np.exp(eta))[:, None]
    if isinstance(loss, GammaLoss):
        return amount
    count = rng.poisson(np.exp(eta))[:, None].astype(float)
    return count * amount if isinstance(loss, TweedieLoss) else count


@pytest.fixture(params=list(GLM_LOSSES), scope="session")
def glm_loss(request):
    """Every loss of a generalized linear model."""
    return GLM_LOSSES[request.param]


@pytest.fixture(scope="session")
def make_glm():
    """Return a function that draws a model as `GLMTasks`."""

    def draw(loss, n, p, *, plain=False, outer=None, seed=0):
        rng = np.random.default_rng(seed)
        X, free = rng.standard_normal((n, p)), np.ones((n, 1))
        y = draw_targets(loss, 0.5 * X[:, :3] @ rng.standard_normal(min(3, p)), rng)
        weight, offset = np.ones(n), None
        if not plain:
            free = np.hstack([free, rng.standard_normal((n, 1))])
            offset = 0.3 * rng.standard_normal(y.shape)
            weight = rng.uniform(0.3, 2.0, n)
            weight[0] = 0.0
        return GLMTasks(as_design(X), y, weight, loss, outer or loss, free, offset)

    return draw


@dataclass(frozen=True)
class OracleCase:
    """A small bilevel problem and its exact solution by dense Newton steps."""

    problem: OracleProblem
    theta: np.ndarray

    def solution(self, theta):
        """Inner solution at theta."""
        w = self.problem.w0.copy()
        for _ in range(60):
            point = self.problem.inner.at(theta, w)
            w = w - np.linalg.solve(self.hessian(theta, w), point.grad)
        return w

    def hessian(self, theta, w):
        """Hessian of the inner objective."""
        point = self.problem.inner.at(theta, w)
        return np.stack([point.hvp(e) for e in np.eye(len(w))])

    def value(self, theta):
        """``F(theta)``."""
        return self.problem.outer.at(theta, self.solution(theta)).value

    def grad(self, theta):
        """``F'(theta)``."""
        w = self.solution(theta)
        outer = self.problem.outer.at(theta, w)
        q = np.linalg.solve(self.hessian(theta, w), outer.grad)
        return outer.grad_theta - self.problem.inner.at(theta, w).cross(q)


def draw_oracles(kind, n=60, p=8, seed=0, reach=5.0):
    """A hold-out of a linear model with one strength ``1 / v_j`` per feature.

    theta is the logarithm of v, up to a constant, in a box of width ``2 reach``.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.linspace(0.5, 1.5, p)
    eta = X[:, :3] @ np.array([1.0, -1.0, 0.5])
    train, valid = np.arange(0, n, 2), np.arange(1, n, 2)
    v0 = np.exp(-reach) * 2.0 / n
    shared = FeatureStrengths(p, v0)
    bounds = shared.bounds(v0, v0 * np.exp(2 * reach))
    if kind == "ridge":
        y = (eta + rng.standard_normal(n))[:, None]
        task = rows_task(as_design(X), y, np.ones(n), train, valid)
    else:
        y = (eta + rng.logistic(size=n) > 0)[:, None].astype(float)
        loss = LogisticLoss()
        made = GLMTasks(as_design(X), y, np.ones(n), loss, loss, np.zeros((n, 0)))
        task = made.fold(train, valid)
    theta = 0.5 * (bounds[0] + bounds[1]) + rng.uniform(-1, 1, p)
    problem = BilevelProblem((task,), shared, bounds)
    return OracleCase(linear_oracles(problem, theta), theta)


@pytest.fixture(params=["ridge", "logistic"], scope="session")
def oracle_case(request):
    """Every kind of `OracleCase`."""
    return draw_oracles(request.param)


@pytest.fixture(scope="session")
def make_oracles():
    """Return `draw_oracles`."""
    return draw_oracles
