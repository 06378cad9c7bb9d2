"""The Gauss-Newton model of leave-one-out: explicit fits, differences, both regimes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.problems import _leave_one_out_model as module
from skbilevel.problems import as_design
from skbilevel.problems._leave_one_out_model import LeftOutRows
from skbilevel.problems._swept_rows import SweptRows

SHAPES = [(25, 7), (12, 20)]


def make(n, p, t=2, n_free=1, dual=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p)) + 1.0
    y = X[:, :2] @ rng.standard_normal((2, t)) + rng.standard_normal((n, t)) + 3.0
    free = np.hstack([np.ones((n, 1)), rng.standard_normal((n, n_free - 1))])
    rows = SweptRows(as_design(X), y, rng.uniform(0.2, 3.0, n), free)
    return LeftOutRows(rows, 1.7, n < p if dual is None else dual)


def errors(model, log_v):
    """Every row predicted by a fit without it, times the root of its weight."""
    rows = model.rows
    A = np.hstack([rows.free, rows.design.X])
    penalty = np.diag(np.r_[np.zeros(rows.free.shape[1]), np.exp(-log_v)])
    out = np.empty(rows.y.shape)
    for i in range(len(A)):
        keep = np.arange(len(A)) != i
        S = (rows.weight[keep, None] * A[keep]).T
        W = np.linalg.solve(S @ A[keep] + penalty, S @ rows.y[keep])
        out[i] = np.sqrt(rows.weight[i]) * (rows.y[i] - A[i] @ W)
    return out.ravel()


def jacobian(model, log_v, h=1e-5):
    steps = h * np.eye(len(log_v))
    moves = [errors(model, log_v + s) - errors(model, log_v - s) for s in steps]
    return np.stack(moves, axis=1) / (2 * h)


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("n_free", [1, 3])
@pytest.mark.parametrize("t", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_model_of_explicit_fits(shape, t, n_free, dual):
    model = make(*shape, t, n_free, dual)
    log_v = np.random.default_rng(1).normal(-1.0, 1.0, shape[1])
    e, J = errors(model, log_v), jacobian(model, log_v)
    found = model.at(log_v[None])
    assert_allclose(found.value, e @ e / model.scale, rtol=1e-9)
    assert_allclose(found.grad[0], 2 * J.T @ e / model.scale, rtol=1e-5, atol=1e-7)
    x = np.random.default_rng(2).standard_normal((2, shape[1]))
    for each in x:
        expected = J.T @ (J @ each) / model.scale
        assert_allclose(found.product(each[None])[0], expected, rtol=1e-5, atol=1e-6)
    assert (found.normal is None) == dual


def test_blocks_change_nothing(monkeypatch):
    log_v = np.random.default_rng(1).normal(-1.0, 1.0, (1, 3))
    whole = make(200, 3).at(log_v)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1)
    blocks = make(200, 3)
    assert len(list(blocks._row_blocks())) > 1
    parts = blocks.at(log_v)
    assert_allclose(parts.value, whole.value)
    assert_allclose(parts.grad, whole.grad, atol=1e-12)
    assert_allclose(parts.normal, whole.normal, atol=1e-12)


def test_a_row_that_alone_knows_a_column_stays_finite():
    """Its column tends to no penalty: nothing is left to predict the row from."""
    model = make(25, 7, dual=False)
    X = model.rows.design.X.copy()
    X[:, 0] = 0.0
    X[3, 0] = 1.0
    rows = SweptRows(as_design(X), model.rows.y, model.rows.weight, model.rows.free)
    log_v = np.zeros((1, 7))
    log_v[0, 0] = 60.0
    found = LeftOutRows(rows, 1.0, False).at(log_v)
    assert np.isfinite(found.grad).all()
    assert np.isfinite(found.normal).all()
