"""What both models of related tasks make of hard cases and bad input."""

import numpy as np
import pytest
import sklearn
from numpy.testing import assert_allclose

from skbilevel import MetaLogistic, MetaRidge
from skbilevel.exceptions import DataWarning

RNG = np.random.default_rng(1)
N, P, T = 240, 3, 10
TASK = np.r_[np.arange(T), RNG.integers(0, T, N - T)]
X = RNG.standard_normal((N, P))
SLOPES = np.array([1.0, -1.0, 0.5]) + RNG.standard_normal((T, P)) * [0.8, 0.4, 0.0]
SCORE = (X * SLOPES[TASK]).sum(axis=1) + 0.7 * RNG.standard_normal(N)
TARGETS = {MetaRidge: SCORE, MetaLogistic: (SCORE > 0.0).astype(int)}
KINDS = pytest.mark.parametrize("kind", list(TARGETS))
STRENGTHS = pytest.mark.parametrize(
    "strengths", ["auto", "pooled", "intercept", "two", "feature"]
)


def fitted(kind, tasks=TASK, X=X, weight=None, **params):
    """A model of one kind; two strengths where nothing else is said."""
    model = kind(**({"strengths": "two"} | params))
    return model.fit(X, TARGETS[kind], weight, tasks=tasks)


@KINDS
@STRENGTHS
def test_a_column_that_is_zero_in_some_tasks_has_the_centre_there(kind, strengths):
    zero = np.where((TASK < 4)[:, None] & (np.arange(P) == 1), 0.0, X)
    model = fitted(kind, X=zero, fit_intercept=False, strengths=strengths)
    assert_allclose(model.coef_[:4, 1], model.centre_[1], atol=1e-9)
    differ = abs(model.coef_[:, 0] - model.centre_[0]).max() > 0.01
    assert differ == (strengths in ("auto", "two", "feature"))


@KINDS
@STRENGTHS
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_tasks_of_one_row_and_fewer_rows_than_columns(kind, strengths):
    model, alone = kind(strengths=strengths), np.arange(60)
    with pytest.warns(DataWarning, match="60 labels for 60 rows"):
        model.fit(X[:60], TARGETS[kind][:60], tasks=alone)
    assert np.isfinite(model.coef_).all()
    few, wide = np.arange(40) % 4, RNG.standard_normal((40, 12))
    model.fit(wide, TARGETS[kind][:40], tasks=few)
    assert np.isfinite(model.predict(wide, tasks=few)).all()


@KINDS
@pytest.mark.parametrize("tasks", [None, "one label", np.zeros(N)])
def test_one_task_is_pooled(kind, tasks):
    model, pooled = fitted(kind, tasks, strengths="auto"), kind(strengths="pooled")
    pooled.fit(X, TARGETS[kind], tasks=TASK)
    # The strength of a centre is searched.
    assert_allclose(model.centre_, pooled.centre_, rtol=1e-4)
    assert model.coef_.shape == (1, P)
    assert np.isinf(model.alpha_).all()


@KINDS
def test_a_task_without_weight_is_not_known(kind):
    weight = (TASK != 3).astype(float)
    model, rest = fitted(kind, weight=weight), kind(strengths="two")
    rest.fit(X[TASK != 3], TARGETS[kind][TASK != 3], tasks=TASK[TASK != 3])
    assert 3 not in model.tasks_
    assert_allclose(model.coef_, rest.coef_, rtol=1e-6)


@KINDS
def test_columns_of_one_value_in_each_task_and_labels_of_columns(kind):
    wider = np.c_[X, SLOPES[TASK, 0]]
    model = fitted(kind, X=wider, strengths="feature", feature_groups=list("abab"))
    assert model.group_labels_.tolist() == ["a", "b"]
    assert_allclose(model.alpha_[[0, 1]], model.group_alpha_)
    assert model.alpha_[2] == pytest.approx(model.alpha_[0])
    assert np.isinf(model.alpha_[3])


@KINDS
def test_cold_starts_alone_and_threads(kind, capsys):
    cold = fitted(kind, criterion="new-tasks", support_sizes=(0,))
    plain = fitted(kind, strengths="pooled")
    assert abs(cold.score(X, TARGETS[kind]) - plain.score(X, TARGETS[kind])) < 0.03
    alone, threads = kind(verbose=1), kind(n_jobs=2)
    for model in (alone, threads):
        model.fit(X[:120], TARGETS[kind][:120], tasks=TASK[:120])
    assert_allclose(threads.coef_, alone.coef_, rtol=1e-9)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all(line.startswith(f"[{kind.__name__}] ") for line in lines)


WRONG_LABELS = {
    "length": (TASK[:-1], ValueError, "239 labels, but X has 240 rows"),
    "None": ([None, *TASK[1:].tolist()], ValueError, "missing labels"),
    "NaN": (np.where(TASK == 1, np.nan, TASK), ValueError, "missing labels"),
    "two columns": (np.c_[TASK, TASK], ValueError, "one label per row"),
    "lists": ([[1]] * N, TypeError, "cannot be hashed"),
}


@KINDS
@pytest.mark.parametrize("case", WRONG_LABELS)
@pytest.mark.parametrize("method", ["fit", "predict", "score", "adapt"])
def test_labels_that_cannot_be_used(kind, case, method):
    tasks, error, message = WRONG_LABELS[case]
    target = () if method == "predict" else (TARGETS[kind],)
    model = fitted(kind)
    with pytest.raises(error, match=message):
        getattr(model, method)(X, *target, tasks=tasks)
    assert_allclose(model.coef_, fitted(kind).coef_)


@KINDS
@pytest.mark.parametrize("frame", ["pandas", "polars", "array"])
def test_the_column_of_tasks_is_missing_later(kind, frame):
    if frame == "polars" and sklearn.__version__ < "1.8":
        pytest.skip("scikit-learn 1.7 does not read the column names of polars 2")
    names = ["a", "b", "c", "store"]
    whole = np.c_[X, TASK]
    if frame != "array":
        table = pytest.importorskip(frame).DataFrame
        whole = table({name: whole[:, j] for j, name in enumerate(names)})
    task = 3 if frame == "array" else "store"
    model = kind(task=task, strengths="two").fit(whole, TARGETS[kind])
    without = X if frame == "array" else whole[names[:3]]
    message = "3 features, .* 4" if frame == "array" else "yet now missing:\n- store"
    for method, target in (("predict", ()), ("adapt", (TARGETS[kind],))):
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(without, *target)


@KINDS
@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(N, -1.0), "Negative values"),
        (np.zeros(N), "at least one non-zero"),
        (np.r_[np.nan, np.ones(N - 1)], "NaN"),
        (np.ones(7), r"shape == \(7,\)"),
    ],
)
def test_weights_that_cannot_be_used(kind, weight, message):
    model = fitted(kind)
    with pytest.raises(ValueError, match=message):
        model.fit(X, TARGETS[kind], weight, tasks=TASK)
    with pytest.raises(ValueError, match=message):
        model.adapt(X, TARGETS[kind], tasks="new", sample_weight=weight)
