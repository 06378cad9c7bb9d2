"""scikit-learn's own checks of the guard, none of them expected to fail.

Settings without the guard stand in ``linear_model/test_criterion_checks.py``.
"""

import inspect

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import (
    BilevelElasticNetCV,
    BilevelGammaCV,
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
    FractionalICA,
    FractionalSparseRegressor,
    MetaLogistic,
    MetaRidge,
)

ESTIMATORS = [
    BilevelRidgeCV(),
    BilevelRidgeCV(cv="loo"),
    BilevelRidgeCV(feature_groups="shared"),
    BilevelRidgeCV(hyperpenalty=("sparse", 0.1), cv=3),
    BilevelLassoCV(cv=3),
    BilevelElasticNetCV(feature_groups="shared", cv=3),
    BilevelRidgeClassifierCV(),
    BilevelLogisticCV(cv=3),
    BilevelPoissonCV(),
    BilevelGammaCV(cv=3),
    BilevelTweedieCV(cv=3),
    FractionalICA(),
    FractionalSparseRegressor(),
    MetaLogistic(),
    MetaRidge(),
]
# The data of many checks are noise or a handful of rows: strengths at an end of their
# range, words about few rows, and searches that stop at rounding, are what one should
# get there.
EXPECTED = [
    "ignore::skbilevel.exceptions.BoundaryWarning",
    "ignore::skbilevel.exceptions.DataWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
    # Some checks skip themselves where an optional dependency is missing.
    "ignore::sklearn.exceptions.SkipTestWarning",
]


@pytest.mark.filterwarnings(*EXPECTED)
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", sorted({type(e) for e in ESTIMATORS}, key=str))
def test_every_parameter_has_a_constraint(estimator):
    names = set(inspect.signature(estimator).parameters)
    assert set(estimator._parameter_constraints) == names
    estimator()._validate_params()
