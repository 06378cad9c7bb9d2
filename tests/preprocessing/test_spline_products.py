"""Varying coefficients and interactions: what the columns are, and what they find."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import BilevelPoissonCV, BilevelRidgeCV, make_additive, terms_of
from skbilevel.inspection import TermsDisplay
from skbilevel.preprocessing import (
    PenalizedSplines,
    TensorSplines,
    VaryingCoefficients,
)


@parametrize_with_checks([VaryingCoefficients(period=2.0), TensorSplines(3)])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    columns = {
        "hour": rng.uniform(0.0, 6.0, 400),
        "heat": 10.0 + 2.0 * rng.standard_normal(400),
        "size": rng.uniform(-1.0, 1.0, 400),
    }
    return pd.DataFrame(columns)


def test_varying_columns_are_curves_times_a_column(table):
    X = table.to_numpy()
    varying = VaryingCoefficients(6).fit(X)
    curve = PenalizedSplines(6).fit_transform(X[:, :1])
    made = varying.transform(X)
    assert_allclose(made.mean(axis=0), 0.0, atol=1e-12)
    width = 1 + curve.shape[1]
    for k, z in enumerate(X[:, 1:].T):
        z = (z / np.sqrt(np.mean(z**2)))[:, None]
        own = np.c_[z, z * curve]
        part = made[:, k * width : (k + 1) * width]
        assert_allclose(part, own - own.mean(axis=0), atol=1e-12)
    # The penalty of a coefficient is the roughness of its curve, whatever z is.
    labels = terms_of(varying)
    assert set(labels) == {
        f"x0 & {z}: {part}"
        for z in ("x1", "x2")
        for part in ("constant", "linear", "wiggly")
    }


def test_tensor_roughness_is_diagonal(table):
    """Roughness along a column of the surface, by the Kronecker product of margins."""
    X = table[["hour", "size"]].to_numpy()
    tensor = TensorSplines(4).fit(X)
    margins = [PenalizedSplines(4).fit(x[:, None]) for x in X.T]
    first, second = (
        each.transform(x[:, None]) for each, x in zip(margins, X.T, strict=True)
    )
    made = tensor.transform(X)
    products = np.einsum("ia,ib->iab", first, second).reshape(len(X), -1)
    assert_allclose(made, products - products.mean(axis=0), atol=1e-12)
    # On a grid of values both columns are independent: variances are then products,
    # and the columns orthogonal, so that each block of parts is a ridge of its own.
    grid = np.array(np.meshgrid(X[::4, 0], X[::4, 1])).reshape(2, -1).T
    whole = TensorSplines(4).fit(grid)
    gram = np.cov(whole.transform(grid).T, bias=True)
    off = gram - np.diag(np.diagonal(gram))
    assert_allclose(off, 0.0, atol=1e-10)
    both = whole.parts_ == "wiggly"
    assert_allclose(np.diagonal(gram)[both].sum(), 1.0)
    assert_allclose(np.diagonal(gram)[whole.parts_ == "wiggly first"].sum(), 1.0)


def test_additive_models_find_them(table):
    rng = np.random.default_rng(1)
    hour, heat, size = table.to_numpy().T
    noise = 0.1 * rng.standard_normal(400)
    y = np.sin(hour) * heat / 5.0 + noise
    plain = make_additive(BilevelRidgeCV()).fit(table[:300], y[:300])
    terms = make_additive(BilevelRidgeCV(), varying=[("hour", "heat")])
    terms.fit(table[:300], y[:300])
    scores = [model.score(table[300:], y[300:]) for model in (plain, terms)]
    assert scores[0] < 0.98 < 0.99 < scores[1]
    labels = terms[-1].group_labels_.tolist()
    assert "hour & heat: constant" in labels
    assert "hour & heat: wiggly" in labels
    surface = np.sin(hour) * np.cos(2.0 * size) + noise
    tensor = make_additive(BilevelRidgeCV(), interactions=[(0, 2)])
    tensor.fit(table[:300], surface[:300])
    plain.fit(table[:300], surface[:300])
    scores = [model.score(table[300:], surface[300:]) for model in (plain, tensor)]
    assert scores[0] < 0.9 < 0.95 < scores[1]


def test_what_is_not_there_vanishes_and_is_named(pyplot, table):
    y = np.random.default_rng(1).poisson(np.exp(np.sin(table["hour"])))
    last = BilevelPoissonCV(hyperpenalty=None, cv="reml")
    model = make_additive(
        last, varying=[("hour", "heat")], interactions=[("heat", "size")]
    )
    model.set_params(columntransformer__varying1__n_knots=4).fit(table, y)
    display = TermsDisplay.from_estimator(model, table)
    total = display.effects.sum(axis=1)
    eta = np.log(model.predict(table))
    assert_allclose(total, eta - eta.mean(), atol=1e-8)
    drawn = {ax.get_title("left") for ax in display.axes_}
    note = display.figure_.get_supxlabel()
    for name in ("hour & heat", "heat & size"):
        assert name in note or name in drawn
    assert "hour" in drawn


@pytest.mark.parametrize("given", [["hour"], [("hour",)], ["ab"], [("a", "b", "c")]])
def test_something_else_than_pairs(given):
    with pytest.raises(ValueError, match="give a list of pairs"):
        make_additive(BilevelRidgeCV(), interactions=given)


def test_bad_options():
    X = np.random.default_rng(0).uniform(size=(20, 2))
    with pytest.raises(ValueError, match="penalty_order=3 is above degree=2"):
        TensorSplines(degree=2, penalty_order=3).fit(X)
    with pytest.raises(ValueError, match="below n_knots=3"):
        VaryingCoefficients(3, period=1.0).fit(X)
    with pytest.raises(ValueError, match="1 feature"):
        VaryingCoefficients().fit(X[:, :1])
