"""Generalized linear models to solve and to differentiate."""

import numpy as np
import pytest

from skbilevel.problems import (
    GammaLoss,
    LogisticLoss,
    PoissonLoss,
    SoftmaxLoss,
    TweedieLoss,
    as_design,
)
from skbilevel.problems._glm_tasks import GLMTasks

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
