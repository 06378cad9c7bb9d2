"""Every criterion in every form: values by brute force, derivatives by differences.

A criterion is a function of ``theta``, which makes variances ``v``; a form is how the
rows enter it. The brute force here uses dense algebra and one fit per set of rows.
"""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skbilevel.model_selection._criterion import OuterVector
from skbilevel.model_selection._dual import KernelTrainer
from skbilevel.model_selection._fold_moments import MomentFolds
from skbilevel.model_selection._glm_source import GLMSource
from skbilevel.model_selection._primal import MomentTrainer
from skbilevel.model_selection._resampling import TrainingSet
from skbilevel.model_selection._row_criteria import RowSource
from skbilevel.model_selection._row_views import RowViews
from skbilevel.problems import (
    CriterionProblem,
    FeatureStrengths,
    LogisticLoss,
    SoftmaxLoss,
)
from skbilevel.problems._evidence import KernelEvidence, MomentEvidence
from skbilevel.problems._kernel import KernelRows, KernelSet
from skbilevel.problems._moments import RowMoments
from skbilevel.solvers import (
    INNER,
    LBFGSB,
    ApproximateLeaveOneOut,
    Implicit,
    Nested,
    NewtonCholesky,
    NewtonDual,
)
from skbilevel.solvers._nested import DirectRun, NestedRun

DATA = {
    "dense": {},
    "sparse": {"sparse_X": True},
    "weights": {"weighted": True},
    "unpenalized": {"free": (1,)},
    "targets": {"t": 3},
    "all at once": {"sparse_X": True, "weighted": True, "free": (1,), "t": 2},
}
SHAPES = {"tall": (30, 5), "wide": (14, 18)}
FORMS = {
    "held-out": ("gram", "kernel", "products"),
    "halves": ("gram", "kernel"),
    "leave-one-out": ("gram", "kernel"),
    "gcv": ("gram", "kernel"),
    "evidence": ("gram", "kernel"),
    "approximate": ("gram", "kernel"),
}
# Criteria that are half a sum of squared errors, which `errors_of` says.
OF_SQUARES = ("held-out", "halves", "leave-one-out", "gcv")
# Hypergradients of likelihoods.
OF_LIKELIHOODS = {"approximate": ApproximateLeaveOneOut()}
# Names of ``cv``, where they are others.
NAMES = {"held-out": "folds", "leave-one-out": "loo", "evidence": "reml"}
SQUARES = [(name, form) for name in OF_SQUARES for form in FORMS[name]]
ALL = [(name, form) for name, forms in FORMS.items() for form in forms]
INNERS = {"gram": "cholesky", "kernel": "dual", "products": "cg"}
NEWTON = {"gram": NewtonCholesky(), "kernel": NewtonDual()}


def data_of(make_rows, name, shape, criterion):
    """Rows; classes of them for likelihoods."""
    setting = DATA[name]
    rows = make_rows(*SHAPES[shape], **setting)
    if criterion not in OF_LIKELIHOODS:
        return rows
    y = rows.y - rows.y.mean(axis=0)
    if y.shape[1] == 1:
        return replace(rows, y=(y > 0).astype(float))
    return replace(rows, y=np.eye(y.shape[1])[y.argmax(axis=1)])


def splits_of(rows):
    """Three folds, and a split that overlaps them."""
    order = np.random.default_rng(1).permutation(rows.n_rows)
    parts = np.array_split(order, 3)
    folds = [(np.concatenate(parts[:k] + parts[k + 1 :]), parts[k]) for k in range(3)]
    return [*folds, (parts[0], parts[1])]


