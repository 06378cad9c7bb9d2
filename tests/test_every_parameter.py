"""Every parameter does something that a user can see, or is refused, in every mode."""

import contextlib
import io
import pickle
import threading
import warnings

import numpy as np
import pytest
from sklearn.base import is_classifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold
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
)
from skbilevel.model_selection._named_criteria import CRITERIA
from skbilevel.solvers import CG, LBFGSB, SABA, Implicit, Nested

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 4))
ETA = X[:, 0] - 0.5 * X[:, 1] + 0.7 * RNG.standard_normal(48)
CLASSES = np.digitize(ETA, [-0.5, 0.5])
TARGETS = {
    BilevelRidgeCV: np.column_stack([ETA, X[:, 1] + RNG.standard_normal(48)]),
    BilevelLassoCV: ETA,
    BilevelRidgeClassifierCV: CLASSES,
    BilevelLogisticCV: CLASSES,
    BilevelPoissonCV: np.round(np.exp(1.0 + ETA)),
    BilevelGammaCV: np.exp(ETA),
    BilevelTweedieCV: np.exp(ETA),
}
# Another value of each parameter than its default.
OTHER = {
    "fit_intercept": False,
    "feature_groups": [0, 0, 1, 1],
    "feature_metadata": np.arange(8.0).reshape(4, 2) ** 2,
    "unpenalized": [0],
    "hyperpenalty": ("smooth", 0.3),
    "cv": KFold(4),
    "solver": "newton-cg",
    "scoring": "neg_mean_absolute_error",
    "alpha_init": 1e-3,
    "alpha_bounds": (1e3, 1e4),
    "tol": 10.0,
    "max_iter": 1,
    "n_jobs": 2,
    "random_state": 3,
    "verbose": 1,
    "alpha_per_target": True,
    "alpha_per_class": True,
    "class_weight": {0: 1, 1: 2, 2: 3},
    "outer_loss": "brier",
    "power": 1.2,
}
CV = KFold(3, shuffle=True, random_state=0)
CRITERION = {"hyperpenalty": None, "cv": 3, "tol": 1e-6, "max_iter": 8}
MODES = {
    "guard": {"cv": 2},
    "criterion": CRITERION,
    "splitter": {**CRITERION, "cv": CV},
    **{name: {**CRITERION, "cv": name} for name in CRITERIA},
    "published": {**CRITERION, "solver": "hoag"},
}
RIDGES = (BilevelRidgeCV, BilevelRidgeClassifierCV)
# What a fit is not asked to do by its other parameters; the docstrings say so.
NOTHING_TO_DO = {
    "tol": "the guard takes a fixed number of steps",
    "max_iter": "the guard takes a fixed number of steps",
    "n_jobs": "threads change nothing that a user can see",
    "random_state": "nothing is drawn",
}


def idle(make, mode):
    """Parameters with nothing to do."""
    without = {"tol", "max_iter"} if mode == "guard" else set()
    # Folds of the other losses are worth threads, under the guard too.
    if make in (*RIDGES, BilevelLassoCV) or mode in ("loo", "published"):
        without |= {"n_jobs"}
    if mode in ("splitter", *CRITERIA):
        without |= {"random_state"}
    return without


def cases():
    """Estimators in modes: elsewhere the code is that of one of these."""
    for make in TARGETS:
        for mode in MODES:
            glm = make is BilevelPoissonCV and mode == "guard"
            own = make is BilevelLogisticCV and mode in ("guard", "loo")
            own = own or (make is BilevelLassoCV and mode == "guard")
            if make is BilevelRidgeCV or mode == "criterion" or glm or own:
                yield make, mode


def parameters(make, mode):
    """All, but for what another estimator has shown of a slow mode."""
    names = make().get_params().keys()
    slow = make is BilevelLogisticCV and mode == "guard"
    return names - BilevelPoissonCV().get_params().keys() if slow else names


