"""BilevelLogisticCV with strengths of every class's own."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import BilevelLogisticCV

P, LABELS = 8, np.array(list("aabbbccc"))
HYPERPENALTIES = ["auto", ("smooth", 0.1), ("sparse", 0.01)]


def make_data(n, seed=0, p=P):
    """Three classes, of which each is told by columns of its own."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    W = np.zeros((p, 3))
    W[0, 0] = W[1, 0] = W[2, 1] = W[3, 2] = 3.0
    return X, (X @ W + rng.gumbel(size=(n, 3))).argmax(axis=1)


def fit(X, y, **params):
    return BilevelLogisticCV(alpha_per_class=True, **params).fit(X, y)


def assert_solution(model, X, y, weight=None):
    """``w_cj = C_cj u_cj`` with u minus the gradient of the loss; 0 for free ones."""
    weight = np.ones(len(y)) if weight is None else weight
    P = model.predict_proba(X)
    Y = y[:, None] == model.classes_
    if len(model.classes_) == 2:
        P, Y = P[:, 1:], Y[:, 1:]
    residual = weight[:, None] * (Y - P)
    u, C = (X.T @ residual).T, model.C_
    free = np.isinf(C)
    scale = abs(model.coef_).max()
    assert_allclose(u[free], 0.0, atol=1e-3)
    assert_allclose(model.coef_[~free], (C * u)[~free], atol=1e-4 * scale)
    assert_allclose(residual.sum(axis=0), 0.0, atol=1e-3)


@pytest.mark.parametrize("hyperpenalty", HYPERPENALTIES, ids=str)
@pytest.mark.parametrize("groups", [None, "shared", LABELS], ids=["-", "one", "labels"])
@pytest.mark.parametrize("p", [P, 60])
def test_shapes_and_stationarity(hyperpenalty, groups, p):
    X, y = make_data(50, p=p)
    if p > P and not isinstance(groups, str) and groups is not None:
        groups = np.resize(LABELS, p)
    model = fit(X, y, hyperpenalty=hyperpenalty, feature_groups=groups, max_iter=400)
    assert model.alpha_.shape == model.C_.shape == model.coef_.shape == (3, p)
    assert_solution(model, X, y)
    assert model.hyperpenalty_["alpha"].shape[1:] == (3, p)
    if groups is None:
        return
    assert model.group_alpha_.shape == (3, len(model.group_labels_))
    if isinstance(groups, str):
        assert_array_equal(model.alpha_, np.repeat(model.group_alpha_, p, axis=1))
    else:
        index = np.searchsorted(model.group_labels_, groups)
        assert_array_equal(model.alpha_, model.group_alpha_[:, index])


@pytest.mark.parametrize("hyperpenalty", ["auto", ("smooth", 0.1)], ids=str)
def test_two_classes_have_one_set(hyperpenalty):
    X, y = make_data(60)
    own = fit(X, y > 0, hyperpenalty=hyperpenalty, feature_groups=LABELS)
    plain = BilevelLogisticCV(hyperpenalty=hyperpenalty, feature_groups=LABELS)
    plain.fit(X, y > 0)
    assert own.alpha_.shape == own.coef_.shape == (1, P)
    assert own.group_alpha_.shape == (1, 3)
    assert_array_equal(own.alpha_[0], plain.alpha_)
    assert_array_equal(own.coef_, plain.coef_)


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_one_given_strength_is_logistic_regression(hyperpenalty):
    X, y = make_data(90)
    model = fit(X, y, alpha_bounds=(2.0, 2.0), hyperpenalty=hyperpenalty)
    assert_allclose(model.C_, 0.5)
    peer = LogisticRegression(C=0.5, tol=1e-12, max_iter=10_000).fit(X, y)
    assert_allclose(model.coef_, peer.coef_, atol=1e-6)


