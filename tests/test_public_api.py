"""The public interface: what it offers and in which form."""

import importlib
import inspect
import pickle
import pkgutil
import re
import runpy
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.datasets import make_classification, make_regression
from sklearn.metrics import get_scorer
from sklearn.utils.estimator_checks import check_param_validation

import skbilevel

ROOT = Path(__file__).resolve().parent.parent
# Order and default values are what users see in every repr.
SHARED_PARAMETERS = {
    "fit_intercept": True,
    "feature_groups": None,
    "feature_metadata": None,
    "unpenalized": None,
    "hyperpenalty": "auto",
    "cv": None,
    "solver": "auto",
    "scoring": None,
    "alpha_init": None,
    "alpha_bounds": None,
    "tol": 1e-4,
    "max_iter": 100,
    "n_jobs": None,
    "random_state": None,
    "verbose": 0,
}
OWN_PARAMETERS = {
    "BilevelElasticNetCV": {"l1_ratio": "tuned"},
    "BilevelGammaCV": {},
    "BilevelLassoCV": {},
    "BilevelLogisticCV": {
        "alpha_per_class": False,
        "outer_loss": "log_loss",
        "class_weight": None,
    },
    "BilevelPoissonCV": {},
    "BilevelRidgeCV": {"alpha_per_target": False},
    "BilevelRidgeClassifierCV": {"class_weight": None},
    "BilevelTweedieCV": {"power": 1.5},
}
# Parameters of theirs stand in linear_model/test_dp.py.
PRIVATE = ("DPLasso", "DPLogistic", "DPRidge")
# Their parameters are of another kind: those of GridSearchCV, of tasks, of rows, of k.
OTHERS = (
    "BilevelSearchCV",
    "FractionalICA",
    "FractionalSparseRegressor",
    "MetaLogistic",
    "MetaRidge",
    "SampleWeightsCV",
)
ESTIMATORS = [
    value
    for name in skbilevel.__all__
    if inspect.isclass(value := getattr(skbilevel, name))
    and issubclass(value, BaseEstimator)
    and name not in PRIVATE
    and name not in OTHERS
]


def test_all_names_exist_and_are_sorted():
    assert all(hasattr(skbilevel, name) for name in skbilevel.__all__)
    assert list(skbilevel.__all__) == sorted(skbilevel.__all__)
    assert set(OWN_PARAMETERS) == {e.__name__ for e in ESTIMATORS}


def test_names_and_signatures_are_those_written_down():
    # A change for users: python tests/api_snapshot.py --write, and the changelog.
    made = runpy.run_path(str(Path(__file__).with_name("api_snapshot.py")))
    written = made["SNAPSHOT"].read_text(encoding="utf-8").splitlines()
    assert made["snapshot"]().splitlines() == written


def test_names_are_loaded_when_they_are_used():
    found = pkgutil.iter_modules(skbilevel.__path__)
    public = {info.name for info in found if not info.name.startswith("_")}
    inner = {"model_selection"}  # no name of it is for users
    assert {*skbilevel.__all__, *(public - inner)} <= set(dir(skbilevel))
    assert all(getattr(skbilevel, name) for name in public - inner)
    assert skbilevel.linear_model.BilevelRidgeCV is skbilevel.BilevelRidgeCV
    assert set(skbilevel.linear_model.__all__) <= set(dir(skbilevel.linear_model))
    for module in (skbilevel, skbilevel.linear_model, skbilevel.solvers.inner):
        with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
            getattr(module, "no_such_name")  # noqa: B009


def test_show_versions(capsys):
    skbilevel.show_versions()
    printed = capsys.readouterr().out
    for name in ("python", "scikit-learn", "numpy", "pandas", "openblas"):
        assert name in printed
    assert f"skbilevel: {skbilevel.__version__}" in printed


def test_version_is_the_same_everywhere():
    assert skbilevel.__version__ == version("skbilevel")
    release = skbilevel.__version__.split(".dev")[0]
    changelog = ROOT / "CHANGELOG.md"
    if changelog.is_file():
        newest = re.search(r"^## \[([^]]+)\]", changelog.read_text(), re.MULTILINE)
        assert newest[1] in ("Unreleased", release)
    citation = ROOT / "CITATION.cff"
    if citation.is_file():
        assert f"\nversion: {release}\n" in citation.read_text()


def test_types_are_shipped():
    assert (Path(skbilevel.__file__).parent / "py.typed").is_file()


def test_pictures():
    displays = importlib.import_module("skbilevel.inspection").__all__
    assert displays == [
        "CoefficientsDisplay",
        "DeviationsDisplay",
        "GuardPathDisplay",
        "OuterTraceDisplay",
        "PrivacyDisplay",
        "StrengthsDisplay",
        "TermsDisplay",
    ]


def test_every_module_imports_and_says_what_it_is():
    for info in pkgutil.walk_packages(skbilevel.__path__, "skbilevel."):
        module = importlib.import_module(info.name)
        assert module.__doc__, info.name
        exported = getattr(module, "__all__", [])
        assert all(hasattr(module, name) for name in exported), info.name


def without(estimator):
    """Shared parameters that would have nothing to do."""
    nets = ("BilevelElasticNetCV", "BilevelLassoCV")
    return ("solver", "n_jobs") if estimator.__name__ in nets else ()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_constructor(estimator):
    parameters = inspect.signature(estimator).parameters
    shared = {k: v for k, v in SHARED_PARAMETERS.items() if k not in without(estimator)}
    expected = shared | OWN_PARAMETERS[estimator.__name__]
    assert {n: p.default for n, p in parameters.items()} == expected
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    assert [name for name in parameters if name in shared] == list(shared)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_every_parameter_is_validated(estimator):
    check_param_validation(estimator.__name__, estimator())


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_clone_repr_and_pickle_of_an_unfitted_estimator(estimator):
    original = estimator(cv=3, hyperpenalty=("smooth", 1.0))
    for copy in (clone(original), pickle.loads(pickle.dumps(original))):
        assert copy.get_params() == original.get_params()
    assert repr(original) == (
        f"{estimator.__name__}(cv=3, hyperpenalty=('smooth', 1.0))"
    )
    assert estimator.__name__ in original._repr_html_()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_fit_takes_weights_and_metadata(estimator):
    parameters = list(inspect.signature(estimator.fit).parameters.values())
    assert [p.name for p in parameters[:4]] == ["self", "X", "y", "sample_weight"]
    assert parameters[3].default is None
    assert parameters[-1].kind is parameters[-1].VAR_KEYWORD


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: e.__name__)
def test_score_is_that_of_scoring(estimator):
    # The mixins of scikit-learn bring a score of their own; ours has to win.
    classifier = is_classifier(estimator())
    make = make_classification if classifier else make_regression
    X, y = make(n_samples=60, n_features=6, n_informative=4, random_state=0)
    y = y if classifier else np.exp(y / y.std())  # positive, for all losses
    scoring = "roc_auc" if classifier else "neg_median_absolute_error"
    fitted = estimator(scoring=scoring).fit(X, y)
    assert fitted.score(X, y) == pytest.approx(get_scorer(scoring)(fitted, X, y))
