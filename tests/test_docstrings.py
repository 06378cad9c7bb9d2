"""Docstrings are part of the interface: complete, in numpydoc form, true."""

import ast
import inspect
import re
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from numpydoc.docscrape import ClassDoc, FunctionDoc
from numpydoc.validate import validate
from sklearn.base import BaseEstimator, is_classifier
from sklearn.datasets import make_classification, make_regression

import skbilevel

PACKAGE = Path(skbilevel.__file__).parent
PUBLIC = [
    name
    for name in skbilevel.__all__
    if inspect.isclass(getattr(skbilevel, name))
    or inspect.isroutine(getattr(skbilevel, name))
]
ESTIMATORS = [
    name
    for name in PUBLIC
    if inspect.isclass(getattr(skbilevel, name))
    and issubclass(getattr(skbilevel, name), BaseEstimator)
]
# Matters of taste (where the summary starts, whether a longer text follows, names
# of what is returned) are not checked. All that a reader or the HTML view needs is.
IGNORED = {"ES01", "GL01", "GL02", "GL03", "RT02", "RT03", "SA01", "SA04", "YD01"}
IGNORED_IN_METHODS = IGNORED | {"EX01"}
# These exist only after a fit with the parameter named.
CONDITIONAL = {
    "feature_names_in_": "X with column names",
    "group_alpha_": "feature_groups",
    "group_labels_": "feature_groups",
}


def own_methods(name: str) -> list[str]:
    """Name the public methods that this package defines for a class."""
    cls = getattr(skbilevel, name)
    return [
        f"{name}.{method}"
        for method, value in inspect.getmembers(cls, inspect.isfunction)
        if not method.startswith("_") and value.__module__.startswith("skbilevel")
    ]


def complaints(path: str, ignored: set[str]) -> list[str]:
    errors = validate(f"skbilevel.{path}")["errors"]
    return [f"{code}: {text}" for code, text in errors if code not in ignored]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_object(name):
    assert complaints(name, IGNORED) == []


@pytest.mark.parametrize("path", [m for name in ESTIMATORS for m in own_methods(name)])
def test_public_method(path):
    assert complaints(path, IGNORED_IN_METHODS) == []


@pytest.mark.parametrize("name", ESTIMATORS)
def test_fitted_attributes_are_the_documented_ones(name):
    cls = getattr(skbilevel, name)
    searched = "estimator" in inspect.signature(cls).parameters
    estimator = cls(skbilevel.BilevelLogisticCV()) if searched else cls()
    make = make_classification if is_classifier(estimator) else make_regression
    X, y = make(n_samples=60, n_features=6, n_informative=4, random_state=0)
    y = y if is_classifier(estimator) else np.exp(y / y.std())  # for all losses
    # Groups of the private estimators have no attributes of their own.
    known = "feature_groups" in estimator.get_params()
    plain = known and not searched and not name.startswith("DP")
    if plain:
        estimator.set_params(feature_groups=[0, 0, 1, 1, 2, 2])
    estimator.fit(X, y)
    fitted = {a for a in vars(estimator) if a.endswith("_") and not a.startswith("_")}
    fitted |= {
        a
        for a, value in inspect.getmembers(cls, lambda v: isinstance(v, property))
        if a.endswith("_") and not a.startswith("_")
    }
    documented = {p.name for p in ClassDoc(cls)["Attributes"]}
    assert fitted - documented == set()
    assert documented - fitted <= {"feature_names_in_", "labels_", "label_weight_"}
    assert not plain or set(CONDITIONAL) <= documented


def test_entries_of_base_classes_are_filled_in():
    class Stronger(skbilevel.BilevelRidgeCV):
        """Another one.

        Parameters
        ----------
        tol, alpha_per_target : ...
        """

        def predict(self, X):
            """Predict more.

            Parameters
            ----------
            X : ...
            """

    (rows,) = FunctionDoc(Stronger.predict)["Parameters"]
    assert rows.type == "{array-like, sparse matrix} of shape (n_samples, n_features)"
    assert rows.desc == ["Features."]
    # Not from the method of the same name that scikit-learn's mixin has.
    rows = FunctionDoc(skbilevel.MetaRidge.score)["Parameters"][0]
    assert "holds the tasks" in rows.desc[0]
    tol, own = ClassDoc(Stronger)["Parameters"]
    assert (tol.name, tol.type) == ("tol", "float, default=1e-4")
    assert own.desc[0].startswith("With several targets")
    methods = [m for name in ESTIMATORS for m in own_methods(name)]
    for path in (*ESTIMATORS, *methods):
        assert " : ..." not in attrgetter(path)(skbilevel).__doc__
    with pytest.raises(LookupError, match="alpha_per_row"):
        type("Unknown", (Stronger,), {"__doc__": "alpha_per_row : ..."})


def test_sections_of_base_classes_are_filled_in():
    class Noted(skbilevel.BilevelPoissonCV):
        """Another one.

        Notes
        -----
        ...

        More.

        References
        ----------
        ...
        """

    doc = ClassDoc(Noted)
    assert doc["Notes"][0].startswith("Put a scaler in front")
    assert doc["Notes"][-2:] == ["", "More."]
    assert doc["References"][0].startswith("M. Arbel")
    assert "deviances" in doc["References"][-1]
    with pytest.raises(LookupError, match="Yields"):
        type("Unknown", (Noted,), {"__doc__": "One.\n\nYields\n------\n..."})


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimator_says_what_it_minimizes_and_shows_use(name):
    doc = inspect.getdoc(getattr(skbilevel, name))
    assert "::" in doc or ".. math" in doc
    for section in ("Parameters", "Attributes", "See Also", "Examples"):
        assert re.search(rf"^{section}\n-+$", doc, re.MULTILINE), section


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_source_is_documented_and_finished(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", text)
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the module has no docstring"
    kinds = (ast.FunctionDef, ast.ClassDef)
    missing = [
        node.name
        for node in tree.body
        if isinstance(node, kinds)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not missing
