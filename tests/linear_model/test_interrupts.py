"""KeyboardInterrupt: the best strengths so far are published, and the program stops."""

import os
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from skbilevel import (
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeCV,
    BilevelSearchCV,
)
from skbilevel.linear_model import _guarded
from skbilevel.linear_model._following import FollowedPart
from skbilevel.model_selection import (
    _candidate_average,
    _guard,
    _large_tuning,
    _paths,
)
from skbilevel.solvers import SABA, Implicit, Nested, ProjectedGradient
from skbilevel.solvers._nested import NestedRun
from skbilevel.solvers.inner import Cholesky, NewtonCholesky

X, Y = make_regression(90, 6, n_informative=3, noise=30.0, random_state=0)
WORDS = {"hyperpenalty": None, "cv": 3, "tol": 1e-6}


class Interrupt:
    """Wraps a function whose n-th call the user interrupts."""

    def __init__(self, function, at):
        self.function, self.left = function, at
        self.calls = 0

    def __get__(self, instance, owner):
        """A method of its owner."""
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args, **kwargs):
        """Count down."""
        self.calls += 1
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.function(*args, **kwargs)


def interrupted(model, *data, **params):
    """Fit a model that is interrupted, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(KeyboardInterrupt):
            model.fit(*data, **params)
    return model


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
def test_inside_an_evaluation(n_calls, monkeypatch):
    """The strengths are the best that the search has seen."""
    seen = []
    real = FollowedPart.step

    def step(self, told):
        if told.info is not None:
            seen.append(told.info.value)
        return real(self, told)

    monkeypatch.setattr(FollowedPart, "step", step)
    interrupt = Interrupt(NestedRun.__call__, n_calls)
    monkeypatch.setattr(NestedRun, "__call__", interrupt)
    model = interrupted(BilevelRidgeCV(**WORDS, verbose=0), X, Y)
    assert interrupt.calls == n_calls
    monkeypatch.undo()
    np.testing.assert_allclose(model.coef_, ridge_of(model, X, Y), rtol=1e-6)
    assert model.n_iter_ == max(1, len(seen))
    assert seen
    assert validation_loss(model) == pytest.approx(-model.best_score_)
    assert model.history_["value"].min() == pytest.approx(-model.best_score_)
    assert model.score(X, Y) > 0.5
    # The next fit knows nothing of it.
    whole = BilevelRidgeCV(**WORDS).fit(X, Y)
    np.testing.assert_array_equal(model.fit(X, Y).alpha_, whole.alpha_)


def test_best_is_not_the_last(monkeypatch):
    """Steps that are too long go up: the strengths before them are published."""
    outer = ProjectedGradient(step=1e4, accuracy=(1e-8, 1e-8))
    solver = Nested(Cholesky(), Implicit(), outer)
    values = []
    real = FollowedPart.step

    def step(self, told):
        if told.info is not None:
            values.append(told.info.value)
            if len(values) == 4:
                raise KeyboardInterrupt
        return real(self, told)

    monkeypatch.setattr(FollowedPart, "step", step)
    model = interrupted(BilevelRidgeCV(**WORDS, solver=solver), X, Y)
    best = int(np.argmin(values[:3]))
    assert model.history_["value"].argmin() == best
    assert model.history_["value"][best] == pytest.approx(-model.best_score_)


def test_inside_a_step(monkeypatch):
    """A printing that is interrupted, or a callback that raises, is no different."""
    monkeypatch.setattr(FollowedPart, "_print", Interrupt(FollowedPart._print, 4))
    model = interrupted(BilevelRidgeCV(**WORDS, verbose=1), X, Y)
    assert model.n_iter_ == 3
    assert model.score(X, Y) > 0.5


@pytest.mark.parametrize("solver", [SABA(max_passes=300.0, record_every=5.0), "hoag"])
def test_published_algorithms(solver, monkeypatch):
    """Never worse than the start, measured by accurate solves."""
    real, steps = FollowedPart.step, []

    def step(self, told):
        steps.append(told.name)
        if len(steps) == 5:
            raise KeyboardInterrupt
        return real(self, told)

    monkeypatch.setattr(FollowedPart, "step", step)
    model = interrupted(BilevelRidgeCV(**WORDS, solver=solver), X, Y)
    monkeypatch.undo()
    np.testing.assert_allclose(model.coef_, ridge_of(model, X, Y), rtol=1e-5)
    shared = BilevelRidgeCV(**WORDS, feature_groups="shared").fit(X, Y)
    assert model.best_score_ >= shared.best_score_ * (1 + 1e-6)


@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelPoissonCV])
def test_inside_an_inner_solve(estimator, monkeypatch):
    """Newton's method half way."""
    y = (Y > 0).astype(int)
    interrupt = Interrupt(NewtonCholesky.solve, 25)
    monkeypatch.setattr(NewtonCholesky, "solve", interrupt)
    model = interrupted(estimator(**WORDS), X, y)
    assert interrupt.left == 0 or interrupt.calls > 25
    assert np.isfinite(model.coef_).all()
    assert model.score(X, y) > 0.4


@pytest.mark.parametrize("at", [2, 4, 6])
def test_guard(at, monkeypatch):
    """The folds that are done decide; before them it is the shared strength."""
    X, y = make_classification(150, 5, n_informative=3, n_redundant=0, random_state=0)
    monkeypatch.setattr(_guard, "_candidates", Interrupt(_guard._candidates, at))
    model = interrupted(BilevelLogisticCV(cv=5), X, y)
    n_folds = at - 2
    assert model.score(X, y) > 0.65
    assert np.isnan(model.best_score_) == (n_folds == 0)
    if not n_folds:
        np.testing.assert_allclose(model.alpha_, model.alpha_[0])


