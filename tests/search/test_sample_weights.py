"""SampleWeightsCV: wrong labels, bad sources, clean data, and what is refused."""

import inspect

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GroupKFold, KFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import (
    check_param_validation,
    parametrize_with_checks,
)

from skbilevel import SampleWeightsCV


def flipped(n=500, share=0.3, n_classes=2, seed=0, known=0.15):
    """Rows to fit and rows to test; of the first some are trusted and some wrong."""
    X, y = make_classification(
        n + 500,
        8,
        n_informative=5,
        n_classes=n_classes,
        class_sep=1.5,
        flip_y=0.0,
        random_state=seed,
    )
    rng = np.random.default_rng(seed)
    trusted = rng.random(n) < known
    wrong = ~trusted & (rng.random(n) < share)
    given = np.where(wrong, (y[:n] + rng.integers(1, n_classes, n)) % n_classes, y[:n])
    return X[:n], given, trusted, wrong, X[n:], y[n:]


@pytest.fixture(scope="module")
def binary():
    X, y, trusted, wrong, X_test, y_test = flipped()
    model = SampleWeightsCV(LogisticRegression()).fit(X, y, trusted=trusted)
    return model, X, y, trusted, wrong, X_test, y_test


@pytest.fixture
def short_path(monkeypatch):
    """One point of the path and one round, where the interface is looked at.

    Checks take half as long.
    """
    for name, value in (("FACTORS", (0.05,)), ("_ROUNDS", 1)):
        monkeypatch.setattr(f"skbilevel.model_selection._row_weights.{name}", value)


@parametrize_with_checks(
    [SampleWeightsCV(Ridge(), cv=2), SampleWeightsCV(LogisticRegression(), cv=2)]
)
def test_scikit_learn(short_path, estimator, check):
    check(estimator)


def test_every_parameter_is_validated():
    check_param_validation("SampleWeightsCV", SampleWeightsCV(Ridge()))
    names = set(inspect.signature(SampleWeightsCV).parameters)
    assert set(SampleWeightsCV._parameter_constraints) == names


def test_wrong_labels_lose_their_weight(binary):
    model, X, y, trusted, wrong, X_test, y_test = binary
    weight = model.sample_weight_
    assert weight[wrong].mean() < 0.3 * weight[~wrong].mean()
    np.testing.assert_array_equal(weight[trusted], 1.0)
    assert weight.max() == 1.0
    assert (weight > 0).all()
    losses = {
        "all": LogisticRegression().fit(X, y),
        "clean": LogisticRegression().fit(X[~wrong], y[~wrong]),
        "weights": model,
    }
    losses = {k: log_loss(y_test, m.predict_proba(X_test)) for k, m in losses.items()}
    assert losses["weights"] < 0.5 * (losses["all"] + losses["clean"])


def test_ranking_finds_wrong_labels(binary):
    model, _, _, trusted, wrong, *_ = binary
    assert roc_auc_score(wrong[~trusted], model.row_loss_[~trusted]) > 0.9
    assert np.isnan(model.row_loss_[trusted]).all()
    assert sorted(model.ranking_) == list(np.flatnonzero(~trusted))
    assert (np.diff(model.row_loss_[model.ranking_]) <= 0).all()


def test_refit_has_the_weights_and_the_strength(binary):
    model, X, y, *_ = binary
    assert pytest.approx(1.0) == model.alpha_ * model.best_estimator_.C
    again = clone(model.best_estimator_).fit(X, y, sample_weight=model.sample_weight_)
    np.testing.assert_allclose(again.coef_, model.best_estimator_.coef_)


@pytest.mark.parametrize("by", ["flips", "agreement"])
def test_the_guard_moved_because_trusted_rows_gained(binary, by):
    model, X, y, trusted, *_ = binary
    if by == "agreement":
        model = SampleWeightsCV(LogisticRegression(), by=by).fit(X, y, trusted=trusted)
        assert np.isinf(model.hyperpenalty_["factor"][0])
    path = model.hyperpenalty_
    assert path["gain"][0] == path["sure_gain"][0] == 0.0
    assert path["sure_gain"][model.best_index_] > 0.0 == path["sure_gain"][0]


