"""Algorithms of the literature behind the estimators."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning

from skbilevel import BilevelLogisticCV, BilevelPoissonCV, BilevelRidgeCV
from skbilevel.solvers import (
    LBFGSB,
    ORACLE_SOLVERS,
    Counts,
    DoubleLoop,
    GradientDescent,
    ImplicitGradient,
    Newton,
    Result,
    Status,
)

SETTING = {"hyperpenalty": None, "cv": 3, "random_state": 0, "alpha_bounds": (0.1, 1e3)}


@dataclass(frozen=True)
class ToTheEnd:
    """The least variances of the box, whatever they cost."""

    requires = frozenset()

    def solve_oracles(
        self, problem, theta0, *, tol, max_iter, random_state=0, on_iter=None
    ):
        """No search."""
        history = {name: np.ones(1) for name in ("value", "grad_norm", "tol")}
        low, counts = problem.box[0], Counts()
        return Result(low, np.empty(0), 0.0, Status.CONVERGED, 1, history, counts)


def regression(n=120, p=6):
    """Rows with features far from zero."""
    X, y = make_regression(n, p, n_informative=3, noise=20.0, random_state=0)
    return X + 100.0, y


def classification(n=150, n_classes=2):
    """Rows with two or three classes."""
    return make_classification(
        n, 6, n_informative=3, n_classes=n_classes, flip_y=0.2, random_state=0
    )


def fitted(estimator, X, y, sample_weight=None, **params):
    """Fit; budgets that end are no failure here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = estimator(**SETTING | params)
        return model.fit(X, y, sample_weight=sample_weight)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_newton_on_oracles_is_exact_logistic(n_classes):
    """The same minimum as the solver that works on variances."""
    X, y = classification(n_classes=n_classes)
    one = fitted(BilevelLogisticCV, X, y, solver="exact", tol=1e-7)
    two = fitted(BilevelLogisticCV, X, y, solver="newton", tol=1e-7, max_iter=300)
    assert two.best_score_ == pytest.approx(one.best_score_, rel=1e-5)
    np.testing.assert_allclose(two.coef_, one.coef_, atol=0.02)


@pytest.mark.parametrize("shape", ["tall", "wide", "sparse", "targets"])
def test_newton_on_oracles_is_exact_ridge(shape):
    """Moments, kernels, rows."""
    X, y = regression(*((30, 50) if shape == "wide" else (120, 6)))
    if shape == "sparse":
        X = sparse.csr_array(np.where(X > 100.3, X, 0.0))
    if shape == "targets":
        y = np.column_stack([y, y**2 / 100])
    box = {"alpha_bounds": (1.0, 1e3), "tol": 1e-6}
    if shape == "wide":  # one strength per feature has many minima there
        box["feature_groups"] = np.arange(50) % 3
    one = fitted(BilevelRidgeCV, X, y, solver="exact", **box)
    two = fitted(BilevelRidgeCV, X, y, solver="newton", max_iter=400, **box)
    assert two.best_score_ == pytest.approx(one.best_score_, rel=1e-3)


@pytest.mark.parametrize(
    "solver",
    [
        "amigo-cg",
        "aid-neumann",
        DoubleLoop(GradientDescent(), ImplicitGradient(), LBFGSB()),
    ],
)
@pytest.mark.parametrize("estimator", [BilevelRidgeCV, BilevelLogisticCV])
def test_first_order_methods_come_close(estimator, solver):
    """Better than the start, near the optimum; wide data too."""
    X, y = regression() if estimator is BilevelRidgeCV else classification()
    one = fitted(estimator, X, y, solver="exact", tol=1e-6)
    two = fitted(estimator, X, y, solver=solver, max_iter=300)
    shared = fitted(estimator, X, y, feature_groups="shared", solver="exact")
    gain = one.best_score_ - shared.best_score_
    assert two.best_score_ >= one.best_score_ - 0.3 * gain - 1e-3 * abs(gain)
    assert np.isfinite(two.alpha_).all()
    assert len(two.history_["value"]) == two.n_iter_ + 1


