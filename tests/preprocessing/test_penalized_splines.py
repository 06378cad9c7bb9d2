"""PenalizedSplines: a ridge on its columns is the penalized fit of B-splines."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import BSpline
from sklearn.linear_model import Ridge
from sklearn.preprocessing import SplineTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel.preprocessing import PenalizedSplines


@parametrize_with_checks(
    [
        PenalizedSplines(),
        PenalizedSplines(period=2.0, penalty_order=1),
        PenalizedSplines(missing="indicator", extrapolation="constant"),
        PenalizedSplines(penalty_order=3, knots="uniform"),
    ]
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learn(estimator, check):
    check(estimator)


def curve(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2.0, 3.0, n)
    return x, np.sin(3.0 * x) + 0.2 * rng.standard_normal(n)


def penalized_fit(B, D, y, strength):
    """Fitted values of the B-splines B (n, m) with the penalty |D a|^2, by algebra."""
    return B @ np.linalg.solve(B.T @ B + strength * D.T @ D, B.T @ y)


def ridge_fit(transformer, x, y, strength):
    """Fitted values of a ridge of the wiggly columns, the others unpenalized."""
    Z = np.c_[np.ones(len(x)), transformer.fit_transform(x[:, None])]
    own = strength * transformer.roughness_unit_[0]
    penalty = np.r_[0.0, own * (transformer.parts_ == "wiggly")]
    return Z @ np.linalg.solve(Z.T @ Z + np.diag(penalty), Z.T @ y)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("degree", [3, 4])
def test_ridge_is_the_difference_penalty(order, degree, strength):
    x, y = curve()
    splines = SplineTransformer(9, degree=degree)
    B = splines.fit_transform(x[:, None])
    D = np.diff(np.eye(B.shape[1]), order, axis=0)
    own = PenalizedSplines(9, degree=degree, penalty_order=order, knots="uniform")
    expected = penalized_fit(B, D, y, strength)
    assert_allclose(ridge_fit(own, x, y, strength), expected, atol=1e-10)


@pytest.mark.parametrize("strength", [1e-3, 10.0])
@pytest.mark.parametrize("order", [1, 2])
def test_ridge_is_the_circular_difference_penalty(order, strength):
    x, y = curve()
    knots = np.linspace(0.0, 5.0, 9)[:, None]
    splines = SplineTransformer(knots=knots, extrapolation="periodic")
    B = splines.fit_transform(x[:, None])
    D = np.eye(8)
    for _ in range(order):
        D = np.roll(D, -1, axis=0) - D
    own = PenalizedSplines(9, penalty_order=order, period=5.0)
    expected = penalized_fit(B, D, y, strength)
    assert_allclose(ridge_fit(own, x, y, strength), expected, atol=1e-10)


@pytest.mark.parametrize("strength", [1e-3, 10.0])
def test_ridge_is_the_difference_penalty_on_quantiles(strength):
    """Differences are made from the derivatives of single B-splines."""
    x, y = curve()
    x = np.exp(x)
    knots = np.quantile(x, np.linspace(0.0, 1.0, 8))[:, None]
    splines = SplineTransformer(knots=knots)
    B = splines.fit_transform(x[:, None])
    t = splines.bsplines_[0].t
    second = [BSpline(t, row, 3).derivative(2) for row in np.eye(B.shape[1])]
    # Coefficients of the second derivative, splines of degree 1, as they stand.
    D = np.column_stack([each.c[: B.shape[1] - 2] for each in second])
    start = np.flatnonzero(abs(D).sum(axis=1) > 0)
    D = D[start] * np.sqrt(6.0) / np.linalg.norm(D[start], axis=1, keepdims=True)
    assert len(D) == B.shape[1] - 2
    expected = penalized_fit(B, D, y, strength)
    own = PenalizedSplines(8)
    assert_allclose(ridge_fit(own, x, y, strength), expected, atol=1e-9)


@pytest.mark.parametrize("knots", ["quantile", "uniform"])
@pytest.mark.parametrize("where", [0.0, 1e6])
def test_what_is_not_penalized_is_a_polynomial(knots, where):
    x = where + np.exp(curve()[0])
    own = PenalizedSplines(knots=knots, penalty_order=3)
    Z = own.fit_transform(x[:, None])
    assert own.parts_.tolist()[:3] == ["linear", "quadratic", "wiggly"]
    z = (x - x.mean()) / x.std()
    assert_allclose(Z[:, 0], z, atol=1e-7)
    for degree, column in ((1, Z[:, 0]), (2, Z[:, 1])):
        fitted = np.polyval(np.polyfit(z, column, degree), z)
        assert_allclose(column, fitted, atol=1e-7)


def test_columns_are_centred_orthogonal_and_of_one_size():
    x = np.exp(curve()[0])
    own = PenalizedSplines(20, missing="indicator")
    Z = own.fit_transform(x[:, None])
    gram = Z.T @ Z / len(Z)
    assert_allclose(Z.mean(axis=0), 0.0, atol=1e-9)
    assert_allclose(gram - np.diag(np.diag(gram)), 0.0, atol=1e-8)
    assert_allclose(gram[0, 0], 1.0)
    assert_allclose(np.trace(gram), 2.0)
    wiggly = np.diag(gram)[1:]
    assert (np.diff(wiggly) <= 1e-12).all()
    # In any unit of the column they are the same.
    again = PenalizedSplines(20).fit_transform(1e-5 * x[:, None] - 3.0)
    assert_allclose(again, Z, atol=1e-6)


@pytest.mark.parametrize("n_values", [1, 2, 3, 5])
def test_columns_of_few_values(n_values):
    """No more columns than values can tell apart."""
    x = np.repeat(np.arange(n_values), 40)[:, None] * 1.0
    for params in ({}, {"knots": "uniform"}):
        own = PenalizedSplines(**params).fit(x)
        assert own.transform(x).shape == (len(x), max(1, n_values - 1))
        assert own.parts_[0] == "linear"
    assert PenalizedSplines(penalty_order=1).fit(x).parts_[0] == "wiggly"
    circle = PenalizedSplines(period=float(n_values)).fit(x)
    assert set(circle.parts_) == {"wiggly"}


def test_a_value_of_many_rows_is_one_knot():
    x = np.r_[np.zeros(500), np.arange(1.0, 101.0)]
    knots = PenalizedSplines(11).fit(x[:, None]).knots_[0]
    assert_allclose(knots, np.linspace(0.0, 100.0, 11))


@pytest.mark.parametrize(
    ("params", "slope"), [({}, 1.0), ({"extrapolation": "constant"}, 0.0)]
)
def test_beyond_the_values(params, slope):
    x, _ = curve()
    own = PenalizedSplines(**params).fit(x[:, None])
    ends = np.array([x.min(), x.max()])
    for end, sign in zip(ends, (-1.0, 1.0), strict=True):
        beyond = own.transform((end + sign * np.arange(4.0))[:, None])
        steps = np.diff(beyond, axis=0)
        assert_allclose(steps[1:], steps[:-1], atol=1e-8)
        assert abs(steps).max() > 0.1 or slope == 0.0
        if slope == 0.0:
            assert_allclose(steps, 0.0, atol=1e-10)


def test_a_period():
    hour = np.arange(240) % 24
    own = PenalizedSplines(8, period=24).fit(hour[:, None])
    assert set(own.parts_) == {"wiggly"}
    around = own.transform([[-0.5], [23.5], [47.5]])
    assert_allclose(around, around[[0, 0, 0]], atol=1e-12)
    close = own.transform([[24.0 - 1e-7], [0.0]])
    assert_allclose(close[0], close[1], atol=1e-5)


def test_missing_values():
    x, _ = curve()
    X = np.column_stack([x, x[::-1]])
    X[:7, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN: set missing='indicator'"):
        PenalizedSplines().fit(X)
    own = PenalizedSplines(5, missing="indicator").fit(X)
    assert own.parts_[-1] == "missing"
    assert (own.parts_ == "missing").sum() == 1
    Z = own.transform(X)
    assert_array_equal(Z[:, -1], np.isnan(X[:, 1]))
    alone = PenalizedSplines(5).fit(X[7:, 1:])
    assert_allclose(Z[7:, 6:12], alone.transform(X[7:, 1:]), atol=1e-10)
    assert_array_equal(Z[:7, 6:12], 0.0)
    # A column without any in fit has its mean there.
    assert_array_equal(own.transform([[np.nan, 0.0]])[0, :6], 0.0)
    nothing = np.column_stack([x, np.full(len(x), np.nan)])
    made = PenalizedSplines(5, missing="indicator").fit_transform(nothing)
    assert_array_equal(made[:, -2:], np.tile([0.0, 1.0], (len(x), 1)))


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_names_and_data_frames(container):
    if container == "polars" and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn 1.7 does not read the column names of polars 2")
    frame = pd.DataFrame if container == "pandas" else pl.DataFrame
    x, _ = curve()
    table = frame({"age": x, "size": x**2})
    own = PenalizedSplines(3).set_output(transform=container).fit(table)
    made = own.transform(table)
    assert isinstance(made, frame)
    known = ["linear", "wiggly0", "wiggly1", "wiggly2"]
    names = [f"{name}_{part}" for name in ("age", "size") for part in known]
    assert list(made.columns) == names
    assert own.get_feature_names_out().tolist() == names
    with pytest.raises(ValueError, match="feature_names_in_"):
        own.get_feature_names_out(["a", "b"])


def test_many_rows_are_worked_on_in_blocks():
    x = np.random.default_rng(0).standard_normal(70_000)
    own = PenalizedSplines(5).fit(x[:, None])
    Z = own.transform(x[:, None])
    assert_allclose(Z[:, 1:].var(axis=0).sum(), 1.0)
    assert_allclose(own.transform(x[-5:, None]), Z[-5:], atol=1e-12)
    small = own.transform(x[:, None].astype(np.float32))
    assert small.dtype == np.float32
    assert_allclose(small, Z, atol=1e-4)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"degree": 1}, "give a larger degree"),
        ({"period": 1.0, "n_knots": 3}, "give more knots"),
        ({"n_knots": 1}, "n_knots"),
        ({"penalty_order": 4}, "penalty_order"),
        ({"period": 0.0}, "period"),
    ],
)
def test_parameters_that_do_not_fit(params, message):
    with pytest.raises(ValueError, match=message):
        PenalizedSplines(**params).fit(np.arange(9.0)[:, None])


def test_a_plain_ridge_learns_a_curve():
    x, y = curve(400)
    fitted = Ridge(1e-2).fit(PenalizedSplines().fit_transform(x[:, None]), y)
    own = PenalizedSplines().fit(x[:, None])
    grid = np.linspace(-1.9, 2.9, 50)
    error = fitted.predict(own.transform(grid[:, None])) - np.sin(3.0 * grid)
    assert abs(error).max() < 0.25
