"""scikit-learn's own checks where strengths are tuned without the guard."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skbilevel import BilevelRidgeClassifierCV, BilevelRidgeCV
from skbilevel.model_selection._named_criteria import CRITERIA

SETTINGS = [
    {},
    *({"cv": name} for name in CRITERIA),
    {"cv": "gcv", "solver": "fcd"},
    {"feature_groups": "shared"},
    {"solver": "amigo"},
    {"solver": "dual"},
    {"hyperpenalty": ("smooth", 0.1)},
]
ESTIMATORS = [BilevelRidgeCV(**{"hyperpenalty": None, **s}) for s in SETTINGS]
ESTIMATORS.append(BilevelRidgeClassifierCV(hyperpenalty=None))

# Two checks replace cv by folds, of which solver="fcd" has none; its weights are tested
# in solvers/test_gcv_coordinates.py.
WITH_FOLDS = {
    f"check_sample_weight_equivalence_on_{kind}_data": "sets cv to folds, has cv='gcv'"
    for kind in ("dense", "sparse")
}


def refused(estimator):
    """Checks that ask for what an estimator refuses by intention."""
    return WITH_FOLDS if estimator.solver == "fcd" else {}


# Targets of the checks are noise, are fitted exactly or are all the same: fits say so.
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.DataWarning")
@pytest.mark.filterwarnings("ignore::skbilevel.exceptions.BoundaryWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=refused)
def test_sklearn_checks(estimator, check):
    check(estimator)
