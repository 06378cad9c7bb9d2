"""Classes and events that a training set has not seen."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skbilevel import BilevelLogisticCV, BilevelPoissonCV
from skbilevel.problems import GammaLoss, LogisticLoss, PoissonLoss, SoftmaxLoss


def test_what_is_seen_stays():
    rng = np.random.default_rng(0)
    weight = np.ones(6)
    for loss, y in [
        (LogisticLoss(), np.array([[0.0], [1.0]] * 3)),
        (SoftmaxLoss(), np.eye(3)[[0, 1, 2, 0, 1, 2]]),
        (PoissonLoss(), np.array([[0.0], [2.0]] * 3)),
        (GammaLoss(), rng.gamma(1.0, size=(6, 1))),
    ]:
        assert loss.with_pseudo_counts(y, weight, None) is y


def test_half_of_one():
    weight = np.array([1.0, 2.0, 3.0, 0.0])
    zero = np.zeros((4, 1))
    zero[3] = 1.0  # of a row without a weight
    assert_allclose(LogisticLoss().with_pseudo_counts(zero, weight, None), 0.5 / 7.0)
    ones = 1.0 - zero
    assert_allclose(LogisticLoss().with_pseudo_counts(ones, weight, None), 6.5 / 7.0)
    y = np.eye(4)[[0, 0, 1, 3]]
    found = SoftmaxLoss().with_pseudo_counts(y, weight, None)
    assert_allclose(found[:3].sum(axis=1), 1.0)
    assert_allclose(found[:3, 2:], 0.5 / 7.0)
    offset = np.array([[0.0], [1.0], [800.0], [0.0]])
    counts = PoissonLoss().with_pseudo_counts(np.zeros((4, 1)), weight, offset)
    assert_allclose(weight @ counts, 0.5)
    assert_array_equal(counts.argmax(), 2)


@pytest.mark.parametrize("per_class", [False, True])
def test_folds_without_a_class_know_that_it_exists(per_class):
    """A class of two rows that some training sets lack costs what half of one does."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    y = np.digitize(X[:, 0] + 0.3 * rng.standard_normal(60), [-0.5, 0.5])
    y[:2] = 3
    half = np.arange(30), np.arange(30, 60)
    splits = [(np.arange(2, 60), np.arange(2)), half, half[::-1]]
    model = BilevelLogisticCV(
        hyperpenalty=None,
        cv=splits,
        feature_groups="shared",
        alpha_per_class=per_class,
    ).fit(X, y)
    # Without the rule what the solver's tolerance makes of it: -1.5 and -2.5.
    assert model.best_score_ > -1.0


@pytest.mark.parametrize("place", [4, 50, 120])
def test_a_single_event_is_no_signal(place):
    X = np.random.default_rng(place).standard_normal((200, 6))
    y = (np.arange(200) == place) * 1.0
    model = BilevelPoissonCV().fit(X, y)
    assert model.predict(X).max() < 0.1
    # Half an event was expected where one happened, at worst.
    assert model.best_score_ > -0.06


@pytest.mark.filterwarnings("ignore:y has one row only of class 'c'")
def test_a_class_of_one():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    y = np.where(X[:, 0] > 0, "a", "b").astype(object)
    y[7] = "c"
    model = BilevelLogisticCV().fit(X, y)
    assert_array_equal(model.classes_, ["a", "b", "c"])
    assert model.best_score_ > -1.0
    assert np.isfinite(model.predict_log_proba(X)).all()
