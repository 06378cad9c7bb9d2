"""BilevelPoissonCV, BilevelGammaCV and BilevelTweedieCV."""

import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.linear_model import TweedieRegressor
from sklearn.metrics import get_scorer, mean_poisson_deviance
from sklearn.model_selection import GroupKFold, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelGammaCV, BilevelPoissonCV, BilevelTweedieCV

N, P = 90, 6
OLD = sklearn.__version__ < "1.8"
POWERS = {"poisson": 1.0, "gamma": 2.0, "tweedie": 1.5}


def make(name, **params):
    classes = [BilevelPoissonCV, BilevelGammaCV, BilevelTweedieCV]
    return dict(zip(POWERS, classes, strict=True))[name](**params)


def make_data(name, n=N, p=P, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    mu = np.exp(0.5 * X[:, 0] - 0.4 * X[:, 1] + 1.0)
    if name == "gamma":
        return X, rng.gamma(2.0, mu / 2.0)
    counts = rng.poisson(mu)
    if name == "poisson":
        return X, counts.astype(float)
    return X, rng.gamma(np.maximum(counts, 1e-3)) * (counts > 0)


def given(power, alpha, X, y, sample_weight=None, **params):
    """TweedieRegressor with one strength per feature: columns are scaled."""
    root = 1.0 / np.sqrt(alpha)
    model = TweedieRegressor(
        power=power, alpha=1.0, link="log", tol=1e-12, max_iter=10_000, **params
    )
    model.set_params(solver="newton-cholesky")
    model.fit(X * root, y, sample_weight=sample_weight)
    return model.coef_ * root, model.intercept_


@pytest.fixture(scope="module", params=list(POWERS))
def fitted(request):
    X, y = make_data(request.param)
    return request.param, X, y, make(request.param).fit(X, y)


def test_coefficients_are_those_of_scikit_learn(fitted):
    name, X, y, model = fitted
    assert model.coef_.shape == model.alpha_.shape == (P,)
    coef, intercept = given(POWERS[name], model.alpha_, X, y)
    assert_allclose(model.coef_, coef, atol=1e-5)
    assert_allclose(model.intercept_, intercept, atol=1e-5)
    assert np.ndim(model.intercept_) == 0


def test_predictions_are_means(fitted):
    _, X, y, model = fitted
    assert_allclose(model.predict(X), np.exp(X @ model.coef_ + model.intercept_))
    assert_allclose(model.predict(X).mean(), y.mean(), rtol=0.2)
    offset = np.linspace(-1.0, 1.0, N)
    assert_allclose(model.predict(X, offset), model.predict(X) * np.exp(offset))
    assert np.isfinite(model.predict(1e6 * X)).all()
    assert np.isfinite(model.predict(1e6 * X.astype(np.float32))).all()


def test_score_is_the_share_of_the_deviance(fitted):
    name, X, y, model = fitted
    weight = 1.0 + np.arange(N) % 3
    reference = TweedieRegressor(power=POWERS[name], link="log").fit(X, y)
    reference.coef_, reference.intercept_ = model.coef_, model.intercept_
    assert_allclose(model.score(X, y), reference.score(X, y), rtol=1e-8)
    expected = reference.score(X, y, sample_weight=weight)
    assert_allclose(model.score(X, y, sample_weight=weight), expected, rtol=1e-8)


def test_score_with_offset(fitted):
    name, X, y, _ = fitted
    offset = np.sin(np.arange(N))
    null = make(name, alpha_bounds=(1e9, 1e9)).fit(X, y, offset=offset)
    # With offsets the best constant is that of a model without features.
    assert abs(null.score(X, y, offset=offset)) < 1e-6
    better = make(name).fit(X, y, offset=offset)
    assert better.score(X, y, offset=offset) > 0.05


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_one_given_strength(name, hyperpenalty):
    X, y = make_data(name)
    weight = 1.0 + np.arange(N) % 3
    model = make(name, alpha_bounds=(0.3, 0.3), hyperpenalty=hyperpenalty)
    model.fit(X, y, sample_weight=weight)
    assert_allclose(model.alpha_, 0.3)
    coef, intercept = given(POWERS[name], 0.3, X, y, weight)
    assert_allclose(model.coef_, coef, atol=1e-6)
    assert_allclose(model.intercept_, intercept, atol=1e-6)


def test_units_of_the_start_and_of_the_reports():
    X, y = make_data("poisson")
    params = {"alpha_bounds": (0.01, 1.0), "alpha_init": 0.1}
    for hyperpenalty in ("auto", None):
        model = BilevelPoissonCV(hyperpenalty=hyperpenalty, **params).fit(X, y)
        reported = model.hyperpenalty_["alpha"]
        assert (reported >= 0.01 * (1 - 1e-9)).all()
        assert (reported <= 1.0 + 1e-9).all()
    again = BilevelPoissonCV(hyperpenalty=None, **params)
    again.fit(X, y, sample_weight=np.full(N, 1e3))
    assert_allclose(again.alpha_, model.alpha_, rtol=2e-2)
    with pytest.raises(ValueError, match="alpha_bounds"):
        BilevelPoissonCV(alpha_bounds=(1.0, -1.0)).fit(X, y)
    with pytest.raises(ValueError, match="alpha_init"):
        BilevelPoissonCV(alpha_init=np.ones(3)).fit(X, y)


@pytest.mark.parametrize(("power", "name"), [(1.0, "poisson"), (2.0, "gamma")])
def test_tweedie_contains_both_ends(power, name):
    X, y = make_data(name)
    model = BilevelTweedieCV(power=power).fit(X, y)
    assert_array_equal(model.coef_, make(name).fit(X, y).coef_)


def test_it_learns_which_features_matter():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 12))
    y = rng.poisson(np.exp(0.5 * X[:, 0] - 0.5 * X[:, 1]))
    model = BilevelPoissonCV().fit(X, y)
    assert model.alpha_[:2].max() < np.median(model.alpha_[2:])


