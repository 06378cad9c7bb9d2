"""BilevelRidgeCV without the guard: strengths tuned on a criterion as it is."""

import warnings
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit

from skbilevel import BilevelRidgeClassifierCV, BilevelRidgeCV
from skbilevel.solvers import CG, LBFGSB, Implicit, Nested

SPLITS = list(KFold(5, shuffle=True, random_state=0).split(np.zeros(120)))


def make_data(n=120, p=24, seed=0, noise=1.0):
    """Four groups, one of which says nothing."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    labels = np.arange(p) % 4
    w = rng.standard_normal(p) * np.array([1.0, 0.3, 0.1, 0.0])[labels]
    return X, X @ w + noise * rng.standard_normal(n) + 3.0, labels


def fitted(X, y, sample_weight=None, **params):
    params = {"hyperpenalty": None, "cv": SPLITS, **params}
    return BilevelRidgeCV(**params).fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("solver", ["auto", "dual", "amigo", "stale", "exact"])
def test_shared_strength_is_that_of_the_best_ridge(solver):
    X, y, _ = make_data()
    model = fitted(X, y, feature_groups="shared", solver=solver)
    assert np.ptp(model.alpha_) == 0.0
    ridge = Ridge(alpha=model.alpha_[0]).fit(X, y)
    tol = 1e-6 if solver == "amigo" else 1e-8
    np.testing.assert_allclose(model.coef_, ridge.coef_, rtol=tol, atol=tol)
    np.testing.assert_allclose(model.intercept_, ridge.intercept_, rtol=tol)
    grid = GridSearchCV(
        Ridge(),
        {"alpha": model.alpha_[0] * np.logspace(-1, 1, 21)},
        cv=SPLITS,
        scoring="neg_mean_squared_error",
    )
    # A fold's strength is that of the full data times its share of the weight.
    scores = []
    for alpha in grid.param_grid["alpha"]:
        errors = [
            y[b] - Ridge(alpha=alpha * len(a) / len(y)).fit(X[a], y[a]).predict(X[b])
            for a, b in SPLITS
        ]
        scores.append(-np.mean(np.concatenate(errors) ** 2))
    assert model.best_score_ >= max(scores) - 1e-6
    np.testing.assert_allclose(model.best_score_, scores[10], rtol=1e-5)


def test_leave_one_out_is_no_worse_than_the_grid_of_ridgecv():
    X, y, _ = make_data()
    model = fitted(X, y, feature_groups="shared", cv="loo")
    grid = RidgeCV(np.logspace(-3, 5, 201)).fit(X, y)
    assert model.best_score_ >= grid.best_score_ - 1e-7
    np.testing.assert_allclose(model.alpha_, grid.alpha_, rtol=0.06)
    np.testing.assert_allclose(
        model.coef_, Ridge(alpha=model.alpha_[0]).fit(X, y).coef_, rtol=1e-8
    )


@pytest.mark.parametrize("cv", [SPLITS, "loo", "gcv"])
def test_groups_and_features_reach_lower_losses(cv):
    X, y, labels = make_data()
    shared = fitted(X, y, feature_groups="shared", cv=cv)
    groups = fitted(X, y, feature_groups=labels, cv=cv)
    features = fitted(X, y, cv=cv)
    assert shared.best_score_ < groups.best_score_ < features.best_score_
    assert groups.group_labels_.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(groups.group_alpha_[labels], groups.alpha_)
    for model in (shared, groups, features):
        assert model.n_iter_ >= 1
        value = model.history_["value"]
        assert len(value) == len(model.history_["grad_norm"])
        np.testing.assert_allclose(-value[-1], model.best_score_, rtol=1e-6)


@pytest.mark.parametrize("cv", [SPLITS, "loo", "gcv"])
def test_removed_features_are_exact_zeros(cv):
    X, y, _ = make_data()
    model = fitted(X, y, cv=cv)
    gone = model.coef_ == 0.0
    assert 0 < gone.sum() < 24
    np.testing.assert_array_equal(np.isinf(model.alpha_), gone)
    v = np.where(gone, 0.0, 1.0 / np.where(gone, 1.0, model.alpha_))
    ridge = Ridge(alpha=1.0).fit(X * np.sqrt(v), y)
    np.testing.assert_allclose(model.coef_, ridge.coef_ * np.sqrt(v), atol=1e-8)


@pytest.mark.parametrize("solver", ["auto", "exact", "dual", "stale", "cholesky"])
def test_exact_solvers_agree(solver):
    X, y, labels = make_data()
    model = fitted(X, y, feature_groups=labels, solver=solver)
    wanted = fitted(X, y, feature_groups=labels)
    np.testing.assert_allclose(model.best_score_, wanted.best_score_, rtol=1e-6)
    np.testing.assert_allclose(model.coef_, wanted.coef_, atol=1e-4)


@pytest.mark.parametrize("solver", ["amigo", Nested(CG(), Implicit(), LBFGSB())])
def test_matrix_free_and_values(solver):
    X, y, labels = make_data()
    wanted = fitted(X, y, feature_groups=labels)
    for data in (X, sparse.csr_array(X)):
        model = fitted(data, y, feature_groups=labels, solver=solver)
        np.testing.assert_allclose(model.best_score_, wanted.best_score_, rtol=1e-3)


def test_hold_out_and_more_features_than_rows():
    X, y, labels = make_data(n=60, p=200, noise=9.0)
    cv = ShuffleSplit(1, test_size=0.4, random_state=0)
    model = fitted(X, y, feature_groups=labels, cv=cv)
    shared = fitted(X, y, feature_groups="shared", cv=cv)
    assert model.best_score_ >= shared.best_score_
    ((train, valid),) = cv.split(X)
    ridge = Ridge(alpha=shared.alpha_[0] * len(train) / len(y)).fit(X[train], y[train])
    loss = mean_squared_error(y[valid], ridge.predict(X[valid]))
    np.testing.assert_allclose(shared.best_score_, -loss, rtol=1e-8)


@pytest.mark.parametrize("hyperpenalty", [None, ("smooth", 0.1), ("sparse", 0.1)])
@pytest.mark.parametrize("cv", [SPLITS, "gcv"])
def test_weights_are_repetitions(cv, hyperpenalty):
    X, y, _ = make_data()
    times = np.random.default_rng(1).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), times)
    repeated = cv
    if not isinstance(cv, str):
        repeated = [
            (np.flatnonzero(np.isin(rows, a)), np.flatnonzero(np.isin(rows, b)))
            for a, b in cv
        ]
    params = {"feature_groups": np.arange(24) % 4, "hyperpenalty": hyperpenalty}
    a = fitted(X, y, times.astype(float), cv=cv, **params)
    b = fitted(X[rows], y[rows], cv=repeated, **params)
    np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(a.best_score_, b.best_score_, rtol=1e-8)


def test_unpenalized_columns():
    X, y, _ = make_data()
    X = np.column_stack([X, np.arange(120) % 2])
    y = y + 50.0 * X[:, -1]
    for cv in (SPLITS, "loo", "gcv"):
        model = fitted(X, y, unpenalized=[24], cv=cv)
        assert model.alpha_[24] == 0.0
        np.testing.assert_allclose(model.coef_[24], 50.0, atol=1.0)
        shared = fitted(X, y, unpenalized=[24], feature_groups="shared", cv=cv)
        E = np.column_stack([np.ones(120), X[:, -1]])
        P = np.eye(120) - E @ np.linalg.pinv(E)
        ridge = Ridge(alpha=shared.alpha_[0], fit_intercept=False).fit(
            P @ X[:, :24], P @ y
        )
        np.testing.assert_allclose(shared.coef_[:24], ridge.coef_, rtol=1e-7)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.parametrize("solver", ["auto", "dual", "amigo"])
@pytest.mark.parametrize("cv", [SPLITS, "loo", "gcv"])
def test_nothing_is_penalized_or_nothing_varies(cv, solver):
    X, y, _ = make_data(p=3)
    fit = partial(fitted, cv=cv, solver=solver)
    if isinstance(cv, str) and solver == "amigo":
        with pytest.raises(ValueError, match="solver='amigo' does without factors"):
            fit(X, y)
        return
    free = fit(X, y, unpenalized=[0, 1, 2])
    np.testing.assert_allclose(
        free.coef_, np.linalg.lstsq(X - X.mean(0), y - y.mean(), rcond=None)[0]
    )
    constant = fit(np.ones((120, 2)), y)
    np.testing.assert_array_equal(constant.coef_, 0.0)
    np.testing.assert_allclose(constant.intercept_, y.mean())
    same = fit(X, np.full(120, 7.0))
    np.testing.assert_allclose(same.predict(X), 7.0)


@pytest.mark.parametrize("hyperpenalty", [None, ("smooth", 0.01), ("sparse", 0.01)])
@pytest.mark.parametrize("groups", [None, np.arange(24) % 4, "shared"])
def test_bounds_are_respected(groups, hyperpenalty):
    X, y, _ = make_data()
    bounds = (2.0, 30.0)
    model = fitted(
        X, y, feature_groups=groups, alpha_bounds=bounds, hyperpenalty=hyperpenalty
    )
    assert model.alpha_.min() >= 2.0 * (1 - 1e-12)
    assert model.alpha_.max() <= 30.0 * (1 + 1e-12)
    fixed = fitted(X, y, feature_groups=groups, alpha_bounds=(5.0, 5.0))
    np.testing.assert_allclose(fixed.alpha_, 5.0)
    np.testing.assert_allclose(fixed.coef_, Ridge(alpha=5.0).fit(X, y).coef_)


def test_start():
    X, y, labels = make_data()
    first = fitted(X, y, feature_groups=labels, tol=1e-6)
    again = fitted(X, y, feature_groups=labels, alpha_init=first.alpha_, tol=1e-6)
    assert again.n_iter_ <= 2
    np.testing.assert_allclose(again.coef_, first.coef_, atol=1e-4)
    far = fitted(X, y, feature_groups=labels, alpha_init=1e4)
    np.testing.assert_allclose(far.best_score_, first.best_score_, rtol=1e-3)


def test_metadata():
    X, y, labels = make_data(n=120, p=24)
    Z = np.array([0.0, 1.0, 2.0, 3.0])[labels]
    model = fitted(X, y, feature_metadata=Z)
    by_column = fitted(X, y, feature_metadata=lambda X, y, s: Z)
    np.testing.assert_allclose(model.coef_, by_column.coef_, rtol=1e-6, atol=1e-9)
    # log alpha is linear in the metadata.
    levels = np.log(model.alpha_[:4])
    np.testing.assert_allclose(np.diff(levels, 2), 0.0, atol=1e-6)
    assert model.best_score_ > fitted(X, y, feature_groups="shared").best_score_
    free = fitted(X, y, feature_metadata=Z, hyperpenalty=("smooth", 1e-3))
    assert free.best_score_ > model.best_score_
    stiff = fitted(X, y, feature_metadata=Z, hyperpenalty=("smooth", 1e4))
    np.testing.assert_allclose(stiff.coef_, model.coef_, atol=1e-2)


def test_hyperpenalties():
    X, y, _ = make_data()
    spread = []
    for value in (1e-3, 1e-1, 10.0, 1e4):
        model = fitted(X, y, hyperpenalty=("smooth", value))
        assert np.isfinite(model.alpha_).all()
        spread.append(np.log(model.alpha_).std())
        assert model.hyperpenalty_["family"].tolist() == ["smooth"]
        assert model.hyperpenalty_["value"].tolist() == [value]
    assert (np.diff(spread) < 0).all()
    assert spread[-1] < 1e-2
    total = [
        (1.0 / fitted(X, y, hyperpenalty=("sparse", value)).alpha_).sum()
        for value in (1e-3, 1e-1, 10.0)
    ]
    assert (np.diff(total) < 0).all()


def test_several_targets_share_strengths():
    X, y, labels = make_data()
    Y = np.column_stack([y, y + np.random.default_rng(2).standard_normal(120)])
    for cv in (SPLITS, "loo", "gcv"):
        model = fitted(X, Y, feature_groups=labels, cv=cv)
        assert model.coef_.shape == (2, 24)
        assert model.alpha_.shape == (24,)
        doubled = fitted(X, np.column_stack([y, y]), feature_groups=labels, cv=cv)
        single = fitted(X, y, feature_groups=labels, cv=cv)
        np.testing.assert_allclose(doubled.best_score_, single.best_score_, rtol=1e-5)
    each = fitted(X, Y, feature_groups=labels, alpha_per_target=True)
    assert each.alpha_.shape == (2, 24)
    np.testing.assert_allclose(
        each.coef_[0], fitted(X, y, feature_groups=labels).coef_, atol=1e-10
    )


def test_scores_are_those_of_models_that_have_not_seen_the_rows():
    X, y, labels = make_data()
    plain = fitted(X, y, feature_groups=labels)
    scored = fitted(X, y, feature_groups=labels, scoring="neg_mean_squared_error")
    np.testing.assert_allclose(plain.best_score_, scored.best_score_, rtol=1e-8)
    loo = fitted(X, y, feature_groups=labels, cv="loo")
    scored = fitted(
        X, y, feature_groups=labels, cv="loo", scoring="neg_mean_squared_error"
    )
    np.testing.assert_allclose(loo.best_score_, scored.best_score_, rtol=1e-8)
    Y = np.column_stack([y, -y])
    both = fitted(X, Y, cv="gcv", scoring="r2", feature_groups=labels)
    assert 0.0 < both.best_score_ < 1.0
    label = np.where(y > np.median(y), "high", "low")
    classifier = BilevelRidgeClassifierCV(
        hyperpenalty=None, cv="loo", scoring="accuracy", feature_groups=labels
    ).fit(X, label)
    assert 0.5 < classifier.best_score_ <= 1.0


def test_verbose_and_warning(capsys):
    X, y, _ = make_data()
    model = fitted(X, y, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + model.n_iter_
    assert "start" in lines[0]
    assert all("iteration" in line for line in lines[1:])
    with pytest.warns(ConvergenceWarning, match="max_iter") as record:
        fitted(X, y, max_iter=1)
    assert len(record) == 1
    assert "outer search" in str(record[0].message)


def test_noise_predicts_like_the_mean():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 5)), rng.standard_normal(100)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        model = fitted(X, y, feature_groups="shared", cv="loo")
    assert abs(model.predict(X) - y.mean()).max() < 0.5


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"solver": "newtonn"}, "solver"),
        ({"solver": CG()}, "solver"),
        ({"alpha_bounds": (2.0, 1.0)}, "alpha_bounds"),
        ({"alpha_bounds": (0.0, 1.0)}, "alpha_bounds"),
        ({"alpha_bounds": (1.0,)}, "alpha_bounds"),
        ({"alpha_bounds": ("a", 2.0)}, "alpha_bounds"),
        ({"alpha_init": [1.0, 2.0]}, "alpha_init"),
        ({"alpha_init": -np.ones(24)}, "alpha_init"),
        ({"hyperpenalty": ("rough", 1.0)}, "hyperpenalty"),
        ({"hyperpenalty": ("smooth", -1.0)}, "hyperpenalty"),
        ({"hyperpenalty": ("smooth",)}, "hyperpenalty"),
        ({"hyperpenalty": ("smooth", "x")}, "hyperpenalty"),
        ({"feature_metadata": np.ones((3, 1))}, "feature_metadata"),
        ({"feature_metadata": np.full((24, 1), np.nan)}, "feature_metadata"),
        (
            {"feature_metadata": np.ones((24, 1)), "feature_groups": "shared"},
            "feature_metadata",
        ),
        ({"cv": [(np.arange(5), np.array([], dtype=int))]}, "cv"),
    ],
)
def test_errors_name_the_parameter(params, match):
    X, y, _ = make_data()
    with pytest.raises(ValueError, match=match):
        fitted(X, y, **params)


def test_groups_cannot_be_kept_together_by_leaving_out_rows():
    X, y, _ = make_data()
    with pytest.raises(ValueError, match="groups"):
        BilevelRidgeCV(hyperpenalty=None, cv="loo").fit(
            X, y, groups=np.arange(120) // 4
        )
    model = BilevelRidgeCV(hyperpenalty=None, cv=4, feature_groups="shared")
    model.fit(X, y, groups=np.arange(120) // 4)


def test_fits_repeat_and_leave_their_input():
    X, y, labels = make_data()
    before = X.copy(), y.copy()
    params = {"hyperpenalty": None, "feature_groups": labels}
    a = BilevelRidgeCV(**params).fit(X, y)
    b = BilevelRidgeCV(n_jobs=2, **params).fit(X, y)
    np.testing.assert_array_equal(a.coef_, b.coef_)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_groups_informative():
    """Excess error of six groups, two of them noise, is a third below RidgeCV's."""
    excess = {"ours": 0.0, "ridge": 0.0}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        labels = np.arange(60) // 10
        w = rng.standard_normal(60) * np.array([1.0, 0.5, 0.25, 0.1, 0.0, 0.0])[labels]
        X = rng.standard_normal((300, 60))
        y = X @ w + 2.0 * rng.standard_normal(300)
        ours = BilevelRidgeCV(hyperpenalty=None, feature_groups=labels).fit(X, y)
        ridge = RidgeCV(np.logspace(-3, 5, 41)).fit(X, y)
        excess["ours"] += ((ours.coef_ - w) ** 2).sum()
        excess["ridge"] += ((ridge.coef_ - w) ** 2).sum()
    assert excess["ours"] < 0.65 * excess["ridge"]