def test_a_rate_of_flips_and_the_weights_that_have_its_solution(binary):
    """The refitted model minimizes the likelihood of labels that may be flipped."""
    model, X, y, trusted, *_ = binary
    rate = model.hyperpenalty_["rate"][model.best_index_]
    assert rate in (0.2, 0.3, 0.4)
    last = clone(model.best_estimator_).set_params(tol=1e-10, max_iter=1000)
    last.fit(X, y, sample_weight=model.sample_weight_)
    q = last.predict_proba(X)[:, 1]
    own = np.where(trusted, 0.0, rate)
    given = (1 - own) * q + own * (1 - q)
    slope = np.where(y == 1, -1.0 / given, 1.0 / (1 - given)) * (1 - 2 * own)
    slope *= q * (1 - q)
    np.testing.assert_allclose(slope.sum(), 0.0, atol=0.02)
    pull = model.alpha_ * last.coef_[0]
    np.testing.assert_allclose(X.T @ slope + pull, 0.0, atol=0.05)
    right = np.where(y == 1, q, 1 - q)
    expected = (1 - 2 * rate) * right / (rate + (1 - 2 * rate) * right)
    weight = model.sample_weight_
    np.testing.assert_allclose(weight[~trusted], expected[~trusted], atol=1e-3)


@pytest.mark.parametrize("by", ["flips", "agreement"])
def test_columns_that_are_constant_up_to_rounding_do_not_stop_the_search(binary, by):
    _, X, y, trusted, wrong, *_ = binary
    X = np.column_stack([X, X[:, 0] * 1e-17 + 0.1, np.full(len(X), 0.1)])
    model = SampleWeightsCV(LogisticRegression(), by=by).fit(X, y, trusted=trusted)
    assert model.best_index_ > 0
    assert roc_auc_score(wrong[~trusted], model.row_loss_[~trusted]) > 0.9


def test_a_sure_gain_needs_that_folds_of_all_rows_agree():
    """Trusted rows that are easy to predict make no flips of right labels."""
    X, y, *_ = flipped(n=1000, share=0.0)
    p = LogisticRegression().fit(X, y).predict_proba(X)[np.arange(1000), y]
    trusted = (p > 0.6) & (p < 0.95)
    model = SampleWeightsCV(LogisticRegression()).fit(X, y, trusted=trusted)
    assert (model.hyperpenalty_["sure_gain"][1:] > 0.05).all()
    assert model.best_index_ == 0
    np.testing.assert_array_equal(model.sample_weight_, 1.0)


def test_clean_labels_keep_their_weights():
    ratios = []
    for seed in range(3):
        X, y, trusted, _, X_test, y_test = flipped(share=0.0, seed=seed)
        model = SampleWeightsCV(LogisticRegression()).fit(X, y, trusted=trusted)
        plain = LogisticRegression(C=model.best_estimator_.C).fit(X, y)
        losses = [log_loss(y_test, m.predict_proba(X_test)) for m in (model, plain)]
        ratios.append(losses[0] / losses[1])
    assert np.mean(ratios) < 1.005


def test_several_classes():
    X, y, trusted, wrong, X_test, y_test = flipped(n=600, n_classes=3, seed=1)
    model = SampleWeightsCV(LogisticRegression()).fit(X, y, trusted=trusted)
    assert roc_auc_score(wrong[~trusted], model.row_loss_[~trusted]) > 0.85
    plain = LogisticRegression().fit(X, y)
    ours = log_loss(y_test, model.predict_proba(X_test))
    assert ours < log_loss(y_test, plain.predict_proba(X_test))
    assert model.predict_proba(X_test).shape == (500, 3)