class AtTheta:
    """A criterion of the full data's strengths: ``at(theta)``."""

    def __init__(self, rows, name, form):
        p, views = rows.n_penalized, RowViews(rows)
        self.parametrization = FeatureStrengths(p)
        splits = splits_of(rows) if name == "held-out" else []
        if (name, form) == ("held-out", "gram"):
            source = MomentFolds.of(views, splits, standardize=False)
        elif name in OF_LIKELIHOODS:
            loss = LogisticLoss() if rows.n_targets == 1 else SoftmaxLoss()
            source = GLMSource.of(views, (loss, loss), None, [], NEWTON[form], False)
        else:
            kind = NAMES.get(name, name)
            inner = INNER[INNERS[form]]
            dual = form == "kernel"
            source = RowSource.of(views, splits, kind, dual, inner, standardize=False)
        box = self.parametrization.bounds(0.0, 1e4)
        problem = source.problem(OuterVector(self.parametrization, box))
        if isinstance(problem, CriterionProblem):
            self.run = DirectRun(problem)
        elif name in OF_LIKELIHOODS:
            nested = Nested(NEWTON[form], OF_LIKELIHOODS[name], LBFGSB())
            self.run = NestedRun(nested, problem, map)
        else:
            nested = Nested(INNER[INNERS[form]], Implicit(), LBFGSB())
            self.run = NestedRun(nested, problem, map)

    def v(self, theta):
        return self.parametrization.v(theta)

    def start(self, v):
        return self.parametrization.init(v)

    def value_and_grad(self, theta):
        return self.run(theta, 1e-12)

    def curvature(self, theta):
        return self.run.curvature(theta)


class OfTheGuard(AtTheta):
    """Half-sampling, at ``theta = log v``; its model has half of the Hessian."""

    def __init__(self, rows, name, form):
        pairs = splits_of(rows)
        everything = np.arange(rows.n_rows)
        # A half is a set and the rest of the training rows.
        pairs = [(a, np.setdiff1d(everything, a)) for a, _ in pairs]
        training = TrainingSet(everything, pairs, None)
        if form == "gram":
            self.trainer = MomentTrainer(rows, [training], RowMoments(rows))
        else:
            self.trainer = KernelTrainer.of(KernelRows.of(rows), training)

    def v(self, theta):
        return np.exp(theta)

    def start(self, v):
        return np.log(v)

    def value_and_grad(self, theta):
        model = self.trainer.halves(theta[None])
        return float(model.value[0]), model.grad[0]

    def curvature(self, theta):
        model = self.trainer.halves(theta[None])
        return 2.0 * np.stack([model.product(e[None])[0] for e in np.eye(len(theta))])


def make(rows, name, form):
    return (OfTheGuard if name == "halves" else AtTheta)(rows, name, form)


def dense(rows):
    return replace(rows, X=rows.X.toarray()) if hasattr(rows.X, "toarray") else rows


def root_errors(rows, index, valid, v, explicit_ridge):
    """Root-weighted errors of rows ``valid`` of a fit on rows ``index``."""
    coef = explicit_ridge(rows, index, v)
    error = rows.targets(valid) - rows.predict(valid, coef)
    return np.sqrt(rows.weight[valid])[:, None] * error


def swept(rows):
    """Root-weighted columns and targets, unpenalized columns projected out."""
    z, m = rows.dense(np.arange(rows.n_rows)), rows.n_free
    z = np.sqrt(rows.weight)[:, None] * z
    z = z - z[:, :m] @ np.linalg.lstsq(z[:, :m], z, rcond=None)[0]
    p = rows.n_penalized
    return z[:, m : m + p], z[:, m + p :]


def errors_of(name, rows, v, explicit_ridge):
    """What half the sum of squares of is the criterion."""
    total, everything = rows.weight.sum(), np.arange(rows.n_rows)
    if name == "leave-one-out":
        parts = [
            root_errors(rows, np.delete(everything, i), [i], v, explicit_ridge)
            for i in everything
        ]
        return np.concatenate(parts) / np.sqrt(total)
    if name == "gcv":
        X, y = swept(rows)
        M = np.linalg.inv(np.eye(len(X)) + (X * v) @ X.T)
        freedom = total - rows.n_free - (len(X) - np.trace(M))
        return np.sqrt(total) * (M @ y) / freedom
    parts, weight = [], 0.0
    for train, valid in splits_of(rows):
        share = rows.weight[train].sum() / total
        if name == "halves":
            valid, share = np.setdiff1d(everything, train), 1.0
        # Strengths of the full data, moved to a training set of less weight: mean loss.
        parts.append(root_errors(rows, train, valid, v / share, explicit_ridge))
        weight += rows.weight[valid].sum()
    if name == "halves":
        # A share of the variance, and no factor of one half.
        weight *= 0.5 * (swept(rows)[1] ** 2).sum() / total
    return np.concatenate(parts) / np.sqrt(weight)