@pytest.mark.parametrize("groups", [None, np.arange(24) % 4, "shared"])
@pytest.mark.parametrize("scale", [1.0, 10.0 ** np.linspace(-3, 3, 24)])
def test_the_guard_respects_bounds_and_starts(groups, scale):
    X, y, _ = make_data()
    model = BilevelRidgeCV(feature_groups=groups, alpha_bounds=(2.0, 30.0))
    model.fit(X * scale, y)
    assert model.alpha_.min() >= 2.0 * (1 - 1e-9)
    assert model.alpha_.max() <= 30.0 * (1 + 1e-9)
    fixed = BilevelRidgeCV(feature_groups=groups, alpha_bounds=(5.0, 5.0))
    fixed.fit(X * scale, y)
    np.testing.assert_allclose(fixed.alpha_, 5.0, rtol=1e-9)
    ridge = Ridge(alpha=5.0, solver="cholesky").fit(X * scale, y)
    np.testing.assert_allclose(fixed.coef_ * scale, ridge.coef_ * scale, atol=1e-8)
    start = 1.0 / np.abs(ridge.coef_ * scale)
    near = BilevelRidgeCV(feature_groups=groups, alpha_init=start).fit(X, y)
    plain = BilevelRidgeCV(feature_groups=groups).fit(X, y)
    np.testing.assert_allclose(near.best_score_, plain.best_score_, rtol=0.1)


