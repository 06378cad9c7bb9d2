"""BilevelLassoCV and BilevelElasticNetCV: strengths of an l1 part."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_diabetes, make_regression
from sklearn.linear_model import ElasticNet, Lasso, LassoCV
from sklearn.model_selection import KFold, LeaveOneOut, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelElasticNetCV,
    BilevelLassoCV,
    BilevelSearchCV,
    RowBlocks,
    to_sklearn,
)

RNG = np.random.default_rng(0)
FOLDS = list(KFold(4, shuffle=True, random_state=0).split(np.zeros(80)))


def draw(n, p, noise=20.0, seed=1):
    """Six useful columns, none of them centred."""
    X, y = make_regression(n, p, n_informative=6, noise=noise, random_state=seed)
    return X + np.linspace(-1.0, 1.0, p), 3.0 * y + 50.0


def balance(model, X, y, weight=None):
    """How far the slopes of the penalty and of the loss are apart, in units of both."""
    weight = np.ones(len(y)) if weight is None else weight
    u = X.T @ (weight * (y - model.predict(X))) / weight.sum()
    w, alpha = model.coef_, model.alpha_
    share = getattr(model, "l1_ratio_", 1.0) * np.ones(len(w))
    kept = w != 0
    slope = alpha[kept] * (share[kept] * np.sign(w[kept]) + (1 - share[kept]) * w[kept])
    at_zero = np.isfinite(alpha) & ~kept
    beyond = abs(u[at_zero]) - alpha[at_zero] * share[at_zero]
    scale = abs(X.T @ (weight * (y - y.mean()))).max() / weight.sum()
    apart = max(abs(u[kept] - slope).max(initial=0.0), beyond.max(initial=0.0))
    return apart / scale


def by_folds(X, y, alpha, folds):
    """Mean squared error of lassos of scikit-learn on held-out rows."""
    used, errors = np.isfinite(alpha), []
    for train, valid in folds:
        Z = (X / alpha)[:, used]
        model = Lasso(alpha=1.0, tol=1e-10, max_iter=10**6).fit(Z[train], y[train])
        errors.append((y[valid] - model.predict(Z[valid])) ** 2)
    return float(np.concatenate(errors).mean())


SETTINGS = {
    "guard": lambda place: {"cv": 3},
    "criterion": lambda place: {"hyperpenalty": None, "cv": 3, "max_iter": 10},
    "smooth": lambda place: {"hyperpenalty": ("smooth", 1.0), "cv": 3, "max_iter": 5},
    "labels": lambda place: {"feature_groups": place % 3, "cv": 3},
    "metadata": lambda place: {"feature_metadata": place[:, None] < 6.0, "cv": 3},
    "unpenalized": lambda place: {"unpenalized": [0, 3], "cv": 3},
}


@pytest.mark.filterwarnings(
    "ignore::skbilevel.exceptions.BoundaryWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)
@pytest.mark.parametrize("shape", [(80, 12), (40, 60)], ids=["tall", "wide"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_coefficients_are_the_solution_at_the_strengths(shape, setting):
    """With weights, and the same for a sparse X."""
    X, y = draw(*shape)
    place = np.arange(shape[1])
    params = SETTINGS[setting](place)
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    net = setting in ("guard", "smooth")
    model = BilevelElasticNetCV(l1_ratio=0.7) if net else BilevelLassoCV()
    model.set_params(**params).fit(X, y, weight)
    assert balance(model, X, y, weight) < 1e-6
    assert abs(weight @ (y - model.predict(X))) < 1e-6 * weight.sum()
    assert (model.coef_ != 0).sum() > 3
    if setting == "unpenalized":
        assert (model.alpha_[[0, 3]] == 0).all()
    if setting == "labels":
        assert len(model.group_alpha_) == 3
    if setting in ("guard", "criterion"):
        other = clone(model).fit(sparse.csr_array(X), y, weight)
        scale = abs(model.coef_).max()
        np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-6 * scale)


def test_one_strength_is_that_of_scikit_learn():
    X, y = draw(80, 12, noise=80.0)
    one = BilevelLassoCV(feature_groups="shared", cv=FOLDS).fit(X, y)
    assert np.ptp(one.alpha_) == 0
    plain = Lasso(alpha=one.alpha_[0], tol=1e-12, max_iter=10**6).fit(X, y)
    np.testing.assert_allclose(one.coef_, plain.coef_, atol=1e-6)
    grid = LassoCV(cv=FOLDS, tol=1e-6, max_iter=10**5).fit(X, y)
    tuned = BilevelLassoCV(hyperpenalty=None, feature_groups="shared", cv=FOLDS)
    tuned.fit(X, y)
    ours, theirs = (
        by_folds(X, y, np.full(12, a), FOLDS) for a in (tuned.alpha_[0], grid.alpha_)
    )
    assert ours == pytest.approx(-tuned.best_score_, rel=1e-8)
    assert ours < theirs * (1 + 1e-4)
    net = BilevelElasticNetCV(l1_ratio=0.4, feature_groups="shared").fit(X, y)
    plain = ElasticNet(alpha=net.alpha_[0], l1_ratio=0.4, tol=1e-12, max_iter=10**6)
    np.testing.assert_allclose(net.coef_, plain.fit(X, y).coef_, atol=1e-6)


def test_the_search_ends_where_explicit_refits_are_stationary():
    X, y = draw(80, 12, noise=80.0)
    box = (3.0, 300.0)
    model = BilevelLassoCV(hyperpenalty=None, cv=FOLDS, tol=1e-7, alpha_bounds=box)
    model.fit(X, y)
    value, alpha = by_folds(X, y, model.alpha_, FOLDS), model.alpha_
    assert value == pytest.approx(-model.best_score_, rel=1e-8)
    assert value == pytest.approx(model.history_["value"][-1], rel=1e-8)
    assert value < 0.97 * model.history_["value"][0]
    inside = (alpha > 1.001 * box[0]) & (alpha < 0.999 * box[1])
    assert inside.sum() > 2
    for j in np.flatnonzero(inside):
        moved = 1e-4 * (np.arange(12) == j)
        ends = [by_folds(X, y, alpha * np.exp(s * moved), FOLDS) for s in (1, -1)]
        assert abs(ends[0] - ends[1]) / 2e-4 < 1e-5 * value


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_a_sparse_truth_and_noise():
    """Better than LassoCV where few columns are useful, no worse where none is."""
    rng = np.random.default_rng(0)
    sparse_truth, noise = [], []
    for seed in range(3):
        X, y = make_regression(150, 40, n_informative=6, noise=40.0, random_state=seed)
        train, test = slice(0, 100), slice(100, None)
        ratio = []
        for target in (y, rng.standard_normal(150)):
            both = []
            for model in (BilevelLassoCV(), LassoCV()):
                model.fit(X[train], target[train])
                both.append(np.mean((target[test] - model.predict(X[test])) ** 2))
            ratio.append(np.log(both[0] / both[1]))
        sparse_truth.append(ratio[0])
        noise.append(ratio[1])
    assert np.mean(sparse_truth) < -0.02
    assert np.mean(noise) < 0.02


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_shares():
    X, y = draw(60, 8, noise=5.0)
    own = np.linspace(0.2, 1.0, 8)
    model = BilevelElasticNetCV(l1_ratio=own, unpenalized=[2]).fit(X, y)
    np.testing.assert_array_equal(model.l1_ratio_, own)
    assert balance(model, X, y) < 1e-7
    tuned = BilevelElasticNetCV(cv=3).fit(X, y)
    assert tuned.l1_ratio_ in (0.1, 0.5, 0.9, 1.0)
    as_lasso = BilevelElasticNetCV(l1_ratio=1.0, cv=3).fit(X, y)
    lasso = BilevelLassoCV(cv=3).fit(X, y)
    np.testing.assert_array_equal(as_lasso.coef_, lasso.coef_)
    # Two copies of a column: an l2 part shares the coefficient out.
    twice = np.column_stack([X, X[:, 0]])
    net = BilevelElasticNetCV(l1_ratio=0.5, feature_groups="shared").fit(twice, y)
    assert net.coef_[0] == pytest.approx(net.coef_[-1], rel=1e-6)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.parametrize("cls", [BilevelLassoCV, BilevelElasticNetCV])
def test_limits_and_start(cls):
    X, y = draw(60, 8)
    low, high = 2.0, 6.0
    for params in ({}, {"hyperpenalty": None, "cv": 3}):
        model = cls(alpha_bounds=(low, high), **params).fit(X, y)
        assert (model.alpha_ >= low * (1 - 1e-9)).all()
        assert (model.alpha_ <= high * (1 + 1e-9)).all()
        assert balance(model, X, y) < 1e-7
    start = cls(hyperpenalty=None, cv=3, alpha_init=3.0, max_iter=1, tol=1e3).fit(X, y)
    np.testing.assert_allclose(start.alpha_, 3.0, rtol=1e-12)


def test_units():
    """Strengths of an l1 part are in the unit of y over that of X; shares are not."""
    X, y = draw(60, 8)
    model = BilevelLassoCV(cv=3).fit(X, y)
    other = BilevelLassoCV(cv=3).fit(X, 1000.0 * y + 7.0)
    np.testing.assert_allclose(other.coef_, 1000.0 * model.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(other.alpha_, 1000.0 * model.alpha_, rtol=1e-6)
    small = BilevelLassoCV(cv=3).fit(X.astype(np.float32), y)
    assert small.coef_.dtype == np.float32
    np.testing.assert_allclose(small.coef_, model.coef_, rtol=1e-2, atol=1e-2)


def test_in_a_pipeline_and_as_a_plain_model():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    chain = make_pipeline(StandardScaler(), BilevelLassoCV(cv=3)).fit(X[:200], y[:200])
    assert 0.3 < chain.score(X[200:], y[200:]) < 0.6
    plain = to_sklearn(chain)
    assert type(plain[-1]) is Lasso
    np.testing.assert_array_equal(plain.predict(X), chain.predict(X))
    named = BilevelLassoCV(unpenalized=["bmi"], hyperpenalty=None, cv=3).fit(X, y)
    assert named.alpha_[list(X.columns).index("bmi")] == 0
    assert set(chain[-1].hyperpenalty_["family"]) == {"shared", "folds", "adaptive"}
    found = BilevelSearchCV(chain, cv=3, n_jobs=1).fit(X[:100], y[:100])
    assert found.best_estimator_.score(X, y) > 0.3
    chain.set_params(bilevellassocv__hyperpenalty=None)
    with pytest.raises(ValueError, match=r"hyperpenalty=None of an l1 penalty"):
        BilevelSearchCV(chain, cv=3).fit(X[:100], y[:100])
    known = BilevelLassoCV(feature_metadata=lambda X, y, w: X.T @ y, cv=3).fit(X, y)
    assert known.score(X, y) > 0.3
    with pytest.raises(ValueError, match="feature_metadata is a function of rows"):
        known.set_params(hyperpenalty=None).fit(X, y)


def test_rows_in_blocks():
    X, y = draw(200, 8, noise=80.0)
    cv = PredefinedSplit(np.arange(200) % 4)
    model = BilevelLassoCV(feature_groups="shared", cv=cv)
    model.fit(RowBlocks.from_arrays(X, y, block_rows=50))
    assert balance(model, X, y) < 1e-7
    grid = LassoCV(cv=cv, tol=1e-6, max_iter=10**5).fit(X, y)
    ours, theirs = (
        by_folds(X, y, np.full(8, alpha), list(cv.split()))
        for alpha in (model.alpha_[0], grid.alpha_)
    )
    assert ours < theirs * (1 + 1e-3)
    with pytest.raises(ValueError, match=r"y has 2 columns"):
        BilevelLassoCV().fit(RowBlocks.from_arrays(X, np.column_stack([y, y])))


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_what_cannot_be_fitted():
    X, y = draw(40, 5)
    for cv in ("loo", "gcv", "reml", LeaveOneOut()):
        for penalty in ("auto", None):
            with pytest.raises(ValueError, match=r"cv='\w+' has no closed form"):
                BilevelLassoCV(cv=cv, hyperpenalty=penalty).fit(X, y)
    with pytest.raises(ValueError, match=r"y has 2 columns.*MultiOutputRegressor"):
        BilevelLassoCV().fit(X, np.column_stack([y, y]))
    for ratio, words in (
        (np.ones(4), "has shape"),
        (np.r_[0.0, np.ones(4)], "above 0"),
    ):
        with pytest.raises(ValueError, match=f"l1_ratio.*{words}"):
            BilevelElasticNetCV(l1_ratio=ratio).fit(X, y)
    for name, instead in (
        ("solver", "one solver"),
        ("l1_ratio", "BilevelElasticNetCV"),
    ):
        with pytest.raises(TypeError, match=f"{name}.*{instead}"):
            BilevelLassoCV(**{name: 1.0})
    model = BilevelLassoCV(cv=2, feature_groups="shared").fit(X, y)
    with pytest.raises(ValueError, match="has no standard errors"):
        model.contrast_std(X)
    # In words that name no private class.
    with pytest.raises(TypeError, match=r"^predict\(\) got an unexpected"):
        model.predict(X, return_std=True)


@pytest.mark.filterwarnings(
    "ignore::skbilevel.exceptions.BoundaryWarning",
    "ignore::skbilevel.exceptions.DataWarning",
)
@pytest.mark.parametrize("setting", [{}, {"hyperpenalty": None, "cv": 3}])
def test_nothing_to_learn(setting):
    X, y = draw(40, 5)
    flat = BilevelLassoCV(**setting).fit(X, np.ones(40))
    assert (flat.coef_ == 0).all()
    assert flat.predict(X) == pytest.approx(1.0)
    constant = BilevelLassoCV(**setting).fit(np.ones((40, 3)), y)
    assert (constant.coef_ == 0).all()
    few = BilevelLassoCV(**setting).fit(X[:6], y[:6])
    assert np.isfinite(few.predict(X)).all()
    free = BilevelLassoCV(unpenalized=np.arange(5), **setting).fit(X, y)
    assert (free.alpha_ == 0).all()