@pytest.mark.parametrize("name", ORACLE_SOLVERS)
@pytest.mark.parametrize("estimator", [BilevelRidgeCV, BilevelLogisticCV])
def test_every_name_is_at_least_as_good_as_its_start(estimator, name):
    """The table of the documentation says that all of them work in both."""
    X, y = regression(60) if estimator is BilevelRidgeCV else classification(80)
    setting = {"feature_groups": [0, 0, 0, 1, 1, 1], "max_iter": 8}
    model = fitted(estimator, X, y, solver=name, **setting)
    shared = fitted(estimator, X, y, feature_groups="shared", solver="exact")
    assert model.best_score_ >= shared.best_score_ - 1e-3 * abs(shared.best_score_)
    assert np.isfinite(model.predict(X)).all()
    again = fitted(estimator, X, y, solver=name, **setting)
    np.testing.assert_array_equal(again.coef_, model.coef_)


@pytest.mark.parametrize("name", ["newton", "amigo-cg", "shine", "ai-sarah", "saba"])
@pytest.mark.parametrize("case", ["constant", "wide", "sparse", "weights", "three"])
def test_hard_cases(case, name):
    """Constant columns, p > n, sparse X, rows without weight, three classes."""
    X, y = classification(80, n_classes=3 if case == "three" else 2)
    weight = None
    if case == "constant":
        X = np.column_stack([X, np.full(len(X), 7.0)])
    elif case == "wide":
        X = np.column_stack([X, np.random.default_rng(0).standard_normal((80, 84))])
    elif case == "sparse":
        X = sparse.csr_array(np.where(X > 0.3, X, 0.0))
    elif case == "weights":
        weight = np.arange(len(y)) % 4.0
    shared = {"solver": "exact", "feature_groups": "shared"}
    model = fitted(BilevelLogisticCV, X, y, weight, solver=name, max_iter=8)
    start = fitted(BilevelLogisticCV, X, y, weight, **shared)
    assert model.best_score_ >= start.best_score_ - 1e-3 * abs(start.best_score_)
    assert np.isfinite(model.predict_proba(X)).all()
    if case == "constant":
        np.testing.assert_allclose(model.coef_[..., -1], 0.0, atol=1e-12)


def test_an_end_above_the_start_is_not_kept():
    """A solver of one's own that runs to the strongest penalties."""
    X, y = regression()
    box = SETTING | {"solver": ToTheEnd(), "alpha_bounds": (0.1, 1e6)}
    with pytest.warns(ConvergenceWarning, match="the start is kept"):
        model = BilevelRidgeCV(**box).fit(X, y)
    shared = fitted(BilevelRidgeCV, X, y, feature_groups="shared", solver="exact")
    assert model.best_score_ == pytest.approx(shared.best_score_, rel=1e-3)


def test_own_strengths_of_classes_groups_and_weights():
    """What else is posed as tasks reaches the algorithms unchanged."""
    X, y = classification(n_classes=3)
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(y))
    params = SETTING | {
        "alpha_per_class": True,
        "feature_groups": [0, 0, 1, 1, 2, 2],
        "tol": 1e-6,
    }
    one = BilevelLogisticCV(solver="exact", **params).fit(X, y, sample_weight=weight)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        two = BilevelLogisticCV(solver="newton", alpha_init=one.alpha_, **params)
        two.fit(X, y, sample_weight=weight)
    assert two.best_score_ == pytest.approx(one.best_score_, rel=1e-4)
    np.testing.assert_allclose(two.coef_, one.coef_, atol=0.02)


def test_counts_are_served_too():
    """A loss whose curvature has no bound."""
    X, _ = classification()
    y = np.random.default_rng(0).poisson(np.exp(0.5 * X[:, 0]))
    one = fitted(BilevelPoissonCV, X, y, solver="exact", tol=1e-6, alpha_bounds=None)
    solver = DoubleLoop(Newton(), ImplicitGradient(), LBFGSB())
    two = fitted(BilevelPoissonCV, X, y, solver=solver, tol=1e-6, alpha_bounds=None)
    assert two.best_score_ == pytest.approx(one.best_score_, rel=1e-3)


def test_what_cannot_be_is_refused_with_one_sentence():
    """The guard, exact removal, closed forms, unknown words."""
    X, y = regression()
    for params, words in [
        ({"hyperpenalty": "auto"}, "hyperpenalty=None"),
        ({"hyperpenalty": ("sparse", 1.0)}, "finite strengths"),
        ({"cv": "loo"}, "number of folds"),
        ({"solver": "newtonn"}, "solver"),
        ({"solver": 3}, "solver"),
    ]:
        with pytest.raises(ValueError, match=words):
            fitted(BilevelRidgeCV, X, y, **{"solver": "newton"} | params)
    X, y = classification()
    with pytest.raises(ValueError, match="number of folds"):
        fitted(BilevelLogisticCV, X, y, solver="newton", cv="loo")
