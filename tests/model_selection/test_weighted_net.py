"""Solutions and paths of the elastic net: of all columns, and of working sets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import ElasticNet as Plain

from skbilevel.model_selection import _weighted_net as module
from skbilevel.model_selection._elastic_net import GramOracle, KernelOracle
from skbilevel.model_selection._weighted_net import net_path, solve_net
from skbilevel.problems import ElasticNet
from skbilevel.problems._kernel import KernelRows, KernelSet

N, P = 50, 80


@pytest.fixture(params=["moments", "rows", "sparse rows"])
def oracle(request, make_rows):
    """Return the rows as coordinate descent asks for them, and X and y, centered."""
    rows = make_rows(N, P, sparse_X=request.param == "sparse rows")
    X = rows.X.toarray() if request.param == "sparse rows" else rows.X
    X, y = X - X.mean(axis=0), rows.y - rows.y.mean()
    if request.param == "moments":
        return GramOracle(X.T @ X, X.T @ y, float((y**2).sum()), float(N)), X, y[:, 0]
    return KernelOracle(KernelSet(KernelRows.of(rows), np.arange(N))), X, y[:, 0]


@pytest.fixture(params=["whole", "working sets"])
def columns(request, monkeypatch):
    """Have descent go round all columns, or round few."""
    monkeypatch.setattr(module, "_WHOLE", P if request.param == "whole" else 0)


@pytest.mark.parametrize("ratio", [1.0, 0.5, "mixed"])
@pytest.mark.usefixtures("columns")
def test_paths(oracle, ratio):
    oracle, X, y = oracle
    share = np.where(np.arange(P) % 2, 0.3, 0.9) if ratio == "mixed" else ratio
    l1 = N * share * np.ones(P)
    with np.errstate(divide="ignore"):
        unit = ElasticNet(1.0 / (N * (1.0 - share) * np.ones(P)), l1)
    alphas, made = np.logspace(0.0, -1.5, 17), 0
    points = [
        (index[w != 0], w[w != 0], rest)
        for index, W, left in net_path(oracle, unit, alphas)
        for w, rest in zip(W, left, strict=True)
    ]
    for alpha, (index, w, rest) in zip(alphas, points, strict=True):
        left = y - X[:, index] @ w
        gradient = X.T @ left
        gradient[index] -= alpha * unit.of(index).slope(w)
        outside = np.setdiff1d(np.arange(P), index)
        gradient[outside] = np.maximum(abs(gradient[outside]) - alpha * l1[outside], 0)
        assert (abs(gradient) < 1e-2 * alpha * l1).all()
        assert_allclose(rest, left @ left, rtol=1e-3, atol=1e-5 * y @ y)
        made += len(index)
    assert made > 3 * len(alphas)


@pytest.mark.usefixtures("columns")
def test_single_solutions(oracle):
    oracle, X, y = oracle
    alpha = np.random.default_rng(1).uniform(0.02, 0.1, P)
    alpha[-5:] = np.inf
    strengths = ElasticNet(np.full(P, np.inf), N * alpha)
    found = solve_net(oracle, strengths)
    plain = Plain(alpha=1.0, l1_ratio=1.0, fit_intercept=False, tol=1e-14)
    expected = plain.set_params(max_iter=10**6).fit(X / alpha, y).coef_ / alpha
    w = np.zeros(P)
    w[found.index] = found.w
    assert 10 < len(found.index) < 45
    assert_allclose(w, expected, atol=1e-6)
    again = solve_net(oracle, strengths.times(np.full(P, 1.1)), found)
    once = solve_net(oracle, strengths.times(np.full(P, 1.1)))
    assert_allclose(again.w, once.w, rtol=1e-9)