def test_regression_finds_targets_of_other_rows():
    X, y = make_regression(900, 6, noise=20.0, random_state=0)
    rng = np.random.default_rng(0)
    trusted, wrong = rng.random(400) < 0.15, rng.random(400) < 0.3
    wrong &= ~trusted
    given = y[:400].copy()
    given[wrong] = rng.permutation(given[wrong]) + 300.0
    model = SampleWeightsCV(Ridge()).fit(X[:400], given, trusted=trusted)
    plain = Ridge().fit(X[:400], given)
    assert model.score(X[400:], y[400:]) > plain.score(X[400:], y[400:])
    assert roc_auc_score(wrong[~trusted], model.row_loss_[~trusted]) > 0.9
    scaled = SampleWeightsCV(Ridge()).fit(X[:400], 1e3 * given, trusted=trusted)
    np.testing.assert_allclose(scaled.sample_weight_, model.sample_weight_, rtol=1e-3)


@pytest.mark.parametrize("kind", [str, object, "pandas"])
def test_labels_have_one_weight_each(kind):
    X, y, trusted, _, *_ = flipped(share=0.0)
    rng = np.random.default_rng(1)
    source = rng.integers(0, 3, len(y))
    wrong = ~trusted & (source == 2) & (rng.random(len(y)) < 0.9)
    given = np.where(wrong, 1 - y, y)
    names = np.array(["north", "south", "west"])[source]
    labels = pd.Series(names) if kind == "pandas" else names.astype(kind)
    model = SampleWeightsCV(LogisticRegression())
    model.fit(X, given, trusted=trusted, labels=labels)
    assert model.labels_.tolist() == ["north", "south", "west"]
    weight = dict(zip(model.labels_, model.label_weight_, strict=True))
    assert weight["west"] < 0.3
    assert max(weight.values()) == 1.0
    seen = model.sample_weight_[~trusted]
    expected = np.array([weight[name] for name in names])[~trusted]
    np.testing.assert_allclose(seen, expected, rtol=1e-9)


def test_splits_judge_sources_without_a_mask():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((240, 20))
    source = np.arange(240) % 2
    y = X.sum(axis=1) + np.where(source == 1, 10.0, 0.5) * rng.standard_normal(240)
    precise = [
        np.flatnonzero((source == 0) & (np.arange(240) % 6 == k)) for k in (0, 2, 4)
    ]
    splits = [(np.setdiff1d(np.arange(240), part), part) for part in precise]
    model = SampleWeightsCV(Ridge(), cv=splits).fit(X, y, labels=source)
    assert model.label_weight_[0] == 1.0
    assert model.label_weight_[1] < 0.5
    assert np.isfinite(model.row_loss_).all()


def test_one_weight_per_row():
    X, y, trusted, wrong, *_ = flipped(n=400, known=0.4)
    model = SampleWeightsCV(LogisticRegression(), by="row")
    model.fit(X, y, trusted=trusted)
    weight = model.sample_weight_
    assert len(np.unique(weight[~trusted])) > 100
    assert weight[wrong].mean() < weight[~wrong & ~trusted].mean()


def test_any_estimator_and_no_refit():
    X, y, trusted, _, X_test, y_test = flipped()
    boosted = HistGradientBoostingClassifier(max_iter=20)
    model = SampleWeightsCV(boosted).fit(
        X * [1, 10, 1e3, 1, 1, 1, 1, 1], y, trusted=trusted
    )
    assert model.best_estimator_.get_params() == boosted.get_params()
    assert model.score(X_test * [1, 10, 1e3, 1, 1, 1, 1, 1], y_test) > 0.8
    without = SampleWeightsCV(boosted, refit=False).fit(X, y, trusted=trusted)
    assert not hasattr(without, "predict")
    assert len(without.ranking_) == (~trusted).sum()


