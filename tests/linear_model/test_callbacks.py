"""Callbacks of scikit-learn 1.9 on every estimator."""

import io
import pickle
import threading
import warnings
from contextlib import redirect_stdout

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelGammaCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
    RowBlocks,
)
from skbilevel.solvers import LBFGSB, SABA, Implicit, Nested
from skbilevel.solvers.inner import NewtonCholesky

callback = pytest.importorskip("sklearn.callback", reason="they came with 1.9")

ESTIMATORS = [
    BilevelRidgeCV,
    BilevelLassoCV,
    BilevelRidgeClassifierCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelGammaCV,
    BilevelTweedieCV,
]
SEARCHES = [{"hyperpenalty": None, "cv": 3, "tol": 1e-6, "max_iter": 6}, {"cv": 3}]


class Recorder:
    """Keeps what it is told; `stop` says after which end of a step to stop."""

    def __init__(self, stop=lambda names: False):
        self.stop, self.events = stop, []

    def setup(self, estimator, context):
        """Note it."""
        self.events.append(("setup", context.task_name))

    def teardown(self, estimator, context):
        """Note it."""
        self.events.append(("teardown", context.task_name))

    def on_fit_task_begin(self, estimator, context):
        """Note it."""
        self.events.append(("begin", context.task_name))

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Note it; stop where one should."""
        self.events.append(("end", context.task_name))
        self.last = fitted_estimator if context.parent else None
        if self.last is None:
            return False
        self.model = fitted_estimator
        return self.stop(self.names("end"))

    def names(self, event):
        """Tasks of one kind of event."""
        return [name for kind, name in self.events if kind == event]


class EarlyStopping:
    """What a third party would write: no progress on rows of its own."""

    def __init__(self, X, y, patience):
        self.X, self.y, self.patience = X, y, patience

    def setup(self, estimator, context):
        """Begin anew."""
        self.scores = []

    def teardown(self, estimator, context):
        """Nothing to clean up."""

    def on_fit_task_begin(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Stop where the best score is old."""
        if fitted_estimator is None or context.max_subtasks != 0:
            return False
        self.scores.append(fitted_estimator.score(self.X, self.y))
        return len(self.scores) - int(np.argmax(self.scores)) > self.patience


def data(estimator, n=90):
    """Rows that suit the estimator."""
    X, y = make_regression(n, 5, n_informative=2, noise=30.0, random_state=0)
    if estimator is BilevelRidgeCV:
        return X, y
    if estimator in (BilevelRidgeClassifierCV, BilevelLogisticCV):
        classes = {"n_informative": 3, "n_redundant": 0, "n_classes": 3}
        return make_classification(n, 5, **classes, flip_y=0.1, random_state=0)
    return X, np.exp(y / np.abs(y).max()) + 0.1


