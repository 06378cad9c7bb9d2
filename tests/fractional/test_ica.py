"""FractionalICA: components with heavy tails."""

import numpy as np
import pytest
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from skbilevel import FractionalICA
from skbilevel.fractional._ica import power


def make_data(n=2000, p=4, seed=0):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((p, p))
    return rng.laplace(size=(n, p)) @ mixing.T, mixing


def amari(unmixing, mixing):
    """Amari distance of two matrices whose product is a permutation at best."""
    P = np.abs(unmixing @ mixing)
    rows = (P / P.max(axis=1, keepdims=True)).sum(axis=1) - 1.0
    columns = (P / P.max(axis=0)).sum(axis=0) - 1.0
    return (rows.sum() + columns.sum()) / (2 * len(P) * (len(P) - 1))


@pytest.mark.parametrize("solver", ["power", "fcd"])
def test_sources_are_found_as_well_as_by_fast_ica(solver):
    """One after the other, that is; all at once FastICA does better."""
    ours, theirs = [], []
    for seed in range(3):
        X, mixing = make_data(seed=seed)
        model = FractionalICA(solver=solver, n_starts=3).fit(X)
        ours.append(amari(model.components_, mixing))
        peer = FastICA(algorithm="deflation", fun="cube", random_state=0, tol=1e-6)
        theirs.append(amari(peer.fit(X).components_, mixing))
    assert np.mean(ours) <= 1.2 * np.mean(theirs)


def test_components_are_white_and_come_in_order():
    X, _ = make_data()
    model = FractionalICA().fit(X)
    found = model.transform(X)
    np.testing.assert_allclose(np.cov(found.T, bias=True), np.eye(4), atol=1e-10)
    np.testing.assert_allclose((found**4).mean(axis=0), model.kurtosis_)
    assert (np.diff(model.kurtosis_) <= 1e-6).all()
    np.testing.assert_allclose(model.inverse_transform(found), X, atol=1e-10)
    few = FractionalICA(2).fit(X)
    np.testing.assert_allclose(few.components_, model.components_[:2], atol=1e-6)


def test_a_step_of_the_power_method_never_raises_the_ratio():
    rng = np.random.default_rng(0)
    G, x = rng.standard_normal((2, 30, 6))[0], rng.standard_normal(6)
    values = [power(G, x, 1e-30, k)[0] for k in range(1, 15)]
    assert (np.diff(values) <= 1e-12).all()
    b = G @ x
    assert values[0] == pytest.approx(x @ x / np.sqrt((b**4).sum()))


def test_a_column_twice_has_one_component():
    X, _ = make_data(p=2)
    model = FractionalICA().fit(np.column_stack([X, X[:, 0], np.ones(len(X))]))
    assert model.components_.shape == (2, 4)
    with pytest.raises(ValueError, match="n_components=3, but X has rank 2"):
        FractionalICA(3).fit(np.column_stack([X, X[:, 0]]))
    with pytest.raises(ValueError, match="rank 0"):
        FractionalICA().fit(np.ones((5, 2)))


def test_single_precision_seeds_and_few_steps():
    X, _ = make_data()
    assert FractionalICA().fit_transform(X.astype(np.float32)).dtype == np.float32
    same = [FractionalICA(random_state=s).fit(X).components_ for s in (None, 0)]
    np.testing.assert_array_equal(*same)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 iterations"):
        FractionalICA(max_iter=1).fit(X)


@pytest.mark.parametrize("name", ["n_components", "n_starts", "tol", "max_iter"])
def test_bad_parameters(name):
    with pytest.raises(ValueError, match=f"'{name}' parameter"):
        FractionalICA(**{name: 0}).fit(make_data()[0])