def test_pipelines_frames_and_sparse_columns_give_the_same(binary):
    model, X, y, trusted, *_ = binary
    frame = pd.DataFrame(X, columns=[f"x{j}" for j in range(8)])
    named = SampleWeightsCV(LogisticRegression()).fit(frame, y, trusted=trusted)
    assert named.feature_names_in_.tolist() == list(frame.columns)
    np.testing.assert_allclose(named.sample_weight_, model.sample_weight_)
    thin = SampleWeightsCV(LogisticRegression())
    thin.fit(sparse.csr_array(X), y, trusted=trusted)
    np.testing.assert_allclose(thin.sample_weight_, model.sample_weight_, rtol=1e-6)
    scaler = StandardScaler().fit(X)
    chain = SampleWeightsCV(make_pipeline(StandardScaler(), LogisticRegression()))
    chain.fit(frame, y, trusted=pd.Series(trusted))
    scaled = SampleWeightsCV(LogisticRegression())
    scaled.fit(scaler.transform(X), y, trusted=trusted)
    np.testing.assert_allclose(chain.sample_weight_, scaled.sample_weight_)
    assert chain.predict(frame).shape == y.shape


@pytest.mark.parametrize("case", ["constant", "wide", "four rows", "label"])
def test_edges(case):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.standard_normal(60)
    trusted, labels = np.arange(60) % 3 == 0, None
    if case == "constant":
        X[:, 1] = 7.0
    elif case == "wide":
        X = rng.standard_normal((60, 200))
    elif case == "four rows":
        X, y, trusted = X[:4], y[:4], np.array([True, True, False, False])
    else:
        labels = np.where(trusted, "only trusted", "others")
    model = SampleWeightsCV(Ridge()).fit(X, y, trusted=trusted, labels=labels)
    assert np.isfinite(model.predict(X)).all()
    assert model.sample_weight_.max() == 1.0
    if labels is not None:
        assert model.labels_.tolist() == ["others"]


def test_texts():
    texts = ["good fine", "bad poor", "fine good good", "poor bad"] * 20
    y = np.array(["+", "-", "+", "-"] * 20)
    trusted = np.arange(80) % 4 < 2
    model = SampleWeightsCV(make_pipeline(CountVectorizer(), LogisticRegression()))
    model.fit(texts, y, trusted=trusted)
    assert model.predict(["good"]) == ["+"]


def test_known_weights():
    X, y, trusted, *_ = flipped(n=200)
    weight = np.tile([0.0, 1.0, 2.0, 1.0], 50)
    model = SampleWeightsCV(LogisticRegression())
    model.fit(X, y, weight, trusted=trusted)
    np.testing.assert_array_equal(model.sample_weight_[weight == 0], 0.0)
    assert np.isnan(model.row_loss_[weight == 0]).all()
    np.testing.assert_array_equal(model.sample_weight_[trusted], weight[trusted])
    fewer = SampleWeightsCV(LogisticRegression())
    fewer.fit(X, y, 1e-3 * weight, trusted=trusted)
    assert (fewer.sample_weight_ <= 1e-3 * weight).all()


@pytest.mark.parametrize("thin", [False, True])
def test_rows_of_weight_zero_are_as_if_removed(thin):
    """By the transformers, too, which would not know what is in them."""
    X, y, trusted, *_ = flipped(n=160)
    X = np.column_stack([X, np.arange(160) % 5])
    weight = np.ones(160)
    weight[::4] = 0.0
    kept = weight > 0
    X[~kept, -1] = 77  # a category of its own
    X[~kept, 0] *= 1e6
    codes = OneHotEncoder(sparse_output=thin)
    numbers = StandardScaler(with_mean=not thin)
    shape = make_column_transformer(
        (codes, [-1]), (numbers, [0, 1, 2]), sparse_threshold=float(thin)
    )
    chain = make_pipeline(shape, LogisticRegression())
    model = SampleWeightsCV(chain).fit(X, y, weight, trusted=trusted)
    other = SampleWeightsCV(chain).fit(X[kept], y[kept], trusted=trusted[kept])
    np.testing.assert_allclose(model.sample_weight_[kept], other.sample_weight_)
    proba, expected = (m.predict_proba(X[kept]) for m in (model, other))
    np.testing.assert_allclose(proba, expected, rtol=1e-6)