# Exposure, weights and offsets.


def test_rates_with_exposure_are_counts_with_offset():
    rng = np.random.default_rng(1)
    X, _ = make_data("poisson")
    exposure = rng.uniform(0.2, 3.0, N)
    counts = rng.poisson(exposure * np.exp(0.5 * X[:, 0]))
    total = exposure.sum()
    rates = BilevelPoissonCV(alpha_bounds=(0.1, 0.1))
    rates.fit(X, counts / exposure, sample_weight=exposure)
    alpha = 0.1 * total / N
    offsets = BilevelPoissonCV(alpha_bounds=(alpha, alpha))
    offsets.fit(X, counts, offset=np.log(exposure))
    assert_allclose(rates.coef_, offsets.coef_, atol=1e-7)
    assert_allclose(rates.intercept_, offsets.intercept_, atol=1e-7)


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_a_constant_offset_moves_the_intercept(name, hyperpenalty):
    X, y = make_data(name)
    params = {"hyperpenalty": hyperpenalty, "feature_groups": np.arange(P) // 3}
    plain = make(name, **params).fit(X, y)
    moved = make(name, **params).fit(X, y, offset=np.full(N, 0.7))
    assert_allclose(moved.coef_, plain.coef_, rtol=1e-4, atol=1e-5)
    assert_allclose(moved.intercept_, plain.intercept_ - 0.7, atol=1e-5)
    assert_allclose(moved.best_score_, plain.best_score_, rtol=1e-5)


@pytest.mark.parametrize("name", POWERS)
@pytest.mark.parametrize("params", [{}, {"hyperpenalty": None}], ids=str)
def test_explicit_splits_make_weights_repetitions(name, params):
    X, y = make_data(name)
    times = np.random.default_rng(2).integers(0, 3, N)
    index = np.repeat(np.arange(N), times)
    offset = np.cos(np.arange(N))
    label = np.arange(N) % 3
    cv = [(np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in range(3)]
    repeated = [
        (np.flatnonzero(label[index] != k), np.flatnonzero(label[index] == k))
        for k in range(3)
    ]
    a = make(name, cv=cv, **params).fit(X, y, sample_weight=times, offset=offset)
    b = make(name, cv=repeated, **params)
    b.fit(X[index], y[index], offset=offset[index])
    assert_allclose(a.coef_, b.coef_, rtol=1e-5, atol=1e-6)
    assert_allclose(a.best_score_, b.best_score_, rtol=1e-6)
    with np.errstate(divide="ignore"):
        assert_allclose(1.0 / a.alpha_, 1.0 / b.alpha_, rtol=1e-3, atol=1e-3)


# Scores.


def test_best_score():
    X, y = make_data("poisson")
    cv = KFold(3)
    plain = BilevelPoissonCV(cv=cv).fit(X, y)
    scored = BilevelPoissonCV(cv=cv, scoring="neg_mean_poisson_deviance").fit(X, y)
    assert_array_equal(scored.coef_, plain.coef_)
    # The deviance is twice its half.
    assert_allclose(scored.best_score_, 2.0 * plain.best_score_, rtol=1e-6)
    expected = -mean_poisson_deviance(y, scored.predict(X))
    assert_allclose(scored.score(X, y), expected)


def test_scorers_see_the_offset():
    X, y = make_data("poisson")
    offset = np.cos(np.arange(N))
    cv = KFold(3)
    plain = BilevelPoissonCV(cv=cv).fit(X, y, offset=offset)
    model = BilevelPoissonCV(cv=cv, scoring="neg_mean_poisson_deviance")
    model.fit(X, y, offset=offset)
    assert_allclose(model.best_score_, 2.0 * plain.best_score_, rtol=1e-6)
    expected = -mean_poisson_deviance(y, model.predict(X, offset=offset))
    assert_allclose(model.score(X, y, offset=offset), expected)


def test_leave_one_out():
    X, y = make_data("poisson")
    offset = np.cos(np.arange(N))
    model = BilevelPoissonCV(
        hyperpenalty=None,
        feature_groups="shared",
        cv="loo",
        scoring="neg_mean_poisson_deviance",
    ).fit(X, y, offset=offset)
    alpha, rest = float(model.alpha_[0]), []
    for i in range(N):
        keep = np.arange(N) != i
        inner = alpha * N / (N - 1)
        left = BilevelPoissonCV(hyperpenalty=None, alpha_bounds=(inner, inner), cv=2)
        left.fit(X[keep], y[keep], offset=offset[keep])
        mean = left.predict(X[[i]], offset=offset[[i]])
        rest.append(mean_poisson_deviance(y[[i]], mean))
    assert_allclose(-model.best_score_, np.mean(rest), rtol=1e-2)


# Containers and surroundings.


@pytest.mark.parametrize("name", POWERS)
def test_sparse_frames_and_single_precision(name):
    X, y = make_data(name)
    X[np.random.default_rng(0).random(X.shape) < 0.4] = 0.0
    dense = make(name).fit(X, y)
    given = sparse.csr_array(X)
    model = make(name).fit(given, y)
    assert_allclose(model.coef_, dense.coef_, rtol=1e-6, atol=1e-7)
    assert_allclose(model.predict(given), dense.predict(X), rtol=1e-6)
    single = make(name).fit(X.astype(np.float32), y)
    assert single.coef_.dtype == np.float32
    assert single.predict(X.astype(np.float32)).dtype == np.float32
    assert_allclose(single.coef_, dense.coef_, rtol=1e-3, atol=1e-4)
    table = pd.DataFrame(X, columns=list("abcdef"))
    framed = make(name, unpenalized=["c"]).fit(table, pd.Series(y))
    assert framed.alpha_[2] == 0.0
    assert framed.feature_names_in_.tolist() == list("abcdef")


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_unpenalized_and_no_intercept():
    X, y = make_data("poisson")
    model = BilevelPoissonCV(fit_intercept=False, unpenalized=[0]).fit(X, y)
    assert model.intercept_ == 0.0
    rest = model.predict(X) - y
    with np.errstate(invalid="ignore"):
        pull = np.where(model.coef_ == 0.0, 0.0, model.alpha_ * model.coef_)
    kept = model.coef_ != 0.0
    assert_allclose((X.T @ rest / N)[kept], -pull[kept], atol=1e-6)


def test_around_it():
    X, y = make_data("poisson")
    pipe = make_pipeline(StandardScaler(), BilevelPoissonCV(feature_groups="shared"))
    scores = cross_val_score(pipe, X, y, cv=3)
    assert scores.min() > 0.0
    offset = np.zeros(N)
    pipe.fit(X, y, bilevelpoissoncv__offset=offset)
    again = pickle.loads(pickle.dumps(pipe))
    assert_array_equal(again.predict(X), pipe.predict(X))
    scored = cross_val_score(pipe[-1], X, y, cv=3, params={"offset": offset})
    assert scored.shape == (3,)


def test_metadata_routing():
    X, y = make_data("poisson")
    groups, weight = np.arange(N) % 8, 1.0 + np.arange(N) % 2
    offset = np.cos(np.arange(N))
    params = {"feature_groups": "shared", "scoring": "neg_mean_poisson_deviance"}
    plain = BilevelPoissonCV(cv=GroupKFold(3), **params)
    plain.fit(X, y, sample_weight=weight, offset=offset, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = get_scorer(params["scoring"]).set_score_request(sample_weight=True)
        splitter = GroupKFold(3).set_split_request(groups=True)
        model = BilevelPoissonCV(cv=splitter, **{**params, "scoring": scorer})
        model.set_fit_request(sample_weight=True, offset=True)
        model.set_predict_request(offset=True)
        model.set_score_request(sample_weight=True, offset=True)
        pipe = make_pipeline(StandardScaler(with_mean=False, with_std=False), model)
        pipe[0].set_fit_request(sample_weight=False)
        pipe.fit(X, y, sample_weight=weight, offset=offset, groups=groups)
        assert_array_equal(pipe[-1].coef_, plain.coef_)
        assert pipe[-1].best_score_ == plain.best_score_
        mean = pipe.predict(X, offset=offset)
        assert_array_equal(mean, plain.predict(X, offset=offset))
        score = pipe.score(X, y, sample_weight=weight, offset=offset)
        if not OLD:  # scikit-learn 1.7 wants a request of the pipeline itself
            params = {"groups": groups, "offset": offset, "sample_weight": weight}
            scores = cross_val_score(pipe, X, y, cv=GroupKFold(3), params=params)
            assert np.isfinite(scores).all()
    expected = plain.score(X, y, sample_weight=weight, offset=offset)
    assert_allclose(score, expected)
