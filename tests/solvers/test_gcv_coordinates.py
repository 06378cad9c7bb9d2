"""Exact coordinate steps of generalized cross-validation."""

import numpy as np
import pytest
from scipy import sparse

from skbilevel import BilevelRidgeCV
from skbilevel.problems import (
    GCV,
    CriterionProblem,
    FeatureStrengths,
    GroupStrengths,
    LeaveOneOut,
    SmoothPenalty,
    SweptRows,
    as_design,
)
from skbilevel.problems._gcv_lines import GCVLines
from skbilevel.solvers import (
    LBFGSB,
    Direct,
    GCVCoordinates,
    Status,
    minimize_bilevel,
)


def make_data(n, p, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.exp(0.5 * rng.standard_normal(p))
    coef = np.where(np.arange(p) < 4, 1.0, 0.0)
    return X, X @ coef + rng.standard_normal(n)


def make_rows(n, p, t=1, intercept=True):
    X, y = make_data(n, p)
    rng = np.random.default_rng(1)
    Y = y[:, None] + 0.5 * rng.standard_normal((n, t)) + X[:, :t]
    free = np.ones((n, 1)) if intercept else None
    return SweptRows(as_design(X), Y, rng.uniform(0.5, 2.0, n), free)


@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("t", [1, 2])
@pytest.mark.parametrize("shape", [(30, 6), (12, 20)])
def test_a_step_is_the_minimum_over_ten_thousand_values(shape, t, dual):
    criterion = GCV.of(make_rows(*shape, t), dual)
    lines = GCVLines.of(criterion)
    rng = np.random.default_rng(2)
    v = rng.uniform(0.0, 0.3, shape[1])
    v[1] = 0.0
    for j in (0, 1, 5):
        M = lines.inverse(v)
        # Steps of u are even: v covers small and large values alike.
        x, out = lines.X[:, j], v.copy()
        out[j] = 0.0
        t_j = x @ lines.inverse(out) @ x
        u = np.linspace(0.0, 1.0 / t_j, 10_001)[:-1]
        high = float(u[-1] / (1.0 - u[-1] * t_j))
        best, after = lines.step(M, v, j, 0.0, high)
        out[j] = best
        lowest = min(
            criterion.at(np.where(np.arange(len(v)) == j, each, v)).value
            for each in (u / (1.0 - u * t_j))[::100]
        )
        assert criterion.at(out).value <= lowest * (1.0 + 1e-10)
        np.testing.assert_allclose(after, lines.inverse(out), atol=1e-9)
        # The ratio in u, by hand, on all of the grid.
        M0 = lines.inverse(np.where(np.arange(len(v)) == j, 0.0, v))
        s = M0 @ x
        residuals = (M0 @ lines.y)[None] - u[:, None, None] * s[:, None] * (s @ lines.y)
        f = lines.freedom + np.trace(M0) - u * (s @ s)
        grid = 0.5 * lines.weight * ((residuals**2).sum((1, 2)) + lines.rest) / f**2
        assert criterion.at(out).value <= grid.min() * (1.0 + 1e-10)


def test_limits_are_kept_and_a_large_variance_does_not_cancel():
    lines = GCVLines.of(GCV.of(make_rows(30, 6)))
    v = np.full(6, 0.1)
    v[0] = 1e12
    best, M = lines.step(lines.inverse(v), v, 0, 0.2, 0.3)
    assert 0.2 <= best <= 0.3
    v[0] = best
    np.testing.assert_allclose(M, lines.inverse(v), atol=1e-10)


@pytest.mark.parametrize("shape", [(60, 12), (60, 5)])
@pytest.mark.parametrize("intercept", [False, True])
def test_the_gradient_method_finds_the_same_minimum(shape, intercept):
    criterion = GCV.of(make_rows(*shape, intercept=intercept))
    strengths = FeatureStrengths(shape[1], 0.05)
    problem = CriterionProblem(criterion, strengths, strengths.bounds(0.0, 1e6))
    start = strengths.init(0.05)
    ours, theirs = (
        minimize_bilevel(problem, solver, theta0=start, tol=1e-8, max_iter=500)
        for solver in ("fcd", "auto")
    )
    # Beside a strength that ends at its bound the last digits are rounding.
    assert ours.status in (Status.CONVERGED, Status.FLAT)
    assert ours.value == pytest.approx(theirs.value, rel=1e-7)
    assert ((ours.v == 0) == (theirs.v < 1e-12)).all()
    assert (np.diff(ours.history["value"]) <= 1e-14).all()


def test_zeros_are_exact_and_the_end_is_the_best_of_single_changes():
    X, y = make_data(60, 12)
    model = BilevelRidgeCV(hyperpenalty=None, cv="gcv", solver="fcd", tol=1e-7)
    model.fit(X, y)
    removed = np.isinf(model.alpha_)
    assert 0 < removed.sum() < 9
    assert (model.coef_[removed] == 0).all()
    assert (np.diff(model.history_["value"]) <= 1e-12).all()
    other = BilevelRidgeCV(hyperpenalty=None, cv="gcv", tol=1e-7).fit(X, y)
    assert model.best_score_ == pytest.approx(other.best_score_, rel=1e-6)


def test_weights_are_rows_and_sparse_is_dense():
    X, y = make_data(40, 6)
    X[np.abs(X) < 0.3] = 0.0
    times = np.arange(40) % 3
    model = BilevelRidgeCV(hyperpenalty=None, cv="gcv", solver="fcd")
    weighted = model.fit(X, y, sample_weight=times).coef_
    again = np.repeat(np.arange(40), times)
    np.testing.assert_allclose(model.fit(X[again], y[again]).coef_, weighted, rtol=1e-6)
    thin = model.fit(sparse.csr_array(X), y, sample_weight=times).coef_
    np.testing.assert_allclose(thin, weighted, rtol=1e-6)


@pytest.mark.parametrize("k", range(12))
def test_the_last_digit_of_the_targets_changes_nothing(k):
    """One variance ends at its bound: to take that column out cancels all digits."""
    X, y = make_data(40, 6)
    X[np.abs(X) < 0.3] = 0.0
    model = BilevelRidgeCV(hyperpenalty=None, cv="gcv", solver="fcd")
    fits = [
        model.fit(given, targets, sample_weight=np.arange(40) % 3).best_score_
        for given in (X, sparse.csr_array(X))
        for targets in (y, y * (1.0 + k * 1e-14))
    ]
    np.testing.assert_allclose(fits, fits[0], rtol=1e-8)


@pytest.mark.parametrize("top", [1e6, 1e9, 1e13])
@pytest.mark.parametrize("seed", range(4))
def test_no_sweep_raises_the_criterion_however_large_variances_are(seed, top):
    n, p = [(40, 6), (60, 20), (15, 30), (30, 12)][seed % 4]
    X, _ = make_data(n, p, seed)
    rng = np.random.default_rng(seed)
    y = X[:, :4].sum(axis=1) + 0.1 * rng.standard_normal(n)
    rows = SweptRows(as_design(X), y[:, None], np.ones(n), np.ones((n, 1)))
    criterion, strengths = GCV.of(rows), FeatureStrengths(p)
    problem = CriterionProblem(criterion, strengths, strengths.bounds(0.0, top))
    start = strengths.init(0.05)
    ours = minimize_bilevel(problem, "fcd", theta0=start, tol=1e-8)
    assert (np.diff(ours.history["value"]) <= 0).all()
    assert ours.value == criterion.at(ours.v).value
    if n > p:
        theirs = minimize_bilevel(problem, theta0=start, tol=1e-6)
        assert ours.value <= theirs.value * 1.001


def test_a_column_of_zeros_and_one_that_is_there_twice():
    X, y = make_data(40, 5)
    X = np.column_stack([X, X[:, 0], np.zeros(40)])
    model = BilevelRidgeCV(hyperpenalty=None, cv="gcv", solver="fcd").fit(X, y)
    assert np.isfinite(model.coef_).all()
    assert np.isinf(model.alpha_[-1])


def test_limits_of_strengths_and_callbacks():
    X, y = make_data(40, 6)
    model = BilevelRidgeCV(
        hyperpenalty=None, cv="gcv", solver="fcd", alpha_bounds=(0.5, 20.0)
    ).fit(X, y)
    assert (model.alpha_ >= 0.5 * (1 - 1e-9)).all()
    assert (model.alpha_ <= 20.0 * (1 + 1e-9)).all()
    problem = CriterionProblem(
        GCV.of(make_rows(40, 6)), FeatureStrengths(6), (np.zeros(6), np.full(6, 10.0))
    )
    result = minimize_bilevel(
        problem, "fcd", theta0=np.ones(6), on_iter=lambda info: True
    )
    assert result.status is Status.STOPPED
    assert result.n_iter == 1


REFUSED = {
    "auto": {"hyperpenalty": "auto"},
    "smooth": {"hyperpenalty": ("smooth", 1.0)},
    "loo": {"cv": "loo"},
    "folds": {"cv": 3},
    "groups": {"feature_groups": [0, 0, 1, 1]},
    "shared": {"feature_groups": "shared"},
    "metadata": {"feature_metadata": np.arange(4.0)[:, None]},
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_that_ratio_is_refused(case):
    X, y = make_data(30, 4)
    given = {"hyperpenalty": None, "cv": "gcv", **REFUSED[case]}
    with pytest.raises(ValueError, match="one strength per feature"):
        BilevelRidgeCV(solver="fcd", **given).fit(X, y)


def test_what_the_solver_itself_refuses():
    rows, box = make_rows(20, 4), (np.zeros(4), np.ones(4))
    gcv, each = GCV.of(rows), FeatureStrengths(4)
    pair = GroupStrengths(np.array([0, 0, 1, 1]))
    problems = [
        CriterionProblem(LeaveOneOut(rows), each, box),
        CriterionProblem(gcv, pair, (np.zeros(2), np.ones(2))),
        CriterionProblem(gcv, each, (np.full(4, 0.1), np.ones(4)), SmoothPenalty(1.0)),
    ]
    for problem in problems:
        with pytest.raises(ValueError, match="GCVCoordinates"):
            Direct(GCVCoordinates()).solve(problem, problem.bounds[1])
    with pytest.raises(ValueError, match="GCVCoordinates"):
        GCVCoordinates().minimize(lambda t, tol: (0.0, t), np.ones(4), box)
    done = Direct(LBFGSB()).solve(problems[0], np.ones(4))
    assert np.isfinite(done.value)
