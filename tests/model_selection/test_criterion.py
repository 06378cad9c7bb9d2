"""Criteria built from data: values, gradients and curvatures in every regime."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge

from skbilevel.linear_model._counts import RowCounts
from skbilevel.linear_model._data import prepare
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._metadata import Metadata
from skbilevel.model_selection._outer_space import (
    FoldMetadata,
    OuterSpace,
    variance_limits,
)
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import CriterionProblem
from skbilevel.solvers import INNER, LBFGSB, Implicit, Nested
from skbilevel.solvers._nested import DirectRun, NestedRun

REGIMES = [
    ("folds", "primal"),
    ("folds", "dual"),
    ("folds", "matrix-free"),
    ("loo", "primal"),
    ("loo", "dual"),
    ("gcv", "primal"),
    ("gcv", "dual"),
]
SPACES = [
    "feature",
    "group",
    "shared",
    "metadata",
    "callable",
    "smooth",
    "smooth groups",
    "smooth metadata",
    "sparse",
]
N, P = 40, 12
INNERS = {
    "primal": INNER["cholesky"],
    "dual": INNER["dual"],
    "matrix-free": INNER["cg"],
}


def counted(weight):
    """Rows of which some have no weight; the door leaves them out."""
    return RowCounts(np.arange(N), weight, 1.0, N)


def make_data(t=2, sparse_X=False, free=(3,), more=0):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, P + len(free))) + 1.0
    if sparse_X:
        X[rng.random(X.shape) < 0.5] = 0.0
    Y = X[:, :4] @ rng.standard_normal((4, t)) + rng.standard_normal((N, t)) + 5.0
    X = np.hstack([X, np.zeros((N, more))])
    weight = rng.uniform(0.2, 3.0, N)
    weight[[2, 17]] = 0.0
    mask = np.zeros(X.shape[1], dtype=bool)
    mask[list(free)] = True
    data = prepare(
        sparse.csr_array(X) if sparse_X else X, Y, counted(weight), mask, True, True
    )
    label = np.where(weight > 0, rng.permutation(N) % 4, -1)
    splits = [
        (np.flatnonzero((label != k) & (label >= 0)), np.flatnonzero(label == k))
        for k in range(4)
    ]
    # A last split that overlaps the others and leaves rows out.
    positive = np.flatnonzero(weight > 0)
    splits.append((positive[:15], positive[20:30]))
    return X, Y, weight, data, splits


def make_source(data, splits, criterion, regime, standardize=False):
    if (criterion, regime) == ("folds", "primal"):
        return MomentFolds.of(RowViews(data.rows), splits, standardize)
    dual = regime == "dual"
    inner = INNERS["dual" if criterion != "folds" else regime]
    own = splits if criterion == "folds" else []
    return RowSource.of(RowViews(data.rows), own, criterion, dual, inner, standardize)


def scales(X, y, weight):
    """Metadata that depend on the training rows."""
    X = X.toarray() if sparse.issparse(X) else X
    return np.column_stack([np.log(X.std(axis=0)), abs(X.T @ y).reshape(len(X.T), -1)])


def make_space(name, data, splits, source):
    low, high = variance_limits(None, source.trace, source.metric)
    members, metadata = None, None
    if "group" in name:
        members = np.arange(P) % 3
    elif name == "shared":
        members = np.zeros(P, dtype=int)
    if "metadata" in name:
        Z = np.random.default_rng(1).standard_normal((data.rows.X.shape[1], 2))
        metadata = FoldMetadata.of(Metadata(Z), RowViews(data.rows), splits)
    elif name == "callable":
        metadata = FoldMetadata.of(Metadata(scales), RowViews(data.rows), splits)
    family = name.split()[0] if name.split()[0] in ("smooth", "sparse") else "none"
    return OuterSpace(data.rows.n_penalized, members, metadata, low, high, family, 0.3)


def make_run(source, outer, regime):
    problem = source.problem(outer)
    if isinstance(problem, CriterionProblem):
        return DirectRun(problem)
    return NestedRun(Nested(INNERS[regime], Implicit(), LBFGSB()), problem, map)


def interior(outer, seed=3):
    rng = np.random.default_rng(seed)
    base = outer.parametrization.init(0.02)
    theta = base + rng.uniform(-0.5, 0.5, len(base))
    low, high = outer.bounds
    return np.clip(theta, low + 0.05, high - 0.05)


def central(fun, x):
    out = np.empty(len(x))
    for j, e in enumerate(np.eye(len(x))):
        h = 1e-3
        near, far = (fun(x + k * h * e) - fun(x - k * h * e) for k in (1, 2))
        out[j] = (8 * near - far) / (12 * h)
    return out


@pytest.mark.parametrize("name", SPACES)
@pytest.mark.parametrize(("criterion", "regime"), REGIMES)
def test_gradient_is_that_of_central_differences(criterion, regime, name):
    _, _, _, data, splits = make_data()
    source = make_source(data, splits, criterion, regime)
    own = splits if criterion == "folds" else []
    space = make_space(name, data, own, source)
    outer = space.outer_vector(0.02, source.null_loss)
    run = make_run(source, outer, regime)
    theta = interior(outer)
    _, grad = run(theta, 1e-12)
    slope = central(lambda x: run(x, 1e-12)[0], theta)
    assert np.abs(grad - slope).max() < 1e-6 * np.abs(slope).max()


@pytest.mark.parametrize("sparse_X", [False, True])
def test_regimes_agree(sparse_X):
    _, _, _, data, splits = make_data(sparse_X=sparse_X)
    v = np.random.default_rng(4).uniform(0.0, 0.1, P)
    v[:2] = 0.0
    found = {}
    for criterion, regime in REGIMES:
        source = make_source(data, splits, criterion, regime)
        outer = make_space("feature", data, splits, source).outer_vector(0.02, 1.0)
        run = make_run(source, outer, regime)
        value, grad = run(outer.parametrization.init(v), 1e-13)
        coefs = [source.coefficients(v), *source.fold_coefficients(v)]
        found.setdefault(criterion, []).append(
            (value, grad, source.trace, source.null_loss, *coefs)
        )
    for results in found.values():
        for other in results[1:]:
            for a, b in zip(results[0], other, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)
                assert (np.asarray(a) == 0).sum() == (np.asarray(b) == 0).sum()


def test_value_and_coefficients_are_those_of_ridge():
    X, Y, weight, data, splits = make_data(free=())
    source = make_source(data, splits, "folds", "primal")
    outer = make_space("feature", data, splits, source).outer_vector(0.02, 1.0)
    v = np.random.default_rng(4).uniform(0.001, 0.1, P)
    value, _ = make_run(source, outer, "primal")(outer.parametrization.init(v), 0.0)
    loss = total = 0.0
    for (train, valid), coef in zip(splits, source.fold_coefficients(v), strict=True):
        moved = v * weight.sum() / weight[train].sum()
        model = Ridge(alpha=1.0, solver="cholesky").fit(
            X[train] * np.sqrt(moved), Y[train], sample_weight=weight[train]
        )
        W, b = data.coefficients(coef)
        np.testing.assert_allclose(W, model.coef_ * np.sqrt(moved), rtol=1e-9)
        np.testing.assert_allclose(b, model.intercept_, rtol=1e-9)
        error = Y[valid] - model.predict(X[valid] * np.sqrt(moved))
        loss += 0.5 * (weight[valid, None] * error**2).sum()
        total += weight[valid].sum()
    np.testing.assert_allclose(value * data.y_scale**2, loss / total, rtol=1e-10)


def numerical_jacobian(errors, theta):
    columns = [
        (errors(theta + 1e-5 * e) - errors(theta - 1e-5 * e)).ravel() / 2e-5
        for e in np.eye(len(theta))
    ]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", ["feature", "group", "metadata", "callable"])
@pytest.mark.parametrize(("criterion", "regime"), REGIMES)
def test_curvature_is_that_of_the_errors(criterion, regime, name):
    _, _, _, data, splits = make_data()
    source = make_source(data, splits, criterion, regime)
    own = splits if criterion == "folds" else []
    outer = make_space(name, data, own, source).outer_vector(0.02, 1.0)
    parametrization, rows = outer.parametrization, data.rows
    total = rows.weight.sum()

    def errors(theta):
        v = parametrization.v(theta)
        if criterion == "loo":
            return source.problem(outer).criterion.errors(v) / np.sqrt(total)
        if criterion == "gcv":
            root = np.sqrt(rows.weight)[:, None]
            everything = np.arange(rows.n_rows)
            residual = rows.targets(everything) - rows.predict(
                everything, source.coefficients(v)
            )
            value = source.problem(outer).criterion.at(v).value
            rss = (root**2 * residual**2).sum()
            return root * residual * np.sqrt(2 * value / rss)
        parts, weights = [], 0.0
        for k, (_, valid) in enumerate(splits):
            par = parametrization if outer.per_fold is None else outer.per_fold[k]
            coef = source.fold_coefficients(par.v(theta))[k]
            residual = rows.targets(valid) - rows.predict(valid, coef)
            parts.append(np.sqrt(rows.weight[valid])[:, None] * residual)
            weights += rows.weight[valid].sum()
        return np.concatenate(parts) / np.sqrt(weights)

    theta = interior(outer)
    J = numerical_jacobian(errors, theta)
    run = make_run(source, outer, regime)
    value, _ = run(theta, 1e-12)
    np.testing.assert_allclose(value, 0.5 * (errors(theta) ** 2).sum(), rtol=1e-8)
    wanted = J.T @ J
    np.testing.assert_allclose(
        run.curvature(theta), wanted, rtol=1e-4, atol=1e-5 * abs(wanted).max()
    )


@pytest.mark.parametrize(("criterion", "regime"), REGIMES)
def test_rows_without_weight_do_not_matter(criterion, regime):
    _, _, weight, data, splits = make_data()
    X, Y = data.rows.X.copy(), data.rows.y.copy()
    gone = np.flatnonzero(weight == 0)
    values = []
    for scale in (1.0, 50.0):
        X[gone] *= scale
        Y[gone] -= scale
        rows = prepare(X, Y, counted(weight), np.arange(P + 1) == 3, True, True)
        source = make_source(rows, splits, criterion, regime)
        outer = make_space("feature", rows, splits, source).outer_vector(0.02, 1.0)
        value, grad = make_run(source, outer, regime)(interior(outer), 1e-13)
        coef, _ = rows.coefficients(source.coefficients(np.full(P, 0.1)))
        values.append((value * rows.y_scale**2, grad * rows.y_scale**2, coef))
    for a, b in zip(*values, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_standardized_strengths_refer_to_scaled_columns():
    rng = np.random.default_rng(0)
    size = 10.0 ** rng.uniform(-4, 4, P)
    X = rng.standard_normal((N, P)) * size
    y = (X / size)[:, :2].sum(axis=1, keepdims=True) + rng.standard_normal((N, 1))
    data = prepare(X, y, counted(np.ones(N)), np.zeros(P, bool), True, False)
    assert data.rows.standardize
    splits = [(np.arange(20), np.arange(20, 40))]
    for criterion, regime in REGIMES:
        source = make_source(data, splits, criterion, regime, standardize=True)
        np.testing.assert_allclose(source.metric * X.std(axis=0), 1.0, rtol=1e-8)
        coef, _ = data.coefficients(source.coefficients(np.full(P, 0.1)))
        model = Ridge(alpha=10.0, solver="cholesky").fit(X / X.std(axis=0), y)
        np.testing.assert_allclose(coef * X.std(axis=0), model.coef_[None], rtol=1e-6)


def test_callable_metadata_see_training_rows_only():
    X, Y, weight, data, splits = make_data()
    calls = []

    def record(X, y, sample_weight):
        calls.append((X.copy(), y.copy(), sample_weight.copy()))
        return np.arange(float(X.shape[1]))

    FoldMetadata.of(Metadata(record, data.y_scale), RowViews(data.rows), splits)
    seen = [np.arange(N), *(train for train, _ in splits)]
    assert len(calls) == len(seen)
    for (a, b, s), index in zip(calls, seen, strict=True):
        np.testing.assert_array_equal(a, X[index])
        np.testing.assert_allclose(b, Y[index], rtol=1e-12)
        np.testing.assert_array_equal(s, weight[index])


def test_folds_of_many_columns_are_tasks_of_their_own():
    """From 300 columns on; columns of zeros change nothing else."""
    found = []
    for more in (0, 300):
        *_, data, splits = make_data(more=more)
        source = make_source(data, splits, "folds", "primal")
        problem = source.problem(
            make_space("feature", data, splits, source).outer_vector(0.02, 1.0)
        )
        assert len(problem.tasks) == (len(splits) if more else 1)
        solver = Nested(INNERS["primal"], Implicit(), LBFGSB())
        found.append(
            solver.evaluate(problem, np.resize(np.linspace(-3.0, -1.0, P), P + more))
        )
    few, many = found
    np.testing.assert_allclose(few.value, many.value, rtol=1e-12)
    np.testing.assert_allclose(few.grad, many.grad[:P], rtol=1e-9)


@pytest.mark.parametrize("dual", [False, True])
def test_left_out_predictions_are_those_of_explicit_fits(dual):
    X, Y, weight, data, _ = make_data(free=())
    v = np.random.default_rng(4).uniform(0.001, 0.1, P)
    regime = "dual" if dual else "primal"
    source = make_source(data, [], "loo", regime)
    shown = (source.left_out_predictions(v) + data.rows.y_shift) * data.y_scale
    for i in range(0, N, 5):
        keep = (np.arange(N) != i) & (weight > 0)
        model = Ridge(alpha=1.0, solver="cholesky").fit(
            X[keep] * np.sqrt(v), Y[keep], sample_weight=weight[keep]
        )
        wanted = model.predict(X[i : i + 1] * np.sqrt(v))[0]
        np.testing.assert_allclose(shown[i], wanted, rtol=1e-8)
