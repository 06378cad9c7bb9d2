"""Trust-region and surrogate searches reach bounded minima in few evaluations."""

import numpy as np
import pytest
from scipy.optimize import minimize

from skbilevel.solvers import LBFGSB, Status
from skbilevel.solvers.outer import Surrogate
from skbilevel.solvers.outer._trust_region import TrustRegion, box_quadratic


def kkt(B, g, s, low, high):
    slope = g + B @ s
    slope[(s <= low) & (slope > 0)] = 0
    slope[(s >= high) & (slope < 0)] = 0
    return np.abs(slope).max()


@pytest.mark.parametrize("seed", range(20))
def test_box_quadratic(seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((15, 12)) * 10.0 ** rng.uniform(-2, 1, 12)
    B, g = A.T @ A + 1e-6 * np.eye(12), rng.standard_normal(12)
    low = -rng.uniform(0, 1, 12) * (rng.random(12) < 0.8)
    high = rng.uniform(0, 1, 12) * (rng.random(12) < 0.8)
    s = box_quadratic(B, g, low, high)
    assert ((s >= low) & (s <= high)).all()
    wanted = minimize(
        lambda x: (g @ x + 0.5 * x @ B @ x, g + B @ x),
        np.zeros(12),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([low, high], 1),
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000},
    )
    assert g @ s + 0.5 * s @ B @ s <= wanted.fun + 1e-8 * abs(wanted.fun)


class Exponentials:
    """Sums of squares whose coordinates differ a thousandfold; one hits its bound."""

    scale = np.array([1.0, 30.0, 0.03])
    target = np.array([0.5, -1.0, -5.0])

    def __init__(self):
        self.n = 0

    def residual(self, x):
        return self.scale * (np.exp(x) - np.exp(self.target))

    def __call__(self, x, tol):
        self.n += 1
        r = self.residual(x)
        return 0.5 * float(r @ r) + 0.1, r * self.scale * np.exp(x)

    def curvature(self, x):
        return np.diag((self.scale * np.exp(x)) ** 2)


BOX = (np.array([-3.0, -3.0, -3.0]), np.array([3.0, 3.0, 3.0]))


def test_trust_region():
    fun, lines = Exponentials(), []
    found = TrustRegion().minimize(
        fun, np.zeros(3), BOX, tol=1e-8, on_iter=lambda info: lines.append(info.n_iter)
    )
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.theta, [0.5, -1.0, -3.0], atol=1e-6)
    assert found.theta[2] == -3.0
    assert lines == list(range(1, found.n_iter + 1))
    assert found.n_iter < 15
    assert len(found.history["value"]) == found.n_iter + 1
    assert (np.diff(found.history["value"]) <= 0).all()


def test_trust_region_stops():
    few = TrustRegion().minimize(Exponentials(), np.zeros(3), BOX, tol=0.0, max_iter=2)
    assert few.status is Status.MAX_ITER
    assert few.n_iter == 2
    asked = TrustRegion().minimize(
        Exponentials(), np.zeros(3), BOX, tol=0.0, on_iter=lambda info: True
    )
    assert asked.status is Status.STOPPED


@pytest.mark.parametrize("rounds", [0, 6])
def test_surrogate_needs_few_evaluations(rounds):
    fun, cheap = Exponentials(), Exponentials()
    cheap.target = cheap.target + np.array([0.05, -0.05, 0.1])
    inner = TrustRegion(cheap.curvature)
    search = Surrogate(cheap, inner, TrustRegion(fun.curvature), max_rounds=rounds)
    found = search.minimize(fun, np.zeros(3), BOX, tol=1e-6)
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.theta, [0.5, -1.0, -3.0], atol=1e-4)
    assert fun.n <= 7
    assert found.n_iter == len(found.history["value"])


def test_surrogate_that_misleads_is_left():
    fun, cheap = Exponentials(), Exponentials()
    cheap.target = -cheap.target
    found = Surrogate(cheap, LBFGSB(), LBFGSB()).minimize(
        fun, np.zeros(3), BOX, tol=1e-6
    )
    assert found.status is Status.CONVERGED
    np.testing.assert_allclose(found.theta, [0.5, -1.0, -3.0], atol=1e-4)