def test_threads_change_nothing():
    """From 300 columns on folds are tasks of their own."""
    X, y, labels = make_data(p=300)
    one, two = (fitted(X, y, feature_groups=labels, n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    np.testing.assert_array_equal(one.alpha_, two.alpha_)


def test_types_of_input():
    pd = pytest.importorskip("pandas")
    X, y, labels = make_data()
    wanted = fitted(X, y, feature_groups=labels)
    single = fitted(X.astype(np.float32), y, feature_groups=labels)
    assert single.coef_.dtype == np.float32
    np.testing.assert_allclose(single.coef_, wanted.coef_, atol=1e-4)
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(24)])
    named = fitted(frame, y, feature_groups=labels, unpenalized=["x3"])
    np.testing.assert_array_equal(
        named.coef_, fitted(X, y, feature_groups=labels, unpenalized=3).coef_
    )
    Z = pd.DataFrame({"a": labels, "b": labels**2})
    np.testing.assert_array_equal(
        fitted(frame, y, feature_metadata=Z).coef_,
        fitted(X, y, feature_metadata=Z.to_numpy()).coef_,
    )
    for cv in (SPLITS, "loo", "gcv"):
        dense = fitted(X, y, cv=cv, feature_groups=labels)
        rows = fitted(sparse.csr_array(X), y, cv=cv, feature_groups=labels)
        np.testing.assert_allclose(rows.coef_, dense.coef_, rtol=1e-6, atol=1e-8)
