"""Pickles know the version that made them; copies and clones are not affected."""

import copy
import io
import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import skbilevel
from skbilevel import BilevelRidgeCV, BilevelSearchCV, inspection

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 3))
Y = np.exp(0.5 * (X[:, 0] + RNG.standard_normal(30)))
FAST = {"hyperpenalty": None, "cv": 2, "max_iter": 2}
ESTIMATORS = [
    getattr(skbilevel, name)
    for name in skbilevel.__all__
    if name.startswith("Bilevel") and name != "BilevelSearchCV"
]


class Mine(BilevelRidgeCV):
    """A subclass of a user, with a state of its own."""

    def __getstate__(self):
        return dict(vars(self))


def models():
    """Fitted and unfitted ones."""
    y = np.array(["cat", "dog"])[(Y > 1).astype(int)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for make in ESTIMATORS:
            model = make(**FAST)
            yield model
            yield clone(model).fit(X, y if hasattr(model, "decision_function") else Y)
        search = BilevelSearchCV(make_pipeline(StandardScaler(), Ridge()), cv=2)
        yield search
        fitted = clone(search).fit(X, Y)
        yield fitted
        yield inspection.StrengthsDisplay(np.ones(3), feature_names=list("abc"))


MODELS = list(models())


def through_joblib(model):
    """Written and read."""
    with io.BytesIO() as file:
        joblib.dump(model, file)
        file.seek(0)
        return joblib.load(file)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_versions(model, monkeypatch):
    """The same version is silent; another one is named, as scikit-learn does it."""
    copies = [copy.copy, copy.deepcopy, through_joblib]
    copies.append(lambda model: pickle.loads(pickle.dumps(model)))
    if hasattr(model, "get_params"):
        copies.append(clone)
    for how in copies:
        assert vars(how(model)).keys() <= vars(model).keys()
    stored = pickle.dumps(model)
    monkeypatch.setattr(skbilevel, "__version__", "9.9.9")
    name = type(model).__name__
    with pytest.warns(InconsistentVersionWarning, match=name) as told:
        again = pickle.loads(stored)
    # A search has estimators inside, which speak for themselves.
    said = {str(each.message) for each in told}
    assert any("0.1.0" in each and "9.9.9 of" not in each for each in said)
    assert all("skbilevel" in each for each in said)
    assert told[-1].message.estimator_name == name
    assert told[-1].message.current_sklearn_version == "9.9.9"
    assert told[-1].filename == __file__
    assert vars(again).keys() == vars(model).keys()
    for how in (copy.copy, copy.deepcopy):
        how(model)  # of this version, whatever it is


def test_pickles_without_a_version():
    """Those of this package are older than versions; others say nothing."""
    model = BilevelRidgeCV()
    with pytest.warns(InconsistentVersionWarning, match="from version unknown"):
        model.__setstate__(dict(vars(model)))
    pickle.loads(pickle.dumps(Mine()))
    copy.copy(Mine())