def test_it_learns_which_class_needs_which_feature():
    """Strengths per class beat shared ones on new rows where classes differ."""
    gains, found = [], []
    settings = {"hyperpenalty": ("smooth", 0.003), "cv": "loo", "max_iter": 300}
    X_test, y_test = make_data(4000, seed=99)
    for seed in range(4):
        X, y = make_data(150, seed)
        own, shared = fit(X, y, **settings), BilevelLogisticCV(**settings).fit(X, y)
        losses = [log_loss(y_test, m.predict_proba(X_test)) for m in (own, shared)]
        gains.append(losses[1] - losses[0])
        # Column 2 tells class 1, column 3 class 2.
        found += [
            own.alpha_[0, 2] / own.alpha_[1, 2],
            own.alpha_[0, 3] / own.alpha_[2, 3],
        ]
    assert np.mean(gains) > 0.002
    assert np.median(found) > 10.0


def test_the_guard_is_no_worse_than_shared_strengths():
    X, y = make_data(150)
    own, shared = fit(X, y), BilevelLogisticCV().fit(X, y)
    assert own.best_score_ >= shared.best_score_ - 1e-3
    families = set(own.hyperpenalty_["family"])
    assert families >= {"shared", "evidence", "class_evidence"}
    n = len(shared.hyperpenalty_["family"])
    both = own.hyperpenalty_["alpha"][:n]
    assert_array_equal(both[:, 0], shared.hyperpenalty_["alpha"])
    assert_array_equal(both[:, 0], both[:, 2])


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
def test_noise_does_not_open_the_gate():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, P)), rng.integers(3, size=120)
    model = fit(X, y)
    assert -model.best_score_ < np.log(3.0) + 0.02


def test_leave_one_out_and_folds_descend():
    X, y = make_data(80)
    for cv in ("loo", 4, StratifiedKFold(4)):
        shared = BilevelLogisticCV(
            feature_groups="shared", hyperpenalty=None, cv=cv
        ).fit(X, y)
        own = fit(X, y, feature_groups="shared", hyperpenalty=None, cv=cv)
        assert own.best_score_ >= shared.best_score_ - 1e-9
        assert len(np.unique(own.group_alpha_)) == 3


def test_start_in_the_shape_of_the_strengths():
    X, y = make_data(80)
    start = np.random.default_rng(0).uniform(0.5, 2.0, (3, P))
    model = fit(X, y, alpha_init=start, hyperpenalty=("smooth", 1e-2), max_iter=200)
    again = fit(X, y, hyperpenalty=("smooth", 1e-2), max_iter=200)
    assert_allclose(model.best_score_, again.best_score_, rtol=1e-2)
    for wrong in (start.T, start[:2]):
        with pytest.raises(ValueError, match=r"one per feature, or of shape \(3, 8\)"):
            fit(X, y, alpha_init=wrong)


def test_unpenalized_columns_and_bounds():
    X, y = make_data(80)
    for hyperpenalty in ("auto", ("smooth", 0.1)):
        model = fit(
            X, y, unpenalized=[0], alpha_bounds=(0.1, 9.0), hyperpenalty=hyperpenalty
        )
        assert_array_equal(model.alpha_[:, 0], 0.0)
        assert (model.alpha_[:, 1:] >= 0.1 - 1e-9).all()
        assert (model.alpha_[:, 1:] <= 9.0 + 1e-9).all()
        assert_solution(model, X, y)


@pytest.mark.parametrize("hyperpenalty", ["auto", ("smooth", 0.1)], ids=str)
def test_metadata_of_features(hyperpenalty):
    X, y = make_data(80)
    Z = np.linspace(-1.0, 1.0, P)[:, None]
    model = fit(X, y, feature_metadata=Z, hyperpenalty=hyperpenalty)
    assert model.alpha_.shape == (3, P)
    assert_solution(model, X, y)


def test_explicit_splits_make_weights_repetitions():
    X, y = make_data(80)
    weight = np.random.default_rng(0).integers(1, 4, 80)
    index = np.repeat(np.arange(80), weight)
    fold = np.arange(80) % 4

    def splits(label):
        return [
            (np.flatnonzero(label != k), np.flatnonzero(label == k)) for k in (0, 1)
        ]

    a = BilevelLogisticCV(alpha_per_class=True, cv=splits(fold))
    a.fit(X, y, sample_weight=weight)
    b = BilevelLogisticCV(alpha_per_class=True, cv=splits(fold[index]))
    b.fit(X[index], y[index])
    assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-5)


# The data of many checks are noise or a handful of rows.
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([BilevelLogisticCV(alpha_per_class=True, cv=2)])
def test_scikit_learn(estimator, check):
    check(estimator)
