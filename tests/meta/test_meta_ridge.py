"""MetaRidge: limits, brute force, tasks of any kind, adapt, routing, bad input."""

import numpy as np
import pandas as pd
import pytest
import sklearn
from numpy.testing import assert_allclose
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import BilevelRidgeCV, MetaRidge
from skbilevel.exceptions import DataWarning

RNG = np.random.default_rng(0)
N, P, T = 240, 3, 12
TASK = np.r_[np.arange(T), RNG.integers(0, T, N - T)]
X = RNG.standard_normal((N, P)) + 3.0
SLOPES = np.array([1.0, -1.0, 0.5]) + RNG.standard_normal((T, P)) * [0.8, 0.3, 0.0]
Y = (X * SLOPES[TASK]).sum(axis=1) + RNG.standard_normal(T)[TASK]
Y += 0.5 * RNG.standard_normal(N)
FAMILIES = ["auto", "pooled", "intercept", "two", "feature"]


def dense(model, x, task):
    """Mean and standard deviation by generalized least squares of all rows."""
    shift = X.mean(axis=0)
    Z, z = np.c_[np.ones(N), X - shift], np.r_[1.0, x - shift]
    v = 1.0 / np.r_[model.intercept_alpha_, model.alpha_]
    inverse = np.linalg.inv(np.eye(N) + (Z * v) @ Z.T * (TASK[:, None] == TASK))
    K = Z.T @ inverse @ Z
    c = np.linalg.solve(K, Z.T @ inverse @ Y)
    k = (Z @ (v * z)) * (task == TASK)
    a = z - Z.T @ inverse @ k
    spread = z @ (v * z) - k @ inverse @ k + a @ np.linalg.solve(K, a)
    mean = z @ c + k @ inverse @ (Y - Z @ c)
    return mean, np.sqrt(model.noise_variance_ * (1 + spread))


@pytest.mark.parametrize("strengths", ["intercept", "two", "feature"])
@pytest.mark.parametrize("task", [0, 5, -7])
def test_prediction_and_std_by_brute_force(strengths, task):
    model = MetaRidge(strengths=strengths).fit(X, Y, tasks=TASK)
    x = np.array([2.0, 3.5, 1.0])
    mean, std = model.predict(x[None], tasks=[task], return_std=True)
    expected = dense(model, x, task)
    assert_allclose([mean[0], std[0]], expected, rtol=1e-10)


def test_pooled_is_least_squares_and_one_task_is_pooled():
    plain = LinearRegression().fit(X, Y)
    for model in (
        MetaRidge(strengths="pooled").fit(X, Y, tasks=TASK),
        MetaRidge().fit(X, Y),
    ):
        assert_allclose(model.centre_, plain.coef_, rtol=1e-8)
        assert_allclose(model.predict(X), plain.predict(X), rtol=1e-8)
        assert np.isinf(model.alpha_).all()
        assert not model.deviation_std_.any()


def test_pooled_with_a_strength_is_ridge():
    model = MetaRidge(centre_alpha=7.0).fit(X, Y)
    assert_allclose(model.centre_, Ridge(alpha=7.0).fit(X, Y).coef_, rtol=1e-8)
    assert_allclose(model.centre_alpha_, 7.0)


def test_a_random_intercept_shrinks_as_in_textbooks():
    ones = np.zeros((N, 1))
    model = MetaRidge(strengths="intercept").fit(ones, Y, tasks=TASK)
    n = np.bincount(TASK)
    mean = np.bincount(TASK, Y) / n
    centre = model.centre_intercept_
    expected = centre + n / (n + model.intercept_alpha_) * (mean - centre)
    assert_allclose(model.intercept_, expected, rtol=1e-10)


