"""KeyboardInterrupt: the best strengths so far are published, and the program stops."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)
from skbilevel.solvers import LBFGSB, SABA, Implicit, Nested, ProjectedGradient
from skbilevel.solvers.inner import Cholesky, NewtonCholesky

X, Y = make_regression(90, 6, n_informative=3, noise=30.0, random_state=0)
WORDS = {"hyperpenalty": None, "cv": 3, "tol": 1e-6}


class Calls:
    """The user presses Ctrl-C in the n-th inner solve, and in those that follow it."""

    def __init__(self, at, times=1):
        self.left, self.times = at, times

    def solve(self, *args, **kwargs):
        """Count down."""
        self.left -= 1
        if -self.times < self.left <= 0:
            raise KeyboardInterrupt
        return super().solve(*args, **kwargs)


class Factors(Calls, Cholesky):
    """Of ridge."""


class NewtonSteps(Calls, NewtonCholesky):
    """Of other losses."""


def solved_by(inner):
    """The default search, with an inner solver of ours."""
    return Nested(inner, Implicit(), LBFGSB())


def ridge_of(model, X, y):
    """Ridge at the published strengths."""
    scale = np.sqrt(model.alpha_)
    return Ridge(alpha=1.0).fit(X / scale, y).coef_ / scale


def validation_loss(model):
    """What the search minimizes, at the strengths of the model."""
    there = BilevelRidgeCV(**WORDS, max_iter=1, alpha_init=model.alpha_)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return there.fit(X, Y).history_["value"][0]


@pytest.mark.parametrize("n_calls", [12, 14, 16])
def test_inside_an_evaluation(n_calls, capsys):
    """The strengths are the best that the search has seen."""
    solver = solved_by(Factors(n_calls))
    model = BilevelRidgeCV(**WORDS, verbose=1, solver=solver)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert solver.inner.left == 0
    np.testing.assert_allclose(model.coef_, ridge_of(model, X, Y), rtol=1e-6)
    steps = capsys.readouterr().out.count("iteration")
    assert model.n_iter_ == steps > 1
    assert validation_loss(model) == pytest.approx(-model.best_score_)
    assert model.history_["value"].min() == pytest.approx(-model.best_score_)
    assert model.score(X, Y) > 0.5
    # The next fit knows nothing of it.
    whole = BilevelRidgeCV(**WORDS).fit(X, Y)
    np.testing.assert_array_equal(
        model.set_params(solver="auto").fit(X, Y).alpha_, whole.alpha_
    )


def test_best_is_not_the_last(interrupted):
    """Steps that are too long go up: the strengths before them are published."""
    outer = ProjectedGradient(step=1e5, accuracy=(1e-8, 1e-8))
    solver = Nested(Cholesky(), Implicit(), outer)
    model = BilevelRidgeCV(**WORDS, solver=solver, verbose=1)
    with interrupted(4):
        model.fit(X, Y)
    values = model.history_["value"]
    assert len(values) == 3
    assert values[-1] > values.min() == pytest.approx(-model.best_score_)
    assert model.n_iter_ == 3


@pytest.mark.parametrize("solver", [SABA(max_passes=300.0, record_every=5.0), "hoag"])
def test_published_algorithms(solver, interrupted):
    """Never worse than the start, measured by accurate solves."""
    model = BilevelRidgeCV(**WORDS, solver=solver, verbose=1)
    with interrupted(5):
        model.fit(X, Y)
    np.testing.assert_allclose(model.coef_, ridge_of(model, X, Y), rtol=1e-5)
    shared = BilevelRidgeCV(**WORDS, feature_groups="shared").fit(X, Y)
    assert model.best_score_ > shared.best_score_


@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelPoissonCV])
def test_inside_an_inner_solve(estimator):
    """Newton's method half way."""
    y = (Y > 0).astype(int)
    solver = solved_by(NewtonSteps(25))
    model = estimator(**WORDS, solver=solver)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert solver.inner.left <= 0
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) > 0.4


@pytest.mark.parametrize("n_folds", [0, 1, 3])
def test_guard(n_folds, interrupted):
    """The folds that are done decide; before them it is the shared strength."""
    X, y = make_classification(150, 5, n_informative=3, n_redundant=0, random_state=0)
    model = BilevelLogisticCV(cv=5, verbose=1)
    with interrupted(n_folds + 1, "training sets"):
        model.fit(X, y)
    assert model.score(X, y) > 0.65
    assert np.isnan(model.best_score_) == (n_folds == 0)
    if not n_folds:
        np.testing.assert_allclose(model.alpha_, model.alpha_[0])


def test_guard_before_it_publishes(interrupted):
    """Choosing and publishing is done all the same."""
    model = BilevelRidgeCV(verbose=1)
    with interrupted(1, "11 of 11"):
        model.fit(X, Y)
    whole = BilevelRidgeCV().fit(X, Y)
    np.testing.assert_array_equal(model.alpha_, whole.alpha_)
    assert model.best_score_ == whole.best_score_


@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelRidgeCV])
def test_large_guard(estimator, large_sparse, interrupted):
    """Strengths of the first fold, moved to the full data."""
    X, y, labels = large_sparse
    y = labels if estimator is BilevelLogisticCV else y
    whole, model = estimator().fit(X, y), estimator(verbose=1)
    for line in ("of 1 of", "of 2 of"):
        with interrupted(1, line):
            model.fit(X, y)
        assert model.score(X, y) > whole.score(X, y) - 0.03
        assert np.isfinite(model.best_score_)
        used = np.isfinite(model.alpha_) & np.isfinite(whole.alpha_)
        ratio = np.median(model.alpha_[used] / whole.alpha_[used])
        assert 0.1 < ratio < 10.0
    with interrupted(1):
        model.fit(X, y)
    np.testing.assert_allclose(model.alpha_, model.alpha_[0], rtol=1e-6)
    assert model.score(X, y) > whole.score(X, y) - 0.05
    assert np.isnan(model.best_score_)