def newton_fit(rows, v):
    """A likelihood's coefficients by Newton's method, and what a step needs."""
    z, m, p = rows.dense(np.arange(rows.n_rows)), rows.n_free, rows.n_penalized
    X, t = z[:, : m + p], rows.n_targets
    loss = LogisticLoss() if t == 1 else SoftmaxLoss()
    penalty = np.kron(np.diag(np.r_[np.zeros(m), 1.0 / v]), np.eye(t))
    W = np.zeros((m + p, t))
    for _ in range(60):
        eta = X @ W
        grad = rows.weight[:, None] * loss.grad(eta, rows.y)
        apply = loss.second_derivative(eta, rows.y)
        C = np.stack([apply(np.tile(e, (len(X), 1))) for e in np.eye(t)], axis=-1)
        C = rows.weight[:, None, None] * C
        hessian = np.einsum("ij,ik,icd->jckd", X, X, C).reshape(penalty.shape)
        hessian = hessian + penalty
        slope = (X.T @ grad).ravel() + penalty @ W.ravel()
        W = W - (np.linalg.pinv(hessian, 1e-13) @ slope).reshape(W.shape)
    return X, loss, eta, grad, C, hessian


def approximate_value(rows, v):
    """Every row left out by one Newton step of its own."""
    X, loss, eta, grad, C, hessian = newton_fit(rows, v)
    left = np.empty_like(eta)
    for i, x in enumerate(X):
        E = np.kron(x[:, None], np.eye(eta.shape[1]))
        without = np.linalg.pinv(hessian - E @ C[i] @ E.T, 1e-13)
        left[i] = eta[i] + E.T @ without @ E @ grad[i]
    return float(rows.weight @ loss.value(left, rows.y).sum(axis=1)), left


def brute_force(name, rows, v, explicit_ridge):
    rows = dense(rows)
    if name == "approximate":
        return approximate_value(rows, v)[0] / rows.weight.sum()
    if name == "evidence":
        (X, y), n = swept(rows), rows.weight.sum()
        C = np.eye(len(X)) + (X * v) @ X.T
        Q = (y * np.linalg.solve(C, y)).sum(axis=0) + 1e-4 * (y * y).sum(axis=0)
        left = n - rows.n_free
        mean_log = np.log(Q / n).mean() + np.linalg.slogdet(C)[1] / left
        return 0.5 * rows.n_targets * np.exp(mean_log)
    return 0.5 * (errors_of(name, rows, v, explicit_ridge) ** 2).sum()


def theta_of(criterion, p):
    return criterion.start(np.exp(np.random.default_rng(3).uniform(-4.0, 0.0, p)))


def differences(fun, theta, h=1e-4):
    """Central differences of fourth order, one row for every coordinate."""
    rows = []
    for e in h * np.eye(len(theta)):
        near, far = (
            fun(theta + e) - fun(theta - e),
            fun(theta + 2 * e) - fun(theta - 2 * e),
        )
        rows.append((8.0 * near - far) / (12.0 * h))
    return np.array(rows)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("name", "form"), ALL)
def test_value_and_gradient(make_rows, explicit_ridge, name, form, data, shape):
    rows = data_of(make_rows, data, shape, name)
    criterion = make(rows, name, form)
    theta = theta_of(criterion, rows.n_penalized)
    value, grad = criterion.value_and_grad(theta)
    expected = brute_force(name, rows, criterion.v(theta), explicit_ridge)
    assert_allclose(value, expected, rtol=1e-7)
    slope = differences(lambda x: criterion.value_and_grad(x)[0], theta, 1e-3)
    assert abs(grad - slope).max() < 1e-5 * abs(slope).max()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize(("name", "form"), SQUARES)