def test_it_is_ridge_on_the_expanded_design():
    model = MetaRidge(strengths="two").fit(X, Y, tasks=TASK)
    centered = X - X.mean(axis=0)
    Z = np.c_[np.ones(N), centered]
    alpha = np.r_[model.intercept_alpha_, model.alpha_]
    blocks = [Z * (TASK == i)[:, None] / np.sqrt(alpha) for i in range(T)]
    wide = np.hstack([Z, *blocks])
    pull = np.eye(wide.shape[1])[P + 1 :]
    rows, target = np.vstack([wide, pull]), np.r_[Y, np.zeros(len(pull))]
    expected = wide @ np.linalg.lstsq(rows, target)[0]
    assert_allclose(model.predict(X, tasks=TASK), expected, rtol=1e-8)


@pytest.mark.parametrize("strengths", FAMILIES)
def test_adapting_to_the_rows_of_a_known_task_gives_its_coefficients(strengths):
    model = MetaRidge(strengths=strengths).fit(X, Y, tasks=TASK)
    own = TASK == 4
    made = model.adapt(X[own], Y[own], tasks="copy")
    assert "copy" not in model.tasks_.tolist()
    assert made.tasks_.tolist()[-1] == "copy"
    assert_allclose(made.coef_[-1], model.coef_[4], rtol=1e-8)
    assert_allclose(made.intercept_[-1], model.intercept_[4], rtol=1e-8)
    twice = model.adapt(X[own][:3], Y[own][:3], tasks="copy")
    twice = twice.adapt(X[own][3:], Y[own][3:], tasks="copy")
    assert_allclose(twice.coef_, made.coef_, rtol=1e-8)
    assert twice.n_rows_by_task_[-1] == own.sum()


@pytest.mark.parametrize("criterion", ["evidence", "new-tasks", "known-tasks"])
@pytest.mark.parametrize("strengths", ["auto", "feature"])
def test_every_criterion_finds_what_differs(criterion, strengths):
    model = MetaRidge(criterion=criterion, strengths=strengths)
    model.fit(X, Y, tasks=TASK)
    assert model.score(X, Y, tasks=TASK) > 0.9 > model.score(X, Y)
    if strengths == "feature":
        assert model.deviation_std_[0] > model.deviation_std_[2]


def test_every_criterion_is_one_of_its_own():
    found = [
        MetaRidge(criterion=criterion, strengths="feature").fit(X, Y, tasks=TASK).alpha_
        for criterion in ("evidence", "new-tasks", "known-tasks")
    ]
    for k in range(3):
        assert abs(np.log(found[k][:2] / found[k - 1][:2])).min() > 0.1


@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 1e6 / 3.0])
def test_a_constant_column_has_no_effect(value):
    wider = np.c_[X, np.full(N, value)]
    model = MetaRidge(strengths="feature").fit(wider, Y, tasks=TASK)
    plain = MetaRidge(strengths="feature").fit(X, Y, tasks=TASK)
    assert_allclose(model.coef_[:, -1], 0.0, atol=1e-12)
    assert_allclose(model.coef_[:, :-1], plain.coef_, rtol=1e-4)


def test_weights_are_repeated_rows_and_order_does_not_matter():
    times = RNG.integers(0, 3, N)
    model = MetaRidge(strengths="feature", tol=1e-8)
    weighted = model.fit(X, Y, times, tasks=TASK).coef_
    rows = np.repeat(np.arange(N), times)[::-1]
    repeated = MetaRidge(strengths="feature", tol=1e-8)
    repeated.fit(X[rows], Y[rows], tasks=TASK[rows])
    assert_allclose(weighted, repeated.coef_, rtol=1e-4)


LABELS = {
    "str": [f"school {t}" for t in TASK],
    "tuples": [(int(t), "x") for t in TASK],
    "mixed": [int(t) if t % 2 else f"s{t}" for t in TASK],
    "float": TASK.astype(float),
    "dates": np.datetime64("2020-01-01") + TASK,
    "category": pd.Series(TASK).astype(str).astype("category"),
    "nullable": pd.Series(TASK, dtype="Int64"),
}