def seen(model, y, monkeypatch):
    """All that a user can see of a fit; a sentence where it is refused."""
    threads, start = [], threading.Thread.start
    screen = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(screen),
        monkeypatch.context() as patch,
    ):
        warnings.simplefilter("ignore")
        patch.setattr(
            threading.Thread, "start", lambda self: threads.append(1) or start(self)
        )
        model.fit(X, y)
    fitted = {k: v for k, v in vars(model).items() if k.endswith("_")}
    return {
        "fitted": pickle.dumps(_without_seconds(fitted)),
        "predictions": model.predict(X).tobytes(),
        "printed": screen.getvalue()[:99],
        "threads": bool(threads),
    }


def _without_seconds(value):
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k != "seconds"}
        return {k: _without_seconds(v) for k, v in kept.items()}
    return value


def value_of(make, name):
    """Another value of a parameter."""
    if name == "scoring" and is_classifier(make()):
        return "accuracy"
    if name == "solver" and make in RIDGES:
        return "amigo"
    return OTHER[name]


@pytest.mark.parametrize(
    ("make", "mode"), cases(), ids=lambda each: getattr(each, "__name__", each)
)
def test_every_parameter(make, mode, monkeypatch):
    """It changes something, is refused with its name, or has nothing to do."""
    params, y = MODES[mode], TARGETS[make]
    before = seen(make(**params), y, monkeypatch)
    inert, refused = set(), {}
    names = parameters(make, mode)
    for name in names:
        model = make(**{**params, name: value_of(make, name)})
        try:
            if seen(model, y, monkeypatch) == before:
                inert.add(name)
        except ValueError as error:
            refused[name] = str(error)
    assert inert == idle(make, mode) & names
    assert inert <= NOTHING_TO_DO.keys()
    no_solver = {"solver"} if mode in ("guard", *CRITERIA) else set()
    assert refused.keys() == no_solver & names
    assert all(f"{name}=" in sentence for name, sentence in refused.items())
    for name in inert:
        assert f"    {name} : " in make.__doc__


NESTED = Nested(CG(), Implicit(), LBFGSB())


@pytest.mark.parametrize("solver", ["exact", "saba", NESTED, SABA()])
def test_solvers_under_the_guard(solver):
    """One sentence says what to set."""
    y = TARGETS[BilevelRidgeCV]
    chain = make_pipeline(StandardScaler(), BilevelRidgeCV(solver=solver))
    for model, target in (
        (BilevelRidgeCV(solver=solver), y),
        (BilevelRidgeCV(solver=solver, alpha_per_target=True), y),
        (BilevelLogisticCV(solver=solver), CLASSES),
        (BilevelSearchCV(chain), y),
    ):
        with pytest.raises(ValueError, match=r"solver=.*hyperpenalty=None"):
            model.fit(X, target)


SEARCH = {
    "estimator": Ridge(fit_intercept=False),
    "scoring": "neg_mean_absolute_error",
    "n_jobs": 2,
    "refit": False,
    "cv": 4,
    "verbose": 1,
}


def test_every_parameter_of_a_search():
    """The same; the last step is solved as one stack, and has no use for threads."""
    y = TARGETS[BilevelRidgeCV][:, 0]

    def found(**params):
        search = BilevelSearchCV(**{"estimator": Ridge(), **params})
        screen = io.StringIO()
        with contextlib.redirect_stdout(screen):
            search.fit(X, y)
        fitted = {k: v for k, v in vars(search).items() if k.endswith("_")}
        fitted.pop("refit_time_", None)
        table = fitted.pop("cv_results_")
        kept = {k: v for k, v in table.items() if "time" not in k}
        return pickle.dumps((fitted, kept)), screen.getvalue()[:99]

    before = found()
    assert {k for k, v in SEARCH.items() if found(**{k: v}) == before} == {"n_jobs"}
    assert SEARCH.keys() == BilevelSearchCV(Ridge()).get_params(deep=False).keys()
