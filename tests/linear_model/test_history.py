"""``history_``: columns of one length, with a clock."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import make_regression
from sklearn.exceptions import ConvergenceWarning

from skbilevel import BilevelLogisticCV, BilevelPoissonCV, BilevelRidgeCV
from skbilevel.solvers import Adam, Implicit, Nested
from skbilevel.solvers.inner import Cholesky

X, Y = make_regression(90, 5, n_informative=3, noise=20.0, random_state=0)
SEARCHES = {
    "trust region": {},
    "surrogate": {"cv": "loo"},
    "quasi-Newton": {"solver": "amigo"},
    "gradients": {"solver": Nested(Cholesky(), Implicit(), Adam())},
    "hoag": {"solver": "hoag"},
    "stochastic": {"solver": "saba"},
    "one strength": {"feature_groups": "shared"},
}


def check_seconds(model):
    """Numbers that do not decrease, as many as lines."""
    lengths = {len(column) for column in model.history_.values()}
    assert len(lengths) == 1
    seconds = model.history_["seconds"]
    assert seconds.dtype == float
    assert (seconds >= 0.0).all()
    assert (np.diff(seconds) >= 0.0).all()
    assert seconds[-1] < 60.0


@pytest.mark.parametrize("name", SEARCHES)
def test_searches(name):
    """Every optimizer looks at the clock."""
    model = BilevelRidgeCV(hyperpenalty=None, cv=3, max_iter=8)
    model.set_params(**SEARCHES[name])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check_seconds(model.fit(X, Y))
    assert {"value", "grad_norm", "tol"} <= set(model.history_)


@pytest.mark.parametrize("hyperpenalty", ["auto", None])
@pytest.mark.parametrize("estimator", [BilevelLogisticCV, BilevelPoissonCV])
def test_other_losses(estimator, hyperpenalty):
    """The guard and the searches of losses that are not quadratic."""
    y = (Y > 0).astype(int)
    check_seconds(estimator(hyperpenalty=hyperpenalty, tol=0.01).fit(X, y))


def test_nothing_to_find():
    """Constant targets, and counts that are all zero."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_seconds(BilevelRidgeCV(hyperpenalty=None).fit(X, np.ones(90)))
        check_seconds(BilevelPoissonCV().fit(X, np.zeros(90)))
