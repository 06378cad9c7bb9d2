"""Bad input and edge cases of the default, one by one."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupKFold

from skbilevel import BilevelRidgeClassifierCV, BilevelRidgeCV
from skbilevel.exceptions import BoundaryWarning

N, P = 60, 6


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P))
    return X, X @ np.array([1.0, 2.0, 0.0, 0.0, 0.0, 0.5]) + rng.standard_normal(N)


def fit(X, y, sample_weight=None, **params):
    return BilevelRidgeCV(**params).fit(X, y, sample_weight=sample_weight)


def least_squares(X, y):
    """Minimum-norm coefficients after centring."""
    coef = np.linalg.lstsq(X - X.mean(axis=0), y - y.mean(), rcond=None)[0]
    return coef, y.mean() - X.mean(axis=0) @ coef


# Values that no model can use.


def test_missing_values_point_to_an_imputer(data):
    X, y = data
    X[3, 2] = np.nan
    with pytest.raises(ValueError, match=r"(?s)contains NaN.*imputer"):
        fit(X, y)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array])
def test_infinite_values(data, make):
    X, y = data
    X[3, 2] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        fit(make(X), y)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_target_must_be_finite(data, bad):
    X, y = data
    y[5] = bad
    with pytest.raises(ValueError, match="Input y contains"):
        fit(X, y)


def test_complex(data):
    X, y = data
    with pytest.raises(ValueError, match="Complex data not supported"):
        fit(X + 1j, y)


@pytest.mark.parametrize(
    ("index", "match"),
    [
        (np.s_[:0, :], "0 sample"),
        (np.s_[:1, :], "1 sample.*minimum of 2"),
        (np.s_[:, :0], "0 feature"),
    ],
)
def test_nothing_to_fit(data, index, match):
    X, y = data
    with pytest.raises(ValueError, match=match):
        fit(X[index], y[: X[index].shape[0]])


def test_text(data):
    _, y = data
    with pytest.raises(ValueError, match="could not convert string to float"):
        fit(np.full((N, 2), "a", dtype=object), y)


# Few rows and few columns.


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("n", [2, 3, 4, 5, 10, 19])
@pytest.mark.parametrize("p", [1, 6])
def test_few_rows_share_one_strength(data, n, p):
    X, y = data
    model = fit(X[:n, :p], y[:n])
    assert np.isfinite(model.predict(X[:, :p])).all()
    assert np.ptp(model.alpha_) <= 1e-9 * model.alpha_.max()
    assert model.hyperpenalty_["family"].tolist() == ["shared"]
    assert np.isfinite(model.best_score_)


def test_twenty_rows_have_all_candidates(data):
    X, y = data
    model = fit(X[:20], y[:20])
    assert set(model.hyperpenalty_["family"]) >= {"shared", "elastic_net"}


def test_one_column(data):
    X, y = data
    model = fit(X[:, 1:2], y)
    assert model.coef_.shape == (1,)
    expected = Ridge(alpha=model.alpha_[0]).fit(X[:, 1:2], y)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-8)


# Columns and targets that degenerate.


def test_constant_columns_are_removed(data):
    X, y = data
    padded = np.column_stack([X, np.full(N, 7.0), np.zeros(N)])
    model, plain = fit(padded, y), fit(X, y)
    assert_array_equal(model.coef_[P:], 0.0)
    assert_allclose(model.predict(padded), plain.predict(X), atol=0.1)


def test_duplicated_columns(data):
    X, y = data
    model = fit(np.column_stack([X, X[:, 1]]), y)
    assert_allclose(model.coef_[1], model.coef_[P], rtol=0.1)
    assert_allclose(model.predict(np.column_stack([X, X[:, 1]])).std(), y.std(), rtol=1)


@pytest.mark.parametrize("shape", [(60, 3), (30, 60)])
def test_only_constant_columns(shape):
    y = np.random.default_rng(0).standard_normal(shape[0])
    model = fit(np.ones(shape), y)
    assert_array_equal(model.coef_, 0.0)
    assert_allclose(model.intercept_, y.mean())


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("value", [0.0, 3.5, -1e200, 1e-200])
def test_constant_target(data, wide, value):
    X, _ = data
    X = np.hstack([X] * 15) if wide else X
    model = fit(X, np.full(N, value))
    assert_array_equal(model.coef_, 0.0)
    assert_allclose(model.predict(X), value, rtol=1e-12)


@pytest.mark.parametrize("wide", [False, True])
def test_columns_of_any_scale(data, wide):
    X, y = data
    if wide:
        X = np.random.default_rng(1).standard_normal((N, 90))
        y = X[:, 0] + y
    scale = np.logspace(-150, 150, X.shape[1])
    extreme = fit(X * scale, y)
    milder = fit(X * np.logspace(-3, 3, X.shape[1]), y)
    assert_allclose(
        extreme.predict(X * scale),
        milder.predict(X * np.logspace(-3, 3, X.shape[1])),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("factor", [1e150, 1e-150, 3.0])
@pytest.mark.parametrize("wide", [False, True])
def test_target_of_any_scale(data, factor, wide):
    X, y = data
    X = np.hstack([X, np.random.default_rng(1).standard_normal((N, 80))]) if wide else X
    model, plain = fit(X, y * factor), fit(X, y)
    size = abs(plain.coef_).max()
    # In the dual, quasi-Newton steps stop at a tolerance.
    tol = 1e-3 if wide else 1e-9
    assert_allclose(model.coef_ / factor, plain.coef_, rtol=tol, atol=tol * size)
    assert_allclose(model.intercept_ / factor, plain.intercept_, atol=tol * size)
    assert np.isfinite(model.best_score_) or factor > 1e100


def test_a_large_mean_costs_no_digits(data):
    X, y = data
    model, plain = fit(X + 1e8, y + 1e8), fit(X, y)
    assert_allclose(model.predict(X + 1e8) - 1e8, plain.predict(X), atol=1e-4)


def test_a_target_that_is_a_column(data):
    X, _ = data
    model = fit(X, 2.0 * X[:, 3])
    assert_allclose(model.predict(X), 2.0 * X[:, 3], atol=1e-4)


# Types and layouts.


def test_integers_and_booleans(data):
    X, y = data
    whole = np.round(3 * X)
    for given in (whole.astype(int), whole.astype(np.int8)):
        assert_allclose(fit(given, y).coef_, fit(whole, y).coef_, rtol=1e-9)
    flags = X > 0
    expected = fit(flags.astype(float), (y > 0).astype(float))
    assert_allclose(fit(flags, y > 0).coef_, expected.coef_, rtol=1e-9)


def test_half_precision_becomes_double(data):
    X, y = data
    half = X.astype(np.float16)
    model = fit(half, y)
    assert model.coef_.dtype == np.float64
    assert_allclose(model.coef_, fit(half.astype(float), y).coef_, rtol=1e-9)


def test_object_dtype_of_numbers(data):
    X, y = data
    assert_array_equal(fit(X.astype(object), y).coef_, fit(X, y).coef_)


@pytest.mark.parametrize("shape", [(N, P), (30, 60)])
def test_layouts(shape, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = X[:, 0] + rng.standard_normal(shape[0])
    expected = fit(X, y)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    views = [
        np.asfortranarray(X),
        np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
        X[::-1][::-1],
        mapped,
    ]
    for view in views:
        before = np.array(view)
        model = fit(view, y)
        assert_array_equal(np.asarray(view), before)
        assert_allclose(model.predict(X), expected.predict(X), atol=1e-3)


@pytest.mark.parametrize("shape", [(N, P), (30, 60)])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array, sparse.csc_array])
def test_inputs_are_unchanged(shape, make):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape) * (rng.random(shape) < 0.7)
    given, y, weight = make(X), X[:, 0] + rng.standard_normal(shape[0]), np.ones(len(X))
    for array in (y, weight):
        array.flags.writeable = False
    if make is np.asarray:
        given = X.copy()
        given.flags.writeable = False
    fit(given, y, sample_weight=weight)
    assert_array_equal(given.toarray() if sparse.issparse(given) else given, X)


# Weights, folds, groups.


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"slice": slice(None), "to": 0.0}, "at least one non-zero"),
        ({"slice": slice(1, None), "to": 0.0}, "At least 2 rows of positive weight"),
        ({"slice": 0, "to": -1.0}, "Negative values"),
        ({"slice": 0, "to": np.nan}, "contains NaN"),
    ],
)
def test_bad_weights(data, change, match):
    X, y = data
    weight = np.ones(N)
    weight[change["slice"]] = change["to"]
    with pytest.raises(ValueError, match=match):
        fit(X, y, sample_weight=weight)


def test_weights_of_wrong_length(data):
    X, y = data
    with pytest.raises(ValueError, match="sample_weight"):
        fit(X, y, sample_weight=np.ones(7))


def test_rows_of_weight_zero_do_not_count(data):
    X, y = data
    weight = (np.arange(N) % 4 > 0).astype(float)
    model = fit(X, y, sample_weight=weight)
    y[weight == 0], X[weight == 0] = 1e6, -1e3
    assert_allclose(fit(X, y, sample_weight=weight).coef_, model.coef_, rtol=1e-9)


def test_tiny_and_huge_weights(data):
    X, y = data
    plain = fit(X, y, cv=[(np.arange(30), np.arange(30, N))])
    for factor in (1e-6, 1e6):
        model = fit(
            X,
            y,
            sample_weight=np.full(N, factor),
            cv=[(np.arange(30), np.arange(30, N))],
        )
        assert np.isfinite(model.coef_).all()
        assert_allclose(model.predict(X), plain.predict(X), atol=1.0)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize(
    "cv",
    [
        [(np.arange(1, N), [0]), (np.arange(N - 1), [N - 1])],
        [([0], np.arange(1, N))],
        [([0, 1], [2])],
        [(np.arange(N) != 4, np.arange(N) == 4)],
    ],
)
@pytest.mark.parametrize("wide", [False, True])
def test_folds_of_a_single_row(data, cv, wide):
    X, y = data
    X = np.hstack([X, np.random.default_rng(1).standard_normal((N, 80))]) if wide else X
    model = fit(X, y, cv=cv)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.best_score_)


def test_more_folds_than_rows(data):
    X, y = data
    with pytest.raises(ValueError, match="cv=40 folds are more than the 25 rows"):
        fit(X[:25], y[:25], cv=40)


@pytest.mark.parametrize("cv", [0, 1, -3, "five"])
def test_no_folds(data, cv):
    X, y = data
    with pytest.raises(ValueError, match="cv"):
        fit(X, y, cv=cv)


def test_folds_without_validation_rows(data):
    X, y = data
    with pytest.raises(ValueError, match="no split"):
        fit(X, y, cv=[(np.arange(N), np.array([], dtype=int))])


def test_a_splitter_without_its_groups(data):
    X, y = data
    with pytest.raises(ValueError, match="groups"):
        fit(X, y, cv=GroupKFold(3))


def test_groups_of_wrong_length(data):
    X, y = data
    with pytest.raises(ValueError, match=r"groups has shape \(10,\), but X has 60"):
        BilevelRidgeCV(cv=GroupKFold(3)).fit(X, y, groups=np.arange(10))


def test_groups_of_one_label(data):
    X, y = data
    with pytest.raises(ValueError, match="one label only"):
        BilevelRidgeCV().fit(X, y, groups=np.zeros(N))


def test_unknown_metadata(data):
    X, y = data
    with pytest.raises(ValueError, match="colour"):
        BilevelRidgeCV().fit(X, y, colour=np.zeros(N))


@pytest.mark.parametrize(
    ("groups", "match"),
    [
        ([1, 2], r"feature_groups has shape \(2,\), but X has 6 features"),
        (["a", "", "b", "c", "d", "e"], "empty label"),
        (["a", None, "b", "c", "d", "e"], "empty label"),
        ([0, np.nan, 1, 2, 3, 4], "NaN"),
        (np.array(["a", np.nan, "b", "c", "d", "e"], dtype=object), "empty label"),
    ],
)
def test_bad_feature_groups(data, groups, match):
    X, y = data
    with pytest.raises(ValueError, match=match):
        fit(X, y, feature_groups=groups)


# Strengths: unpenalized columns, bounds, warnings.


@pytest.mark.parametrize("wide", [False, True])
def test_everything_unpenalized_is_least_squares(data, wide):
    X, y = data
    X = np.hstack([X, np.random.default_rng(1).standard_normal((N, 80))]) if wide else X
    free = np.ones(X.shape[1], dtype=bool)
    if wide:
        with pytest.raises(ValueError, match=r"fit any target exactly.*unpenalized"):
            fit(X, y, unpenalized=free)
        return
    model = fit(X, y, unpenalized=free)
    coef, intercept = least_squares(X, y)
    assert_allclose(model.coef_, coef, rtol=1e-7, atol=1e-8)
    assert_allclose(model.intercept_, intercept, rtol=1e-7)
    assert_array_equal(model.alpha_, 0.0)


def test_unpenalized_of_deficient_rank_has_minimum_norm(data):
    X, y = data
    X = np.column_stack([X, X[:, 0]])
    model = fit(X, y, unpenalized=np.arange(P + 1))
    assert_allclose(model.coef_, least_squares(X, y)[0], rtol=1e-7, atol=1e-8)
    part = fit(X, y, unpenalized=[0, P])
    assert_allclose(part.coef_[0], part.coef_[P], rtol=1e-7)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([9], "column 9, but X has 6"),
        ([-7], "-7"),
        (["a"], "X has none"),
        (np.ones(4, dtype=bool), "mask of shape"),
    ],
)
def test_bad_unpenalized(data, value, match):
    X, y = data
    with pytest.raises(ValueError, match=match):
        fit(X, y, unpenalized=value)


@pytest.mark.parametrize("bounds", [(10, 1), (0.0, 1.0), (-1.0, 1.0), (1.0,), "ab"])
def test_bad_bounds(data, bounds):
    X, y = data
    with pytest.raises(ValueError, match="alpha_bounds"):
        fit(X, y, alpha_bounds=bounds)


@pytest.mark.parametrize("wide", [False, True])
def test_bounds_hold(data, wide):
    X, y = data
    X = np.hstack([X, np.random.default_rng(1).standard_normal((N, 80))]) if wide else X
    model = fit(X, y, alpha_bounds=(2.0, 4.0))
    assert model.alpha_.min() >= 2.0 * (1 - 1e-9)
    assert model.alpha_.max() <= 4.0 * (1 + 1e-9)
    point = fit(X, y, alpha_bounds=(3.0, 3.0))
    assert_allclose(point.coef_, Ridge(alpha=3.0).fit(X, y).coef_, rtol=1e-7, atol=1e-9)


def test_warning_where_nothing_helps(data):
    X, _ = data
    y = np.random.default_rng(20).standard_normal(N)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        models = [
            fit(X, np.random.default_rng(seed).standard_normal(N)) for seed in range(8)
        ]
    assert any(issubclass(w.category, BoundaryWarning) for w in caught)
    assert len(models) == 8
    orthogonal = (
        y
        - np.column_stack([np.ones(N), X])
        @ np.linalg.lstsq(np.column_stack([np.ones(N), X]), y, rcond=None)[0]
    )
    with pytest.warns(BoundaryWarning, match="strength is infinite"):
        model = fit(X, orthogonal)
    assert_allclose(model.predict(X), orthogonal.mean(), atol=0.2 * y.std())


def test_no_warning_where_columns_help(data):
    fit(*data)


@pytest.mark.parametrize("value", [("smoth", 1.0), ("smooth", -1.0), ("smooth",), "on"])
def test_bad_hyperpenalty(data, value):
    X, y = data
    with pytest.raises(ValueError, match="hyperpenalty"):
        fit(X, y, hyperpenalty=value)


def test_bad_scoring(data):
    X, y = data
    with pytest.raises(ValueError, match="scoring"):
        fit(X, y, scoring="nonsense")


def test_classifier_needs_two_classes(data):
    X, _ = data
    with pytest.raises(ValueError, match="one class"):
        BilevelRidgeClassifierCV().fit(X, np.zeros(N, dtype=int))


def test_classifier_needs_classes(data):
    X, y = data
    with pytest.raises(ValueError, match="continuous"):
        BilevelRidgeClassifierCV().fit(X, y)


def test_as_many_columns_as_rows_are_not_interpolated():
    """Leave-one-out falls by chance where no degree of freedom is left.

    One direction of X is tiny here, and the target hardly has a part along it.
    """
    rng = np.random.default_rng(9)
    X, w = rng.standard_normal((1080, 79)), rng.standard_normal(79)
    y = X @ w / np.linalg.norm(w) + rng.standard_normal(1080)
    for cv in (None, "loo"):
        model = BilevelRidgeCV(feature_groups="shared", cv=cv).fit(X[:80], y[:80])
        assert model.alpha_[0] > 1.0
    error = np.mean(
        (BilevelRidgeCV().fit(X[:80], y[:80]).predict(X[80:]) - y[80:]) ** 2
    )
    assert error < 2.5
