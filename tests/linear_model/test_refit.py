"""A fit that raises leaves the estimator as it was: the old model whole, or none."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    BilevelTweedieCV,
)

pandas = pytest.importorskip("pandas")
pytestmark = [
    pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = pandas.DataFrame(RNG.standard_normal((40, 3)), columns=list("abc"))
OTHER = RNG.standard_normal((36, 5))
NOISE = RNG.standard_normal(40)
FAST = {"hyperpenalty": None, "cv": 2, "feature_groups": "shared", "max_iter": 3}
PIPE = make_pipeline(StandardScaler(), LogisticRegression())
MODELS = [
    BilevelRidgeCV(**FAST),
    BilevelRidgeClassifierCV(**FAST),
    BilevelLogisticCV(**FAST),
    BilevelPoissonCV(**FAST),
    BilevelGammaCV(**FAST),
    BilevelTweedieCV(**FAST),
    BilevelSearchCV(PIPE, cv=2),
    BilevelSearchCV(BilevelLogisticCV(**FAST), cv=2),
]
IDS = [repr(each).split("(")[0] for each in MODELS[:-1]] + ["search over ours"]


def target(model, X, labels):
    """Targets that suit a model."""
    first = 0.5 * (np.asarray(X)[:, 0] + NOISE[: len(X)])
    if hasattr(model, "predict_proba") or "Classifier" in repr(model):
        return np.where(first > 0, *labels)
    return np.exp(first)


class Ending(KFold):
    """Splits until something happens."""

    def __init__(self, error):
        super().__init__(2)
        self.error = error

    def split(self, X, y=None, groups=None):
        """Do not."""
        raise self.error


def scorer(error):
    """A scorer that fails when everything else is done."""

    def score(estimator, X, y):
        raise error

    return score


class Failing:
    """A callback that fails at the start, or at the end of the fit."""

    def __init__(self, at_end, error):
        self.at_end, self.error, self.estimator = at_end, error, None

    def setup(self, estimator, context):
        """Nothing to do."""

    def teardown(self, estimator, context):
        """Nothing to do."""

    def on_fit_task_begin(self, estimator, context):
        """Fail at the start; what is fitted then is not the model from before."""
        self.estimator = estimator
        if not self.at_end:
            raise self.error

    def on_fit_task_end(self, estimator, context):
        """Fail at the end."""
        if context.parent is None:
            raise self.error


def told(model, callback):
    """A model that a callback watches."""
    if not hasattr(model, "set_callbacks"):
        pytest.skip("callbacks came with scikit-learn 1.9")
    return model.set_callbacks(callback)


ENDS = {
    "splitter": lambda model, error: model.set_params(cv=Ending(error)),
    "scorer": lambda model, error: model.set_params(scoring=scorer(error)),
    "first callback": lambda model, error: told(model, Failing(False, error)),
    "last callback": lambda model, error: told(model, Failing(True, error)),
}


def state(model):
    """Everything that was learned, as values."""
    fitted = {k: v for k, v in vars(model).items() if k.endswith("_")}
    return {name: pickle.dumps(value) for name, value in fitted.items()}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_refit_that_fails(model, end):
    """On other rows, columns, names and labels."""
    error = RuntimeError("the disk is full")
    old = clone(model).fit(X, target(model, X, ("cat", "dog")))
    before, predicted = state(old), old.predict(X)
    y = target(model, OTHER, ("left", "right"))
    new = ENDS[end](clone(model), error)
    for each in (ENDS[end](old, error), new):
        with pytest.raises(RuntimeError, match="disk is full"):
            each.fit(OTHER, y)
    with pytest.raises(NotFittedError):
        check_is_fitted(new)
    assert state(new) == {}
    assert state(old) == before
    np.testing.assert_array_equal(old.predict(X), predicted)
    np.testing.assert_array_equal(old.feature_names_in_, list("abc"))
    assert old.n_features_in_ == 3


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_wrong_data(model):
    """What validation refuses is no different."""
    y = target(model, X, ("cat", "dog"))
    old = clone(model).fit(X, y)
    before = state(old)
    for params in (
        {"X": OTHER, "y": y},
        {"X": np.where(OTHER == OTHER[0, 0], np.inf, OTHER), "y": y[:36]},
        {"X": OTHER, "y": y[:36], "sample_weight": np.zeros(36)},
        {"X": OTHER, "y": y[:36], "groups": np.zeros(35)},
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            old.fit(**params)
    assert state(old) == before


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_interrupted_refits(model, interrupted):
    """Before the first strengths the old model stays; after them it is the new one."""
    names, others = ("cat", "dog"), ("left", "right")
    old = clone(model).fit(X, target(model, X, names))
    before, y = state(old), target(model, OTHER, others)
    with pytest.raises(KeyboardInterrupt):
        old.set_params(cv=Ending(KeyboardInterrupt())).fit(OTHER, y)
    assert state(old) == before
    with interrupted(1):
        old.set_params(cv=2, verbose=1).fit(OTHER, y)
    assert old.n_features_in_ == 5
    assert not hasattr(old, "feature_names_in_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predicted = old.predict(OTHER)
    if hasattr(old, "classes_"):
        assert set(predicted) <= set(others)


def test_an_interrupted_scorer_is_no_score():
    """The model is whole, and nothing is said in the unit of the loss."""
    model = BilevelRidgeCV(**FAST, scoring=scorer(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, X["a"] + NOISE)
    assert model.predict(X).shape == (40,)
    assert np.isnan(model.best_score_)


def test_what_is_not_ours_stays():
    """Attributes of a subclass, and those that a function sets meanwhile."""

    class Own(BilevelRidgeCV):
        def fit(self, X, y):
            self.encoder_ = "before"
            return super().fit(X, y)

        def predict(self, X):
            assert self.encoder_ == "before"
            return super().predict(X)

    def metadata(X, y, weight):
        model.calls_ = getattr(model, "calls_", 0) + 1
        return np.ones((X.shape[1], 1))

    model = Own(hyperpenalty=None, cv=2, scoring="r2", feature_metadata=metadata)
    model.note = "mine"
    model.fit(X, X["a"] + NOISE)
    assert model.note == "mine"
    assert model.encoder_ == "before"
    assert model.calls_ > 1


def test_watched_estimators_are_not_the_old_model():
    """A callback that looks at the estimator sees no coefficients of an earlier fit."""
    callback = Failing(False, RuntimeError("seen"))
    model = BilevelRidgeCV(**FAST).fit(X, X["a"] + NOISE)
    with pytest.raises(RuntimeError):
        told(model, callback).fit(OTHER, OTHER[:, 0] + NOISE[:36])
    assert callback.estimator.n_features_in_ == 5
    assert not hasattr(callback.estimator, "coef_")