@pytest.mark.parametrize("kind", list(LABELS))
def test_labels_of_any_type(kind):
    plain = MetaRidge(strengths="two").fit(X, Y, tasks=TASK).predict(X, tasks=TASK)
    model = MetaRidge(strengths="two").fit(X, Y, tasks=LABELS[kind])
    assert_allclose(model.predict(X, tasks=LABELS[kind]), plain, rtol=1e-6)
    assert len(model.tasks_) == T


@pytest.mark.parametrize("frame", ["pandas", "polars", "array"])
def test_tasks_as_a_column(frame):
    plain = MetaRidge(strengths="two").fit(X, Y, tasks=TASK)
    task = 1 if frame == "array" else "school"
    if frame == "array":
        data = np.insert(X, 1, TASK, axis=1)
    else:
        columns = {"a": X[:, 0], "school": TASK.astype(str), "b": X[:, 1], "c": X[:, 2]}
        data = pytest.importorskip(frame).DataFrame(columns)
    model = MetaRidge(task=task, strengths="two").fit(data, Y)
    assert model.n_features_in_ == P + 1
    expected = plain.predict(X, tasks=TASK)
    assert_allclose(model.predict(data), expected, rtol=1e-6)
    assert cross_val_score(model, data, Y, cv=3).mean() > 0.8


@pytest.mark.skipif(
    sklearn.__version__.startswith("1.7."),
    reason="its cross_val_score routes nothing to the score of a pipeline",
)
def test_routing():
    with sklearn.config_context(enable_metadata_routing=True):
        chain = make_pipeline(StandardScaler(), MetaRidge(strengths="two"))
        scores = cross_val_score(chain, X, Y, params={"tasks": TASK}, cv=3)
        pooled = cross_val_score(chain, X, Y, cv=3)
        assert scores.mean() > pooled.mean() + 0.05
        grid = {"metaridge__strengths": ["pooled", "feature"]}
        search = GridSearchCV(chain, grid, cv=KFold(3)).fit(X, Y, tasks=TASK)
        assert search.best_params_ == {"metaridge__strengths": "feature"}


def test_unseen_tasks():
    model = MetaRidge(strengths="two").fit(X, Y, tasks=TASK)
    assert_allclose(model.predict(X, tasks=["?"] * N), model.predict(X))
    model.set_params(unseen="error")
    with pytest.raises(ValueError, match="has not seen: '\\?'"):
        model.predict(X, tasks=["?"] * N)
    with pytest.raises(ValueError, match="tasks are missing"):
        model.predict(X)


def test_common_columns_have_one_effect():
    constant = np.c_[X, SLOPES[TASK, 0]]
    model = MetaRidge(strengths="feature", common=[1])
    model.fit(constant, Y, tasks=TASK)
    assert np.isinf(model.alpha_[[1, 3]]).all()
    assert np.ptp(model.coef_[:, [1, 3]], axis=0).max() < 1e-12


def test_two_tasks_are_too_few_for_the_guard():
    with pytest.warns(DataWarning, match="strengths='two' is used"):
        model = MetaRidge().fit(X, Y, tasks=TASK % 2)
    assert model.hyperpenalty_["family"].tolist() == ["two"]


def test_bad_parameters():
    with pytest.raises(ValueError, match="no column names"):
        MetaRidge(task="school").fit(X, Y)
    with pytest.raises(ValueError, match="is not a column of X"):
        MetaRidge(task=9).fit(X, Y)
    with pytest.raises(ValueError, match="leave one of the two out"):
        MetaRidge(task=0).fit(X, Y, tasks=TASK)
    with pytest.raises(ValueError, match="support_sizes"):
        MetaRidge(support_sizes=(-1,)).fit(X, Y, tasks=TASK)
    with pytest.raises(ValueError, match="common holds column 8"):
        MetaRidge(common=[8]).fit(X, Y, tasks=TASK)
    with pytest.raises(TypeError, match=r"fit\(X, y, tasks=...\)"):
        MetaRidge(groups=TASK)
    with pytest.raises(ValueError, match="adapt needs the labels"):
        MetaRidge(strengths="two").fit(X, Y, tasks=TASK).adapt(X, Y)