def test_guard_inside_the_first_paths(monkeypatch):
    """The shared strength exists by then."""
    wide, target = make_regression(30, 60, n_informative=3, noise=9.0, random_state=0)
    monkeypatch.setattr(_paths, "half_path", Interrupt(_paths.half_path, 1))
    model = interrupted(BilevelRidgeCV(), wide, target)
    np.testing.assert_allclose(model.alpha_, model.alpha_[0])
    np.testing.assert_allclose(model.coef_, ridge_of(model, wide, target), rtol=1e-6)


def test_guard_while_it_publishes(monkeypatch):
    """Choosing and publishing is done again."""
    monkeypatch.setattr(
        _candidate_average, "_published", Interrupt(_candidate_average._published, 1)
    )
    model = interrupted(BilevelRidgeCV(), X, Y)
    monkeypatch.undo()
    whole = BilevelRidgeCV().fit(X, Y)
    np.testing.assert_array_equal(model.alpha_, whole.alpha_)
    assert model.best_score_ == whole.best_score_


@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelRidgeCV])
def test_large_guard(estimator, monkeypatch):
    """Strengths of the first fold, moved to the full data."""
    X, y = make_classification(300, 8, n_informative=3, random_state=0)
    for name in ("is_large_glm", "is_large_ridge"):
        monkeypatch.setattr(_guarded, name, lambda *args: True)
    whole = estimator().fit(X, y)
    tuning = _large_tuning.LargeTuning
    for name, at in (("fold", 2), ("full", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(tuning, name, Interrupt(getattr(tuning, name), at))
            model = interrupted(estimator(), X, y)
        assert model.score(X, y) > whole.score(X, y) - 0.03
        ratio = np.median(model.alpha_ / whole.alpha_)
        assert 0.1 < ratio < 10.0
    monkeypatch.setattr(tuning, "_deviations", Interrupt(tuning._deviations, 1))
    model = interrupted(estimator(), X, y)
    np.testing.assert_allclose(model.alpha_, model.alpha_[0], rtol=1e-6)
    assert model.score(X, y) > whole.score(X, y) - 0.05
    assert np.isnan(model.best_score_)


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
def test_before_there_is_anything(hyperpenalty, monkeypatch):
    """Without a strength there is no model."""
    monkeypatch.setattr(FollowedPart, "begin", Interrupt(FollowedPart.begin, 1))
    model = interrupted(BilevelRidgeCV(hyperpenalty=hyperpenalty), X, Y)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_several_targets(n_jobs, hyperpenalty, monkeypatch):
    """Targets that are done stay; the others get their shared strengths."""
    targets = np.column_stack([Y, np.roll(Y, 1) + X[:, 0] * 50, Y + X[:, 1] * 80])
    params = {"hyperpenalty": hyperpenalty, "alpha_per_target": True, "tol": 1e-4}
    whole = BilevelRidgeCV(**params).fit(X, targets)
    real, begun = FollowedPart.begin, []

    def begin(self, n_steps):
        begun.append(self._index)
        if self._index == 1 and begun.count(1) == 1:
            raise KeyboardInterrupt
        return real(self, n_steps)

    monkeypatch.setattr(FollowedPart, "begin", begin)
    model = BilevelRidgeCV(**params, n_jobs=n_jobs)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, targets)
    if n_jobs > 1 and not hasattr(model, "coef_"):
        return  # no target had a strength by then
    assert model.predict(X).shape == targets.shape
    if n_jobs == 1:
        np.testing.assert_array_equal(model.alpha_[0], whole.alpha_[0])
        for k in (1, 2):
            assert model.alpha_[k].max() < 1.001 * model.alpha_[k].min()
            assert np.isfinite(model.coef_[k]).all()


def test_twice(monkeypatch):
    """A user who insists is not kept waiting."""
    monkeypatch.setattr(FollowedPart, "_print", Interrupt(FollowedPart._print, 3))

    def impatient(self, parts):
        raise KeyboardInterrupt

    monkeypatch.setattr(BilevelRidgeCV, "_search_attributes", impatient)
    model = interrupted(BilevelRidgeCV(**WORDS, verbose=1), X, Y)
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


def test_large_guard_whose_folds_have_other_columns(monkeypatch):
    """Points of paths that a fold found go to the columns of all rows by name."""
    rng = np.random.default_rng(0)
    words = np.array([f"w{k}" for k in range(150)])
    docs = [" ".join(rng.choice(words, 12)) for _ in range(160)]
    y = np.array([("w2 " in doc) + 0.1 * rng.standard_normal() for doc in docs])
    monkeypatch.setattr(_guarded, "is_large_ridge", lambda *args: True)
    tuning = _large_tuning.LargeTuning
    monkeypatch.setattr(tuning, "full", Interrupt(tuning.full, 1))
    search = BilevelSearchCV(make_pipeline(TfidfVectorizer(min_df=2), BilevelRidgeCV()))
    model = interrupted(search, docs, y).best_estimator_[-1]
    assert np.isfinite(model.coef_).all()
    assert "elastic_net" in model.hyperpenalty_["family"]
