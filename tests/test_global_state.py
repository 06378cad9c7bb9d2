"""A fit moves nothing that the whole process shares, however fits overlap or end."""

import os
import random
import signal
import sys
import threading
import warnings

import joblib
import numpy as np
import pytest
import sklearn
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import ThreadpoolController, threadpool_info, threadpool_limits

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
)
from skbilevel._threads import quiet_descent
from skbilevel.solvers import ORACLE_SOLVERS

RNG = np.random.RandomState(0)
X = RNG.standard_normal((60, 4))
ETA = X[:, 0] + 0.5 * RNG.standard_normal(60)
WIDE = np.hstack([X, RNG.standard_normal((60, 130))])
SEVERAL = np.column_stack([ETA, np.roll(ETA, 1) + X[:, 1]])
TARGETS = {
    BilevelRidgeCV: ETA,
    BilevelRidgeClassifierCV: ETA > 0,
    BilevelLogisticCV: np.digitize(ETA, [-0.5, 0.5]),
    BilevelPoissonCV: np.round(np.exp(ETA)),
    BilevelGammaCV: np.exp(ETA),
    BilevelTweedieCV: np.exp(ETA),
    Ridge: ETA,
    RidgeClassifier: ETA > 0,
    LogisticRegression: ETA > 0,
    PoissonRegressor: np.round(np.exp(ETA)),
    GammaRegressor: np.exp(ETA),
}
OURS = [each for each in TARGETS if each.__name__.startswith("Bilevel")]
MODES = {
    "guard": {"cv": 3},
    "guard, shared": {"feature_groups": "shared", "cv": 3},
    "criterion": {"hyperpenalty": None, "n_jobs": 2, "max_iter": 5},
    "smooth": {"hyperpenalty": ("smooth", 0.1), "max_iter": 5},
    "loo": {"hyperpenalty": None, "cv": "loo", "max_iter": 5},
}


def cases():
    """Every estimator in every mode, with its data."""
    for make in OURS:
        for name, params in MODES.items():
            yield f"{make.__name__}-{name}", make(**params), X, TARGETS[make]
    for name in ORACLE_SOLVERS:
        given = {"hyperpenalty": None, "solver": name, "max_iter": 1, "cv": 2}
        yield f"solver-{name}", BilevelRidgeCV(**given), X, ETA
    given = {"hyperpenalty": None, "solver": "hoag", "max_iter": 1, "cv": 2}
    yield "solver-poisson", BilevelPoissonCV(**given), X, TARGETS[BilevelPoissonCV]
    yield "gcv", BilevelRidgeCV(hyperpenalty=None, cv="gcv"), X, ETA
    yield "wide", BilevelRidgeCV(cv=2), WIDE, ETA
    yield "wide classes", BilevelLogisticCV(cv=2), WIDE, ETA > 0
    for n_jobs in (1, 2):
        params = {"alpha_per_target": True, "n_jobs": n_jobs, "cv": 2}
        yield f"targets-{n_jobs}", BilevelRidgeCV(**params), X, SEVERAL
    for make, y in TARGETS.items():
        svd = TruncatedSVD(3, random_state=0)
        chain = make_pipeline(StandardScaler(), svd, make())
        yield f"search-{make.__name__}", BilevelSearchCV(chain, cv=2), X, y


CASES = list(cases())


def shared_state():
    """What a process has one of."""
    kind, keys, place, *rest = np.random.get_state()  # noqa: NPY002
    return {
        "numpy.random": (kind, keys.tolist(), place, *rest),
        "random": random.getstate(),
        "filters": list(warnings.filters),
        "list of filters": id(warnings.filters),
        "errors of NumPy": np.geterr(),
        "printing": np.get_printoptions(),
        "threads": [(each["filepath"], each["num_threads"]) for each in pools()],
        "scikit-learn": sklearn.get_config(),
        "environment": dict(os.environ),
        "interrupt": signal.getsignal(signal.SIGINT),
    }


def pools():
    """Thread pools of linear algebra."""
    return [each for each in threadpool_info() if each["user_api"] == "blas"]


def n_threads():
    """How many threads they have."""
    return {each["num_threads"] for each in pools()}


@pytest.fixture
def two_threads():
    """BLAS with two threads, which a fit has to give back."""
    limits = threadpool_limits(2, user_api="blas")
    _let_go()
    if n_threads() != {2}:
        limits.restore_original_limits()
        pytest.skip("there is no BLAS that could have two threads")
    yield
    limits.restore_original_limits()
    _let_go()


def _let_go():
    """No thread holds the limits; older releases of threadpoolctl do not ask."""
    for each in ThreadpoolController().lib_controllers:
        if hasattr(each, "clear_controlling_thread"):
            each.clear_controlling_thread(force=True)