def fitted(model, X, y, **params):
    """Fit; few iterations are no failure here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(X, y, **params)


@pytest.mark.parametrize("params", SEARCHES, ids=["criterion", "guard"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_tasks_and_results(estimator, params):
    """Every task ends; a callback that does nothing changes nothing."""
    X, y = data(estimator)
    recorder = Recorder()
    model = estimator(**params).set_callbacks(recorder)
    fitted(model, X, y)
    plain = fitted(estimator(**params), X, y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    np.testing.assert_array_equal(model.alpha_, plain.alpha_)
    names = recorder.names("end")
    assert len(recorder.names("begin")) == len(names)
    assert recorder.names("setup") == recorder.names("teardown") == ["fit"]
    assert names[-1] == "fit"
    assert names[-2] == "step"  # begun, but not done
    first = "start" if "hyperpenalty" in params else "shared"
    last = "iteration" if "hyperpenalty" in params else "training set"
    assert names[0] == first
    assert names[-3] == last
    # The model that the last step shows is the model of the fit.
    np.testing.assert_allclose(recorder.model.coef_, model.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(recorder.model.predict(X), model.predict(X), rtol=1e-5)
    assert not hasattr(model, "_callback_fit_ctx")


@pytest.mark.parametrize("params", SEARCHES, ids=["criterion", "guard"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_stop_at_a_step(estimator, params):
    """The model is the one that the callback saw; one more step is never made."""
    X, y = data(estimator)
    recorder = Recorder(lambda names: len(names) == 3)
    model = estimator(**params).set_callbacks(recorder)
    fitted(model, X, y)
    assert len(recorder.names("end")) == 4  # with that of the fit
    assert len(recorder.names("begin")) == 4
    np.testing.assert_allclose(recorder.model.coef_, model.coef_, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(recorder.model.predict(X), model.predict(X), rtol=1e-5)
    if "hyperpenalty" in params:
        assert model.n_iter_ == 2
        full = fitted(estimator(**params), X, y)
        assert full.n_iter_ > 2 or full.alpha_.min() == full.alpha_.max()
    assert np.isfinite(model.best_score_) == ("hyperpenalty" in params) or (
        estimator in (BilevelRidgeCV, BilevelRidgeClassifierCV)
    )


@pytest.mark.parametrize("estimator", [BilevelRidgeCV, BilevelLogisticCV])
def test_first_step_is_the_shared_strength(estimator):
    """That is what a fit has soonest, with and without the guard."""
    X, y = data(estimator)
    for params in SEARCHES:
        recorder = Recorder(lambda names: True)
        model = estimator(**params).set_callbacks(recorder).fit(X, y)
        np.testing.assert_allclose(model.alpha_, model.alpha_[0], rtol=1e-10)
        assert model.alpha_[0] > 0
        assert len(recorder.names("end")) == 2


def test_guard_chooses_by_the_folds_that_are_done():
    """Scores and fold models are those of the folds before the stop."""
    X, y = data(BilevelLogisticCV)
    done = 3
    recorder = Recorder(lambda names: names.count("training set") == 1 + done)
    model = BilevelLogisticCV(cv=5, scoring="accuracy").set_callbacks(recorder)
    model.fit(X, y)
    whole = BilevelLogisticCV(cv=5, scoring="accuracy").fit(X, y)
    assert recorder.names("end").count("training set") == 1 + done
    assert np.isfinite(model.hyperpenalty_["score"]).all()
    assert 0.3 < model.best_score_ < 1.0
    assert model.hyperpenalty_["family"].tolist() == (
        whole.hyperpenalty_["family"].tolist()
    )
    assert not np.allclose(model.hyperpenalty_["score"], whole.hyperpenalty_["score"])


def test_guard_before_a_fold_is_done():
    """No nested score exists; a scorer is not asked."""
    X, y = data(BilevelLogisticCV)
    model = BilevelLogisticCV(scoring="accuracy")
    model.set_callbacks(Recorder(lambda names: True)).fit(X, y)
    assert np.isnan(model.best_score_)
    assert model.hyperpenalty_["weight"].tolist() == [1.0]
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("params", SEARCHES, ids=["criterion", "guard"])
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_scoring_monitor(estimator, params):
    """Scores of every step and of the fit on the training data."""
    X, y = data(estimator)
    name = "accuracy" if is_classifier(estimator()) else "r2"
    monitor = callback.ScoringMonitor(scoring=name)
    model = fitted(
        estimator(**params).set_callbacks(monitor),
        X,
        y,
        sample_weight=np.linspace(0.5, 1.5, len(y)),
    )
    log = monitor.get_logs().data
    measure = accuracy_score if name == "accuracy" else r2_score
    weight = np.linspace(0.5, 1.5, len(y))
    expected = measure(y, model.predict(X), sample_weight=weight)
    scores = [row[name] for row in log]
    assert log[0]["task_name"] == "fit"
    assert scores[0] == pytest.approx(expected)
    assert scores[-1] == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(scores).all()
    assert len(log) > 3


def test_scoring_monitor_with_names_and_offset():
    """Frames keep their names; exposure reaches a score that takes it."""
    pandas = pytest.importorskip("pandas")
    X, y = data(BilevelPoissonCV)
    frame = pandas.DataFrame(X, columns=list("abcde"))
    monitor = callback.ScoringMonitor(scoring={"score": BilevelPoissonCV.score})
    offset = np.linspace(0.0, 1.0, len(y))
    model = BilevelPoissonCV(**SEARCHES[0]).set_callbacks(monitor)
    fitted(model, frame, y, offset=offset)
    log = monitor.get_logs().data
    assert log[0]["score"] == pytest.approx(model.score(frame, y, offset=offset))


@pytest.mark.parametrize("params", SEARCHES, ids=["criterion", "guard"])
def test_pipeline(params):
    """Progress bars propagate; a callback of the last step stops its loop only."""
    pytest.importorskip("rich")
    X, y = data(BilevelRidgeCV)
    stopping = Recorder(lambda names: len(names) == 2)
    last = BilevelRidgeCV(**params).set_callbacks(stopping)
    pipe = make_pipeline(StandardScaler(), last)
    pipe.set_callbacks(callback.ProgressBar(max_propagation_depth=None))
    screen = io.StringIO()
    with redirect_stdout(screen):
        fitted(pipe, X, y)
    assert "BilevelRidgeCV - fit" in screen.getvalue()
    assert "100%" in screen.getvalue()
    assert len(stopping.names("end")) == 3
    np.testing.assert_allclose(
        stopping.model.coef_, pipe[-1].coef_, rtol=1e-5, atol=1e-8
    )
    assert pipe.score(X, y) > 0.3


@pytest.mark.parametrize("case", ["estimator", "targets", "search"])
def test_progress_bar(case):
    """One line for the fit, one below it for each target, and it comes to its end."""
    pytest.importorskip("rich")
    X, y = data(BilevelRidgeCV)
    model = BilevelRidgeCV(cv=3, alpha_per_target=case == "targets", n_jobs=2)
    if case == "search":
        model = BilevelSearchCV(make_pipeline(StandardScaler(), model))
    screen = io.StringIO()
    with redirect_stdout(screen):
        Y = np.column_stack([y, -y + X[:, 0]]) if case == "targets" else y
        fitted(model.set_callbacks(callback.ProgressBar()), X, Y)
    lines = screen.getvalue().splitlines()
    assert sum("target #" in line for line in lines) == 2 * (case == "targets")
    assert any("- fit" in line for line in lines)
    assert all("100%" in line for line in lines if line.strip())


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_several_targets(n_jobs):
    """A task for each target; the model exists when all targets have strengths."""
    X, y = data(BilevelRidgeCV)
    Y = np.column_stack([y, np.roll(y, 1), y + X[:, 0]])
    recorder = Recorder()
    params = {**SEARCHES[0], "alpha_per_target": True, "n_jobs": n_jobs}
    model = BilevelRidgeCV(**params).set_callbacks(recorder)
    fitted(model, X, Y)
    plain = fitted(BilevelRidgeCV(**params), X, Y)
    np.testing.assert_array_equal(model.coef_, plain.coef_)
    assert recorder.names("end").count("target") == 3
    assert recorder.names("end").count("start") == 3
    assert len(recorder.names("begin")) == len(recorder.names("end"))
    np.testing.assert_allclose(recorder.model.coef_, model.coef_, rtol=1e-5)


def test_who_is_told_last_is_told_of_the_latest_model():
    """Also where a thread is slow between a model and the callback it is for."""
    X, y = data(BilevelRidgeCV)
    Y = np.column_stack([y, y + X[:, 0]])
    asked, other_ends = threading.Event(), threading.Event()
    inside = []

    class Slow(Recorder):
        """Two parts of a fit that end at the same time."""

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
            inside.append(1)
            assert len(inside) == 1  # nobody is told two things at once
            if context.task_name == "target" and not asked.is_set():
                asked.set()
                other_ends.wait(0.5)
            elif context.task_name == "target":
                other_ends.set()
            stop = super().on_fit_task_end(
                estimator, context, fitted_estimator=fitted_estimator
            )
            inside.pop()
            return stop

    params = {**SEARCHES[0], "alpha_per_target": True, "n_jobs": 2}
    slow = Slow()
    model = fitted(BilevelRidgeCV(**params).set_callbacks(slow), X, Y)
    np.testing.assert_allclose(slow.model.coef_, model.coef_, rtol=1e-10)


def test_stop_of_one_target_leaves_the_others():
    """The level that ends is that of the iterations."""
    X, y = data(BilevelRidgeCV)
    Y = np.column_stack([y, np.roll(y, 1)])

    class Second(Recorder):
        def on_fit_task_end(self, estimator, context):
            super().on_fit_task_end(estimator, context)
            return context.parent is not None and context.parent.task_id == 1

    params = {**SEARCHES[0], "alpha_per_target": True}
    model = BilevelRidgeCV(**params).set_callbacks(Second())
    fitted(model, X, Y)
    plain = fitted(BilevelRidgeCV(**params), X, Y)
    np.testing.assert_array_equal(model.alpha_[0], plain.alpha_[0])
    np.testing.assert_allclose(model.alpha_[1], model.alpha_[1, 0])


def test_early_stopping_of_a_third_party():
    """The score on rows of its own decides, whatever the search thinks."""
    X, y = make_regression(60, 40, n_informative=3, noise=60.0, random_state=0)
    X, X_new, y, y_new = X[:40], X[40:], y[:40], y[40:]
    model = BilevelRidgeCV(hyperpenalty=None, cv=3, tol=1e-6)
    plain = fitted(clone(model), X, y)
    stopping = EarlyStopping(X_new, y_new, patience=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a stop that was asked for is no failure
        model.set_callbacks(stopping).fit(X, y)
    assert model.n_iter_ < plain.n_iter_
    assert len(stopping.scores) == 1 + model.n_iter_
    assert stopping.scores[-1] == pytest.approx(model.score(X_new, y_new))


def test_published_algorithm_stops():
    """Values on its way are rough: what is shown is solved accurately."""
    X, y = data(BilevelRidgeCV)
    recorder = Recorder(lambda names: len(names) == 4)
    solver = SABA(max_passes=200.0, record_every=5.0)
    params = {"hyperpenalty": None, "solver": solver, "tol": 1e-9}
    model = BilevelRidgeCV(**params).set_callbacks(recorder)
    fitted(model, X, y)
    assert len(recorder.names("end")) == 5
    np.testing.assert_allclose(
        recorder.model.predict(X), model.predict(X), rtol=1e-3, atol=0.1
    )


@pytest.mark.parametrize("estimator", [BilevelRidgeCV, BilevelLogisticCV])
def test_large_regimes(estimator, large_sparse):
    """Matrix-free guards tell their steps, and end when they are asked to."""
    X, y, labels = large_sparse
    y = labels if estimator is BilevelLogisticCV else y
    recorder = Recorder()
    model = estimator().set_callbacks(recorder)
    fitted(model, X, y)
    np.testing.assert_allclose(recorder.model.coef_, model.coef_, rtol=1e-2, atol=1e-2)
    n_steps = len(recorder.names("end")) - 2
    for k in (1, n_steps - 1):
        stopping = Recorder(lambda names, k=k: len(names) == k)
        stopped = estimator().set_callbacks(stopping)
        fitted(stopped, X, y)
        assert len(stopping.names("end")) == k + 1
        np.testing.assert_allclose(stopping.model.coef_, stopped.coef_, rtol=1e-5)
        assert stopped.score(X, y) > 0.3


def test_nothing_is_made_that_nobody_asks_for():
    """Results of steps cost solves: without callbacks there is one result."""

    class Deaf(Recorder):
        def on_fit_task_end(self, estimator, context):
            self.events.append(("end", context.task_name))

    class Counted(NewtonCholesky):
        def solve(self, *args, **kwargs):
            solves[-1] += 1
            return super().solve(*args, **kwargs)

    solves, deaf = [], Deaf()
    X, y = data(BilevelLogisticCV)
    solver = Nested(Counted(), Implicit(), LBFGSB())
    for callbacks in ([], [deaf], [Recorder()]):
        solves.append(0)
        model = BilevelLogisticCV(**SEARCHES[0], solver=solver)
        fitted(model.set_callbacks(*callbacks), X, y)
    assert len(deaf.names("end")) > 3
    assert solves[0] == solves[1] < solves[2]


def test_clones_share_callbacks():
    """As scikit-learn has it: also inside of a search that knows none."""
    X, y = data(BilevelRidgeCV)
    recorder = Recorder()
    model = BilevelRidgeCV(**SEARCHES[0]).set_callbacks(recorder)
    fitted(GridSearchCV(model, {"fit_intercept": [True, False]}, cv=2), X, y)
    assert recorder.names("setup").count("fit") == 5


@pytest.mark.parametrize("params", SEARCHES, ids=["criterion", "guard"])
def test_inside_a_search_over_a_pipeline(params):
    """Callbacks of the last step see its search, and may stop it."""
    X, y = data(BilevelRidgeCV)
    recorder = Recorder(lambda names: len(names) == 2)
    last = BilevelRidgeCV(**params).set_callbacks(recorder)
    search = BilevelSearchCV(make_pipeline(StandardScaler(), last))
    fitted(search, X, y)
    assert recorder.names("setup") == recorder.names("teardown") == ["fit"]
    assert len(recorder.names("end")) == 3
    tuned = search.best_estimator_[-1]
    np.testing.assert_allclose(recorder.model.coef_, tuned.coef_, rtol=1e-5, atol=1e-8)
    assert not hasattr(tuned, "_callback_fit_ctx")


@pytest.mark.parametrize("scoring", [None, ["accuracy", "neg_log_loss"]])
def test_search_over_a_pipeline_before_a_fold_is_done(scoring):
    """There is a model, and no score."""
    X, y = data(BilevelLogisticCV)
    last = BilevelLogisticCV().set_callbacks(Recorder(lambda names: True))
    refit = True if scoring is None else "accuracy"
    chain = make_pipeline(StandardScaler(), last)
    search = BilevelSearchCV(chain, scoring=scoring, refit=refit).fit(X, y)
    assert np.isnan(search.best_score_)
    assert search.predict(X).shape == y.shape


def test_a_callback_that_fails_is_torn_down():
    """Its error goes to the user; nothing is left behind."""

    class Failing(Recorder):
        def on_fit_task_end(self, estimator, context):
            raise RuntimeError("full disk")

    X, y = data(BilevelRidgeCV)
    model = BilevelRidgeCV().set_callbacks(failing := Failing())
    with pytest.raises(RuntimeError, match="full disk"):
        model.fit(X, y)
    assert failing.names("teardown") == ["fit"]
    assert not hasattr(model, "coef_")
    again = fitted(model.set_callbacks(), X, y)
    assert pickle.loads(pickle.dumps(again)).coef_.shape == (5,)


@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
def test_constant_targets_have_no_steps():
    """Nothing is searched; the fit is one task."""
    X, _ = data(BilevelPoissonCV)
    recorder = Recorder()
    fitted(BilevelPoissonCV().set_callbacks(recorder), X, np.zeros(len(X)))
    assert recorder.names("end") == ["fit"]


@pytest.mark.parametrize("estimator", [BilevelRidgeCV, BilevelRidgeClassifierCV])
def test_blocks_of_rows_are_tasks(estimator):
    X, y = data(estimator)
    blocks = RowBlocks.from_arrays(X, y, block_rows=40)
    # There is no model yet that a wish to stop could end with.
    recorder = Recorder(stop=lambda names: names[-1] == "block")
    model = estimator().set_callbacks(recorder)
    fitted(model, blocks, None)
    np.testing.assert_array_equal(model.coef_, fitted(estimator(), blocks, None).coef_)
    names = recorder.names("end")
    assert names[:3] == ["block"] * 3
    assert names[3:5] == ["shared", "evidence"]
    assert recorder.names("begin").count("fit") == names.count("fit") == 1
    several = BilevelRidgeCV(alpha_per_target=True).set_callbacks(Recorder())
    fitted(several, RowBlocks.from_arrays(X, np.c_[X[:, 0], X[:, 1]]), None)
    assert several.alpha_.shape == (2, 5)


def test_passes_over_all_rows_are_tasks():
    X, y = data(BilevelPoissonCV)
    blocks = RowBlocks.from_arrays(X, y, tuning_rows=60)
    recorder = Recorder()
    model = BilevelPoissonCV().set_callbacks(recorder)
    fitted(model, blocks, None)
    plain = fitted(BilevelPoissonCV(), blocks, None)
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-10)
    names = recorder.names("end")
    assert names[0] == "part"
    assert names.count("pass") >= 2
    assert names[-1] == "fit"
    # Of every pass there is a model: that of the part.
    assert recorder.model.coef_.shape == (5,)