def test_a_fit_that_raises_leaves_the_model_as_it_was():
    model = MetaRidge(strengths="two").fit(X, Y, tasks=TASK)
    before = model.predict(X, tasks=TASK)
    with pytest.raises(ValueError, match="missing labels"):
        model.fit(X, Y, tasks=[None] * N)
    assert_allclose(model.predict(X, tasks=TASK), before)


def test_neither_input_nor_global_state_changes():
    given, target, labels = X.copy(), Y.copy(), TASK.copy()
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    MetaRidge().fit(given, target, tasks=labels)
    assert_allclose(given, X)
    assert (target == Y).all()
    assert (labels == TASK).all()
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002


def test_it_is_better_than_one_model_of_all_rows():
    pooled = BilevelRidgeCV(feature_groups="shared").fit(X, Y)
    model = MetaRidge().fit(X, Y, tasks=TASK)
    assert model.score(X, Y, tasks=TASK) > pooled.score(X, Y)


def test_a_random_intercept_has_the_variances_of_a_mixed_model():
    mixed = pytest.importorskip("statsmodels.regression.mixed_linear_model")
    design = np.c_[np.ones(N), X]
    found = mixed.MixedLM(Y, design, groups=TASK).fit()
    model = MetaRidge(strengths="intercept", tol=1e-8).fit(X, Y, tasks=TASK)
    variance = model.intercept_deviation_std_**2
    assert variance == pytest.approx(float(found.cov_re[0, 0]), rel=1e-3)
    assert model.noise_variance_ == pytest.approx(found.scale, rel=1e-3)
    assert_allclose(model.centre_, found.fe_params[1:], rtol=1e-4)


def test_large_variances_are_models_of_each_task():
    slopes = 100.0 * SLOPES
    y = (X * slopes[TASK]).sum(axis=1) + 1e-3 * RNG.standard_normal(N)
    model = MetaRidge(strengths="feature").fit(X, y, tasks=TASK)
    for i in (0, 7):
        own = LinearRegression().fit(X[TASK == i], y[TASK == i])
        assert_allclose(model.coef_[i], own.coef_, rtol=1e-3, atol=1e-2)


def test_order_of_rows_and_tasks_changes_nothing():
    order = RNG.permutation(N)
    plain = MetaRidge(strengths="feature").fit(X, Y, tasks=TASK)
    model = MetaRidge(strengths="feature").fit(X[order], Y[order], tasks=-TASK[order])
    expected = plain.predict(X, tasks=TASK)
    assert_allclose(model.predict(X, tasks=-TASK), expected, rtol=1e-5)


def test_plain_arrays_are_adapted_to_like_all_others():
    model = MetaRidge(strengths="two").fit(X, Y, tasks=TASK)
    fast = model.adapt(X[:5], Y[:5], tasks="new")
    slow = model.adapt(X[:5].tolist(), Y[:5].tolist(), tasks="new")
    assert_allclose(fast.coef_, slow.coef_, rtol=1e-12)
    with pytest.raises(ValueError, match="NaN"):
        model.adapt(np.full((1, P), np.nan), Y[:1], tasks="new")
    with pytest.raises(ValueError, match="features"):
        model.adapt(X[:5, :2], Y[:5], tasks="new")
    with pytest.raises(ValueError, match="239 labels"):
        model.adapt(X, Y, tasks=TASK[1:])


@pytest.mark.parametrize(
    ("criterion", "cv", "message"),
    [
        ("new-tasks", 1000, r"cv=1000 folds are more than the \d+ tasks"),
        ("known-tasks", 1000, r"cv=1000 folds are more than the \d+ rows"),
        ("new-tasks", iter([]), "gives no split; a generator is used up"),
    ],
)
def test_folds_that_cannot_be(criterion, cv, message):
    with pytest.raises(ValueError, match=message):
        MetaRidge(strengths="two", criterion=criterion, cv=cv).fit(X, Y, tasks=TASK)
