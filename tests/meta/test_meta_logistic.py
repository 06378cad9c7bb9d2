"""MetaLogistic: limits, first-order conditions, adapt, classes, routing, bad input."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import MetaLogistic
from skbilevel.exceptions import DataWarning

RNG = np.random.default_rng(0)
N, P, T = 400, 3, 12
TASK = np.r_[np.arange(T), RNG.integers(0, T, N - T)]
X = RNG.standard_normal((N, P)) + 1.0
SLOPES = np.array([1.0, -1.0, 0.5]) + RNG.standard_normal((T, P)) * [1.5, 0.4, 0.0]
SCORE = ((X - 1.0) * SLOPES[TASK]).sum(axis=1) + RNG.standard_normal(T)[TASK]
Y = (SCORE + RNG.logistic(size=N) > 0).astype(int)


def test_pooled_with_a_strength_is_logistic_regression():
    expected = LogisticRegression(C=0.2, tol=1e-10).fit(X, Y)
    for model in (
        MetaLogistic(centre_alpha=5.0).fit(X, Y),
        MetaLogistic(centre_alpha=5.0, strengths="pooled").fit(X, Y, tasks=TASK),
    ):
        assert_allclose(model.centre_, expected.coef_[0], rtol=1e-5)
        assert_allclose(model.predict_proba(X), expected.predict_proba(X), rtol=1e-5)
        assert_allclose(model.centre_alpha_, 5.0)
        assert np.isinf(model.alpha_).all()


@pytest.mark.parametrize("strengths", ["intercept", "two", "feature"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objective_is_minimized(strengths, weighted):
    weight = RNG.uniform(0.1, 0.5, N) if weighted else np.ones(N)
    model = MetaLogistic(strengths=strengths).fit(X, Y, weight, tasks=TASK)
    residual = weight * (expit(model.decision_function(X, tasks=TASK)) - Y)
    total = np.zeros(P + 1)
    middle = weight @ X / weight.sum()
    for i in range(T):
        own = TASK == i
        Z = np.c_[np.ones(own.sum()), X[own] - middle]
        slope = Z.T @ residual[own]
        level = model.intercept_[i] + middle @ model.coef_[i]
        centre = model.centre_intercept_ + middle @ model.centre_
        deviation = np.r_[level - centre, model.coef_[i] - model.centre_]
        alpha = np.r_[model.intercept_alpha_, model.alpha_]
        free = np.isfinite(alpha)
        assert_allclose(slope[free], -alpha[free] * deviation[free], atol=1e-5)
        assert_allclose(deviation[~free], 0.0, atol=1e-12)
        total += slope
    pull = np.r_[0.0, model.centre_alpha_ * model.centre_]
    assert_allclose(total, -pull, atol=1e-5)


@pytest.mark.parametrize("criterion", ["evidence", "new-tasks", "known-tasks"])
def test_every_criterion_finds_what_differs(criterion):
    model = MetaLogistic(criterion=criterion, strengths="feature")
    model.fit(X, Y, tasks=TASK)
    assert model.deviation_std_[0] > 2.0 * model.deviation_std_[2]
    assert model.score(X, Y, tasks=TASK) > model.score(X, Y) + 0.05


def test_the_guard_takes_what_is_better_on_tasks_left_out():
    model = MetaLogistic().fit(X, Y, tasks=TASK)
    found = model.hyperpenalty_
    assert found["family"][0] == "two"
    assert found["family"][found["weight"] == 1.0].tolist() == ["feature"]
    assert found["score"].max() == found["score"][found["weight"] == 1.0]
    assert model.best_score_ == pytest.approx(found["score"].max())


def test_adapting_to_the_rows_of_a_known_task_gives_its_coefficients():
    model = MetaLogistic(strengths="two").fit(X, Y, tasks=TASK)
    own = TASK == 4
    made = model.adapt(X[own], Y[own], tasks="copy")
    assert "copy" not in model.tasks_.tolist()
    assert_allclose(made.coef_[-1], model.coef_[4], rtol=1e-5)
    half = model.adapt(X[own][:20], Y[own][:20], tasks="copy")
    twice = half.adapt(X[own][20:], Y[own][20:], tasks="copy")
    assert twice.n_rows_by_task_[-1] == own.sum()
    # The first half is kept as a quadratic function, which is not all there is.
    far = abs(half.coef_[-1] - made.coef_[-1]).max()
    assert abs(twice.coef_[-1] - made.coef_[-1]).max() < 0.3 * far


def test_tasks_of_one_class_and_rows_of_none():
    label = np.where(TASK == 2, 1, Y)
    model = MetaLogistic(strengths="two").fit(X, label, tasks=TASK)
    assert model.intercept_[2] > model.centre_intercept_
    made = model.adapt(X[:4], np.ones(4), tasks="new")
    assert (
        made.predict_proba(X, tasks="new")[:, 1].mean()
        > model.predict_proba(X)[:, 1].mean()
    )


def test_weights_are_repeated_rows():
    times = RNG.integers(0, 3, N)
    model = MetaLogistic(strengths="feature", tol=1e-8)
    weighted = model.fit(X, Y, times, tasks=TASK).coef_
    rows = np.repeat(np.arange(N), times)[::-1]
    model.fit(X[rows], Y[rows], tasks=TASK[rows])
    assert_allclose(weighted, model.coef_, rtol=1e-3, atol=1e-4)


# Columns that separate the classes leave the search without an end.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("strengths", ["pooled", "two", "feature"])
def test_classes_that_can_be_separated(strengths):
    label = (X[:, 0] > 1.0).astype(int)
    model = MetaLogistic(strengths=strengths).fit(X, label, tasks=TASK)
    assert model.score(X, label, tasks=TASK) > 0.98
    assert np.isfinite(model.predict_log_proba(X, tasks=TASK)).all()
    wide = RNG.standard_normal((30, 50))
    model.fit(wide, Y[:30], tasks=TASK[:30] % 4)
    assert np.isfinite(model.decision_function(wide)).all()


def test_names_of_classes_and_precision():
    names = np.array(["no", "yes"])[Y]
    model = MetaLogistic(strengths="two").fit(X.astype(np.float32), names, tasks=TASK)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.coef_.dtype == model.decision_function(X.astype(np.float32)).dtype
    proba = model.predict_proba(X, tasks=TASK)
    assert_allclose(proba.sum(axis=1), 1.0)
    assert_allclose(np.log(proba), model.predict_log_proba(X, tasks=TASK), atol=1e-6)
    said = model.predict(X, tasks=TASK)
    assert (said == model.classes_[proba.argmax(axis=1)]).all()
    with pytest.raises(ValueError, match="classes that fit has not seen: 'maybe'"):
        model.adapt(X[:2], ["maybe", "no"], tasks="new")


def test_more_than_two_classes():
    three = np.digitize(SCORE, [-1.0, 1.0])
    with pytest.raises(ValueError, match=r"y has 3 classes.*OneVsRestClassifier"):
        MetaLogistic().fit(X, three, tasks=TASK)
    both = np.c_[X, TASK]
    model = OneVsRestClassifier(MetaLogistic(task=3, strengths="two"))
    assert model.fit(both, three).score(both, three) > 0.7


@pytest.mark.parametrize("frame", ["pandas", "polars"])
def test_tasks_as_a_column(frame):
    plain = MetaLogistic(strengths="two").fit(X, Y, tasks=TASK)
    columns = {f"x{j}": X[:, j] for j in range(P)} | {"store": TASK.astype(str)}
    data = pytest.importorskip(frame).DataFrame(columns)
    model = MetaLogistic(task="store", strengths="two").fit(data, Y)
    expected = plain.predict_proba(X, tasks=TASK)
    assert_allclose(model.predict_proba(data), expected, rtol=1e-6)
    scores = cross_val_score(model, data, Y, cv=3, scoring="neg_log_loss")
    assert scores.mean() > -np.log(2)


def test_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        chain = make_pipeline(StandardScaler(), MetaLogistic(strengths="two"))
        scores = cross_val_score(chain, X, Y, params={"tasks": TASK}, cv=3)
        assert scores.mean() > cross_val_score(chain, X, Y, cv=3).mean()
        grid = {"metalogistic__strengths": ["pooled", "feature"]}
        search = GridSearchCV(chain, grid, cv=3).fit(X, Y, tasks=TASK)
        assert search.best_params_ == {"metalogistic__strengths": "feature"}
        chain.fit(X, Y, tasks=TASK)
        assert chain.predict_proba(X, tasks=TASK).shape == (N, 2)


def test_unseen_tasks_and_too_few():
    model = MetaLogistic(strengths="two").fit(X, Y, tasks=TASK)
    assert_allclose(
        model.decision_function(X, tasks=["?"] * N), model.decision_function(X)
    )
    with pytest.raises(ValueError, match="has not seen: '\\?'"):
        model.set_params(unseen="error").predict_proba(X, tasks=["?"] * N)
    with pytest.warns(DataWarning, match="strengths='two' is used"):
        MetaLogistic().fit(X, Y, tasks=TASK % 2)


def test_one_class():
    with pytest.raises(ValueError, match="one class only"):
        MetaLogistic().fit(X, np.ones(N), tasks=TASK)