@pytest.mark.parametrize("case", CASES, ids=[name for name, *_ in CASES])
def test_a_fit_moves_nothing(case, two_threads):
    """Whatever it does, and also where it draws random numbers."""
    _, model, X, y = case
    BilevelRidgeCV().fit(X[:, :2], ETA)  # what is loaded late is loaded
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = shared_state()
        model.fit(X, y)
        after = shared_state()
    assert before == after


def one(X, y, weight):
    """Metadata that say nothing."""
    return np.ones((X.shape[1], 1))


class Steps:
    """Metadata functions of two fits that overlap: a begins, b begins, a ends."""

    def __init__(self, end=None):
        self.a_in, self.b_in, self.a_out = (threading.Event() for _ in range(3))
        self.done = threading.Event()
        self.end, self.seen, self.after = end, [], None

    def a(self, X, y, weight):
        """Inside of the first fit."""
        self.a_in.set()
        assert self.b_in.wait(20)
        if self.end is not None:
            raise self.end
        return one(X, y, weight)

    def b(self, X, y, weight):
        """Inside of the second."""
        self.b_in.set()
        assert self.a_out.wait(20)
        self.seen.append(n_threads())
        return one(X, y, weight)

    def run(self, model):
        """Both fits; where the first one ended."""
        errors = []

        def first():
            try:
                sklearn.clone(model).set_params(feature_metadata=self.a).fit(X, ETA)
            except BaseException as error:
                errors.append(error)
            self.a_out.set()
            assert self.done.wait(20)  # a thread that lives on

        def second():
            assert self.a_in.wait(20)
            sklearn.clone(model).set_params(feature_metadata=self.b).fit(X, ETA)
            self.after = n_threads()
            self.done.set()

        threads = [threading.Thread(target=each) for each in (first, second)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return errors


@pytest.mark.parametrize("end", [None, RuntimeError("a"), KeyboardInterrupt()])
def test_fits_that_overlap(end, two_threads):
    """The last one out gives the threads back, and no one before."""
    before, steps = shared_state(), Steps(end)
    assert steps.run(BilevelRidgeCV()) == ([] if end is None else [end])
    assert steps.seen
    assert all(each == {1} for each in steps.seen)
    assert steps.after == {2}
    assert shared_state() == before


def test_fits_inside_of_fits(two_threads):
    """An inner fit that ends takes nothing from the outer one."""
    seen = []

    def nested(X, y, weight):
        if not seen:
            BilevelRidgeCV(hyperpenalty=None).fit(X, y)
        seen.append(n_threads())
        return one(X, y, weight)

    before = shared_state()
    BilevelRidgeCV(feature_metadata=nested).fit(X, ETA)
    assert all(each == {1} for each in seen)
    assert shared_state() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_of_a_fit_in_another_thread(two_threads):
    """It has none of the fits of its parent, and none of their limits."""
    begun, done = threading.Event(), threading.Event()

    def waits(X, y, weight):
        begun.set()
        assert done.wait(20)
        return one(X, y, weight)

    def fit():
        BilevelRidgeCV(feature_metadata=waits).fit(X, ETA)

    thread = threading.Thread(target=fit)
    thread.start()
    assert begun.wait(20)
    assert n_threads() == {1}
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = n_threads() == {2}
            BilevelRidgeCV().fit(X[:40], ETA[:40])
            right = right and n_threads() == {2}
        finally:
            os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
    assert n_threads() == {2}


@pytest.mark.skipif(
    getattr(sys.flags, "context_aware_warnings", False),
    reason="every thread has filters of its own",
)
def test_descents_that_overlap():
    """Warnings are as they were, also where the user changes the filters meanwhile."""
    a_in, b_in, a_out = (threading.Event() for _ in range(3))

    def descend():
        module = "sklearn.linear_model._coordinate_descent"
        warnings.warn_explicit("it ended early", ConvergenceWarning, "", 1, module)

    def first():
        with quiet_descent():
            a_in.set()
            assert b_in.wait(20)
        a_out.set()

    def second():
        with quiet_descent():
            b_in.set()
            assert a_out.wait(20)
            descend()

    before = list(warnings.filters)
    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    assert a_in.wait(20)
    with warnings.catch_warnings():
        threads[1].start()
        for each in threads:
            each.join()
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            descend()
    assert warnings.filters == before


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_workers_are_as_the_one_that_makes_them(backend):
    """They have its configuration; threads also handle errors in numbers as it does.

    Joblib gives that to no process.
    """
    seen = []

    def metadata(X, y, weight):
        assert sklearn.get_config()["working_memory"] == 77
        assert backend == "loky" or np.geterr()["under"] == "raise"
        seen.append(len(y))
        return one(X, y, weight)

    model = BilevelRidgeCV(
        feature_metadata=metadata, alpha_per_target=True, n_jobs=2, cv=3
    )
    with (
        sklearn.config_context(working_memory=77),
        np.errstate(under="raise"),
        joblib.parallel_config(backend=backend),
    ):
        model.fit(X, SEVERAL)
    # What other processes append stays there; what they raise comes back.
    assert bool(seen) == (backend == "threading")