def test_metadata_are_routed():
    X, y, trusted, *_ = flipped(n=240)
    team = np.arange(len(y)) % 6
    with config_context(enable_metadata_routing=True):
        model = SampleWeightsCV(
            LogisticRegression().set_fit_request(sample_weight=True)
        )
        model.set_fit_request(trusted=True, labels=True)
        chain = make_pipeline(StandardScaler(), model)
        found = cross_validate(
            chain,
            X,
            y,
            params={"trusted": trusted, "labels": team},
            return_estimator=True,
            cv=2,
        )
        assert len(found["estimator"][0][-1].labels_) == 6
        by_team = SampleWeightsCV(
            LogisticRegression().set_fit_request(sample_weight=True), cv=GroupKFold(3)
        )
        by_team.fit(X, y, groups=team)
        assert np.isfinite(by_team.row_loss_).all()
    plain = SampleWeightsCV(LogisticRegression(), cv=GroupKFold(3))
    plain.fit(X, y, groups=team)
    np.testing.assert_allclose(plain.sample_weight_, by_team.sample_weight_)


REFUSED = {
    "no trusted row": ({"trusted": np.zeros(40, bool)}, "marks 0 rows"),
    "one class": ({"trusted": np.arange(40) < 10}, "class .* at least two"),
    "wrong length": ({"trusted": np.ones(7, bool)}, r"trusted has shape \(7,\)"),
    "row numbers": ({"trusted": np.arange(40)}, "not numbers of rows"),
    "all trusted": ({"trusted": np.ones(40, bool)}, "no rows are left"),
    "labels": ({"labels": ["a"] * 7}, r"labels has shape \(7,\)"),
    "no such metadata": ({"nonsense": 1}, "nonsense"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_named(case):
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.repeat([0, 1], 20)
    given, message = REFUSED[case]
    model = SampleWeightsCV(LogisticRegression())
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **given)
    assert not hasattr(model, "sample_weight_")


def test_estimators_and_settings_that_cannot_be_used():
    X = np.random.default_rng(0).standard_normal((40, 3))
    y = np.tile([0, 1], 20)
    with pytest.raises(TypeError, match="takes no sample_weight"):
        SampleWeightsCV(KNeighborsClassifier()).fit(X, y)
    with pytest.raises(ValueError, match="labels are missing"):
        SampleWeightsCV(LogisticRegression(), by="label").fit(X, y)
    with pytest.raises(ValueError, match="labels are given"):
        SampleWeightsCV(LogisticRegression(), by="row").fit(X, y, labels=y)
    for model in (LogisticRegression(), Ridge()):
        with pytest.raises(ValueError, match="by='flips' needs two classes"):
            SampleWeightsCV(model, by="flips").fit(X, y)
    with pytest.raises(ValueError, match="more than the n_samples"):
        SampleWeightsCV(LogisticRegression(), cv=50).fit(X, y)
    with pytest.raises(ValueError, match="no split"):
        SampleWeightsCV(LogisticRegression(), cv=[([0], [1])]).fit(X, y)
    with pytest.raises(TypeError, match=r"fit\(X, y, trusted"):
        SampleWeightsCV(LogisticRegression(), trusted=y)


def test_same_seed_same_weights_and_data_untouched():
    X, y, trusted, *_ = flipped(n=200)
    before = X.copy(), y.copy(), trusted.copy()
    models = [
        SampleWeightsCV(LogisticRegression(), cv=KFold(3)).fit(X, y, trusted=trusted)
        for _ in range(2)
    ]
    weights = [model.sample_weight_ for model in models]
    np.testing.assert_array_equal(*weights)
    for array, copy in zip((X, y, trusted), before, strict=True):
        np.testing.assert_array_equal(array, copy)