class Once(KFold):
    """Splits, or makes metadata, but for the first time, when it is interrupted."""

    def __init__(self):
        super().__init__(3)
        self.calls = 0

    def __call__(self, X, *args):
        """Metadata."""
        self.calls += 1
        if self.calls == 1:
            raise KeyboardInterrupt
        return np.ones((X.shape[1], 1))

    def split(self, X, y=None, groups=None):
        """Folds."""
        self(X)
        return super().split(X, y, groups)


@pytest.mark.parametrize(
    "params", [{"cv": Once()}, {"hyperpenalty": None, "feature_metadata": Once()}]
)
def test_before_there_is_anything(params):
    """Without a strength there is no model."""
    model = BilevelRidgeCV(**params)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


TARGETS = np.column_stack([Y, np.roll(Y, 1) + X[:, 0] * 50, Y + X[:, 1] * 80])


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_several_targets(n_jobs, hyperpenalty, interrupted):
    """Targets that are done stay; the others get their shared strengths."""
    params = {"hyperpenalty": hyperpenalty, "alpha_per_target": True, "tol": 1e-4}
    whole = BilevelRidgeCV(**params).fit(X, TARGETS)
    model = BilevelRidgeCV(**params, n_jobs=n_jobs, verbose=1)
    with interrupted(1, "target 1"):
        model.fit(X, TARGETS)
    assert model.predict(X).shape == TARGETS.shape
    if n_jobs == 1:
        np.testing.assert_array_equal(model.alpha_[0], whole.alpha_[0])
        for k in (1, 2):
            assert model.alpha_[k].max() < 1.001 * model.alpha_[k].min()
            assert np.isfinite(model.coef_[k]).all()


def test_before_the_first_step_of_a_target():
    """It gets its shared strength, as those behind it do."""
    first = solved_by(Factors(0))
    BilevelRidgeCV(**WORDS, solver=first).fit(X, TARGETS[:, 0])
    n_solves = -first.inner.left
    whole = BilevelRidgeCV(**WORDS, alpha_per_target=True, solver=first)
    whole.fit(X, TARGETS)
    model = clone(whole).set_params(solver=solved_by(Factors(n_solves + 1)))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, TARGETS)
    np.testing.assert_array_equal(model.alpha_[0], whole.alpha_[0])
    for alpha in model.alpha_[1:]:
        np.testing.assert_allclose(alpha, alpha[0], rtol=1e-3)


def test_twice():
    """A user who insists is not kept waiting."""
    solver = solved_by(Factors(14, times=2))
    model = BilevelRidgeCV(**WORDS, alpha_per_target=True, solver=solver)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, TARGETS)
    assert solver.inner.left == -1
    assert not hasattr(model, "coef_")


SCRIPT = """
import sys
import numpy as np
from sklearn.datasets import make_regression
from skbilevel import BilevelRidgeCV, BilevelLogisticCV

X, y = make_regression(400, 300, n_informative=9, noise=9.0, random_state=0)
X = np.hstack([X, X**2])
guard = sys.argv[1] == "guard"
search = dict(hyperpenalty=None, tol=1e-12, max_iter=10**6)
words = {} if guard else search
estimator = BilevelLogisticCV if guard else BilevelRidgeCV
model = estimator(verbose=1, **words)
try:
    model.fit(X, (y > 0).astype(float))
    print("the fit ended by itself")
except KeyboardInterrupt:
    print("score", model.score(X, (y > 0).astype(float)), flush=True)
    raise
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are those of POSIX")
@pytest.mark.parametrize("mode", ["guard", "criterion"])
def test_signal(mode):
    """Ctrl-C in a program of its own."""
    with subprocess.Popen(
        [sys.executable, "-u", "-c", SCRIPT, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            lines = [run.stdout.readline() for _ in range(4)]
            run.send_signal(signal.SIGINT)
            rest, errors = run.communicate(timeout=120)
        finally:
            run.kill()
    assert all(line.startswith("[skbilevel]") for line in lines)
    score = [line for line in rest.splitlines() if line.startswith("score")]
    assert score, rest + errors
    assert float(score[0].split()[1]) > 0.1
    assert "KeyboardInterrupt" in errors
    assert run.returncode not in (0, None)


def test_large_guard_whose_folds_have_other_columns(interrupted):
    """Points of paths that a fold found go to the columns of all rows by name."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{k}" for k in range(900)])
    docs = [" ".join(rng.choice(words, 12)) for _ in range(700)]
    y = np.array([("w2" in doc.split()) + 0.1 * rng.standard_normal() for doc in docs])
    pipeline = make_pipeline(TfidfVectorizer(min_df=2), BilevelRidgeCV())
    search = BilevelSearchCV(pipeline, verbose=1)
    with interrupted(1, "10 of 10 folds"):
        search.fit(docs, y)
    model = search.best_estimator_[-1]
    assert model.coef_.shape[-1] > 500
    assert np.isfinite(model.coef_).all()
    assert "elastic_net" in model.hyperpenalty_["family"]