def test_curvature_of_squares(make_rows, explicit_ridge, name, form, data, shape):
    """The Gauss-Newton matrix is that of the errors of explicit fits."""
    rows = data_of(make_rows, data, shape, name)
    criterion = make(rows, name, form)
    theta = theta_of(criterion, rows.n_penalized)
    plain = dense(rows)

    def errors(x):
        return errors_of(name, plain, criterion.v(x), explicit_ridge).ravel()

    J = differences(errors, theta, 1e-3)
    expected = J @ J.T
    found = criterion.curvature(theta)
    # Iterative solves of a curvature are rough.
    accuracy = 1e-3 if form == "products" else 1e-5
    assert_allclose(found, expected, atol=accuracy * abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS["approximate"])
@pytest.mark.parametrize("data", ["dense", "sparse", "weights", "unpenalized"])
def test_curvature_of_the_approximation(make_rows, form, data, shape):
    """Predictions of left-out rows move as those of least squares on responses."""
    rows = data_of(make_rows, data, shape, "approximate")
    criterion = make(rows, "approximate", form)
    theta, plain = theta_of(criterion, rows.n_penalized), dense(rows)
    X, loss, eta, grad, C, _ = newton_fit(plain, criterion.v(theta))
    d, m = C[:, 0, 0], rows.n_free
    z = eta[:, 0] - grad[:, 0] / d

    def left_out(x):
        penalty = np.diag(np.r_[np.zeros(m), 1.0 / criterion.v(x)])
        hat = X @ np.linalg.solve((X.T * d) @ X + penalty, X.T * d)
        h = np.diag(hat)
        return (hat @ z - h * z) / (1.0 - h)

    J = differences(left_out, theta)
    left = left_out(theta)[:, None]
    assert_allclose(left, approximate_value(plain, criterion.v(theta))[1], rtol=1e-6)
    bend = rows.weight * loss.curvature(left, rows.y)[:, 0] / rows.weight.sum()
    expected = (J * bend) @ J.T
    found = criterion.curvature(theta)
    assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS["evidence"])
@pytest.mark.parametrize("data", ["dense", "sparse", "weights", "unpenalized"])
def test_curvature_of_the_evidence(make_rows, form, data, shape):
    """The expected Hessian is that of targets with the covariance of the model."""
    rows = make_rows(*SHAPES[shape], **DATA[data])
    n, p, train = rows.n_rows, rows.n_penalized, np.arange(rows.n_rows)
    log_v = np.random.default_rng(3).uniform(-4.0, 0.0, p)
    X, _ = swept(dense(rows))
    C = np.eye(n) + (X * np.exp(log_v)) @ X.T
    # The mean of y y^T over these targets is C; the noise variance is known to be 1.
    y = np.sqrt(n) * np.linalg.cholesky(C) / np.sqrt(rows.weight)[:, None]
    rows = replace(rows, y=y, y_shift=np.zeros(n))
    if form == "gram":
        trainer = MomentTrainer(rows, [TrainingSet(train, [], None)], RowMoments(rows))
        evidence = MomentEvidence(trainer.train, 1.0)
        found = 2.0 * evidence.at(log_v[None]).normal[0]

        def slope(x):
            return evidence.at(x[None]).grad[0]

    else:
        evidence = KernelEvidence(KernelSet(KernelRows.of(rows), train), 1.0)
        point = evidence.point(np.exp(log_v))
        found = point.hessian(np.eye(p))
        assert_allclose(np.diag(found), point.diagonal, rtol=1e-8)

        def slope(x):
            return evidence.point(np.exp(x)).grad

    expected = differences(slope, log_v, 1e-3)
    assert_allclose(found, expected, atol=1e-7 * abs(expected).max())
