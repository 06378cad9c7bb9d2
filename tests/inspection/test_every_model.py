"""Every display of every estimator: a picture, or a refusal that is true of it."""

from functools import cache

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

import skbilevel
from skbilevel import inspection
from skbilevel.exceptions import DataWarning

RNG = np.random.default_rng(0)
N = 60
X = RNG.standard_normal((N, 3))
ETA = X[:, 0] + 0.3 * RNG.standard_normal(N)
TARGETS = {
    "BilevelGammaCV": np.exp(ETA),
    "BilevelPoissonCV": RNG.poisson(np.exp(ETA)),
    "BilevelTweedieCV": np.exp(ETA),
} | dict.fromkeys(
    (
        *("BilevelLogisticCV", "BilevelRidgeClassifierCV", "DPLogistic"),
        *("MetaLogistic", "SampleWeightsCV"),
    ),
    (ETA > 0).astype(int),
)
INNER = {"BilevelSearchCV": Ridge(), "SampleWeightsCV": LogisticRegression()}
BILEVEL = [
    name
    for name in skbilevel.__all__
    if name.startswith("Bilevel") and name != "BilevelSearchCV"
]
META, PRIVATE = ["MetaRidge", "MetaLogistic"], ["DPRidge", "DPLasso", "DPLogistic"]
FRACTIONAL = ["FractionalSparseRegressor", "FractionalICA"]
# One search in place of the guard.
PLAIN = {
    "BilevelRidgeCV": {"hyperpenalty": None},
    "MetaRidge": {"strengths": "two"},
}
MODELS = [
    *((name, False) for name in (*BILEVEL, *META, *PRIVATE, *FRACTIONAL, *INNER)),
    *((name, True) for name in PLAIN),
]


@cache
def fitted(name, plain):
    """A small model of this name, without its guard if ``plain``."""
    params = dict(PLAIN[name]) if plain else {}
    if name in PRIVATE:
        params = {"epsilon": 1.0, "delta": 1e-5}
    if name in INNER:
        params = {"estimator": INNER[name]}
    model = getattr(skbilevel, name)(**params)
    more = {"tasks": np.arange(N) % 5} if name in META else {}
    return model.fit(X, TARGETS.get(name, ETA), **more)


def refusals(name, plain):
    """What each display says of a model; displays that draw it are left out."""
    last = type(INNER[name]).__name__ if name in INNER else name
    coef = name != "FractionalICA"
    of_meta = "averages nothing and has no trace.*hyperpenalty_. DeviationsDisplay"
    of_linear = f"{last} has no coef_: the picture is one of linear"
    lacks = f"{last} has no %s: the picture is one of the models Bilevel"
    found = {"TermsDisplay": f"whose last step is a linear model, got {name}"}
    if name in BILEVEL:
        found["CoefficientsDisplay"] = "Pass the X and y"
        if plain:
            found["GuardPathDisplay"] = "not fitted under the guard"
        else:
            found["OuterTraceDisplay"] = 'under the guard .hyperpenalty="auto"'
    else:
        again = f"{last} cannot be fitted again with one shared strength"
        found["CoefficientsDisplay"] = again if coef else of_linear
        found["GuardPathDisplay"] = lacks % "hyperpenalty_"
        found["OuterTraceDisplay"] = lacks % "history_"
    if name in META:
        found["GuardPathDisplay"] = found["OuterTraceDisplay"] = f"{name} {of_meta}"
    else:
        has_none = f"{last} has no deviation_std_: .* MetaRidge and MetaLogistic"
        found["DeviationsDisplay"] = has_none if coef else of_linear
    if name not in PRIVATE:
        found["PrivacyDisplay"] = f"{last} has no privacy_ledger_: .* DPRidge"
    if name in (*INNER, *FRACTIONAL):
        no_alpha = f"{last} has no alpha_ with a strength per feature"
        found["StrengthsDisplay"] = no_alpha if coef else of_linear
    return found


@pytest.mark.filterwarnings(f"ignore::{DataWarning.__module__}.DataWarning")
@pytest.mark.filterwarnings(
    f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning"
)
@pytest.mark.parametrize(("name", "plain"), MODELS)
def test_a_picture_or_a_true_refusal(pyplot, name, plain):
    model, refused = fitted(name, plain), refusals(name, plain)
    for display in inspection.__all__:
        more = {"X": X} if display == "TermsDisplay" else {}
        draw = getattr(inspection, display).from_estimator
        if display in refused:
            with pytest.raises(ValueError, match=refused[display]):
                draw(model, **more)
        else:
            assert isinstance(draw(model, **more), getattr(inspection, display))


def test_all_estimators_are_asked():
    known = {name for name, _ in MODELS}
    assert {n for n in skbilevel.__all__ if n[0].isupper()} == known | {"RowBlocks"}


def test_tasks_name_their_coefficients(pyplot):
    model, pooled = fitted("MetaRidge", True), skbilevel.MetaRidge(strengths="pooled")
    pooled.fit(X, ETA, tasks=np.arange(N) % 5)
    drawn = inspection.CoefficientsDisplay.from_estimator(model, reference=pooled)
    assert drawn.output_names == tuple("01234")
