"""Refits: one strength on a support, against scikit-learn and in all three forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.problems._kernel import KernelRows
from skbilevel.problems._moments import AugmentedRows, RowMoments

SUPPORTS = np.array([[0, 2, 3], [0, 2, 3], [1, 4, 5]])


def make(n=40, p=8, t=1, weight=None):
    """Rows, and variances whose supports are those above; the last one is empty."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, p))
    y = X[:, :3] @ rng.standard_normal((3, t)) + rng.standard_normal((n, t))
    weight = np.ones(n) if weight is None else weight
    v = np.zeros((1, 4, p))
    for k, support in enumerate(SUPPORTS):
        v[0, k, support] = 1.0 + k
    columns, none = np.arange(p), np.arange(0)
    return AugmentedRows(X, y, weight, none, columns, True, np.zeros(p), np.zeros(t)), v


def trainers(rows, shared=None):
    training = TrainingSet(np.arange(rows.n_rows), [], shared)
    return (
        MomentTrainer(rows, [training], RowMoments(rows)),
        KernelTrainer.of(KernelRows.of(rows), training),
    )


@pytest.mark.parametrize("t", [1, 3])
def test_a_refit_is_ridge_on_the_support(t):
    rows, v = make(t=t)
    strengths, w = trainers(rows)[0].refits(v)
    for k, support in enumerate(SUPPORTS):
        (c,) = np.unique(strengths[0, k, support])
        assert c > 0
        model = Ridge(alpha=1.0 / c).fit(rows.X[:, support], rows.y)
        assert_allclose(w[0, k, support].T, model.coef_.reshape(t, -1), rtol=1e-8)
        others = np.setdiff1d(np.arange(v.shape[2]), support)
        assert not strengths[0, k, others].any()
        assert not w[0, k, others].any()
    assert not strengths[0, 3].any()


def test_its_strength_is_the_best_by_leave_one_out():
    """No strength a factor of e away leaves rows out better, beyond its error."""
    rows, v = make()
    strengths, _ = trainers(rows)[0].refits(v)
    support = SUPPORTS[0]
    X, y = rows.X[:, support], rows.y[:, 0]

    def losses(c):
        model = Ridge(alpha=1.0 / c)
        return (cross_val_predict(model, X, y, cv=LeaveOneOut()) - y) ** 2

    c = strengths[0, 0, support[0]]
    best = losses(c)
    for factor in np.exp([-2.0, -1.0, 1.0, 2.0]):
        difference = losses(c * factor) - best
        error = difference.std() / np.sqrt(len(y))
        assert difference.mean() > -0.5 * error


@pytest.mark.parametrize("shared", [None, []])
@pytest.mark.parametrize("p", [8, 70])
def test_moments_and_kernels_agree(p, shared):
    rows, v = make(p=p, weight=np.random.default_rng(1).uniform(0.5, 2.0, 40))
    (v_a, w_a), (v_b, w_b) = (each.refits(v) for each in trainers(rows, shared))
    assert_allclose(v_a, v_b, rtol=1e-6)
    assert_allclose(w_a, w_b, rtol=1e-6, atol=1e-10)
