"""Classes and their weights, which all classifiers read the same way."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.utils import compute_sample_weight

from skbilevel import BilevelLogisticCV, BilevelRidgeClassifierCV, BilevelSearchCV

# One strength makes a fit quick; the classes are read before.
BOTH = pytest.mark.parametrize(
    "make",
    [
        lambda **params: BilevelLogisticCV(feature_groups="shared", **params),
        lambda **params: BilevelRidgeClassifierCV(feature_groups="shared", **params),
        lambda **params: BilevelSearchCV(LogisticRegression(**params)),
        lambda **params: BilevelSearchCV(RidgeClassifier(**params)),
    ],
    ids=["logistic", "ridge", "search of logistic", "search of ridge"],
)
OWN = pytest.mark.parametrize("kind", [BilevelLogisticCV, BilevelRidgeClassifierCV])
FIXED = {"alpha_bounds": (1.0, 1.0), "hyperpenalty": None, "feature_groups": "shared"}


def make_data(n_classes=3, n=90):
    return make_classification(
        n, 5, n_informative=4, n_redundant=0, n_classes=n_classes, random_state=0
    )


@OWN
@pytest.mark.parametrize("weight", [np.inf, np.nan, -1.0, None, "much"])
@pytest.mark.parametrize("label", [1, 7])
def test_weights_that_are_no_weights(kind, weight, label):
    X, y = make_data(2)
    model = kind(class_weight={0: 1.0, 1: 1.0, label: weight})
    with pytest.raises(ValueError, match=rf"class_weight=.* gives class {label} "):
        model.fit(X, y)


@OWN
def test_balanced_counts_weights(kind):
    X, y = make_data()
    times = 1 + 3 * (y == 1) + np.arange(len(y)) % 2
    params = {"class_weight": "balanced", **FIXED}
    a = kind(**params).fit(X, y, sample_weight=times)
    b = kind(**params).fit(X.repeat(times, axis=0), y.repeat(times))
    assert_allclose(a.coef_, b.coef_, atol=1e-7)
    balance = compute_sample_weight("balanced", y.repeat(times))[np.cumsum(times) - 1]
    c = kind(**FIXED).fit(X, y, sample_weight=times * balance)
    assert_allclose(a.coef_, c.coef_, atol=1e-7)


@BOTH
@pytest.mark.parametrize("by", ["sample_weight", "class_weight"])
def test_a_class_of_weight_zero_is_not_there(make, by):
    X, y = make_data()
    y = np.array(["a", "b", "c"])[y]
    kept = y != "b"
    if by == "sample_weight":
        model = make().fit(X, y, sample_weight=kept.astype(float))
    else:
        model = make(class_weight={"b": 0.0}).fit(X, y)
    twin = make().fit(X[kept], y[kept])
    model, twin = (getattr(m, "best_estimator_", m) for m in (model, twin))
    if isinstance(model, LogisticRegression | RidgeClassifier):
        # scikit-learn keeps the class in its own model; the strength is ours.
        name = "C" if hasattr(model, "C") else "alpha"
        assert_allclose(getattr(model, name), getattr(twin, name), rtol=1e-4)
        return
    assert model.classes_.tolist() == ["a", "c"]
    assert_allclose(model.coef_, twin.coef_, rtol=1e-5, atol=1e-7)


@OWN
@pytest.mark.parametrize(
    "params", [{"class_weight": {0: 1.0, 1: 0.0}}, {"class_weight": {0: 0.0, 1: 0.0}}]
)
def test_one_class_that_has_a_weight(kind, params):
    X, y = make_data(2)
    with pytest.raises(ValueError, match=r"one class only.*positive sample_weight"):
        kind(**params).fit(X, y)
    with pytest.raises(ValueError, match=r"one class only.*positive sample_weight"):
        kind().fit(X, y, sample_weight=(y == 0).astype(float))


@OWN
@pytest.mark.parametrize(
    "labels", [["no", "yes"], ["1", "2"], [False, True], [-3, 5], [0.0, 1.0]]
)
def test_keys_are_labels_of_any_type(kind, labels):
    X, y = make_data(2)
    plain = kind(class_weight={0: 1.0, 1: 5.0}, **FIXED).fit(X, y)
    model = kind(class_weight=dict(zip(labels, [1.0, 5.0], strict=True)), **FIXED)
    assert_array_equal(model.fit(X, np.array(labels)[y]).coef_, plain.coef_)


@OWN
def test_keys_that_are_no_labels(kind):
    X, y = make_data(2)
    known = kind(class_weight={0: 1.0, 1: 5.0}, **FIXED).fit(X, y)
    # As in scikit-learn: more keys than labels are fine, and labels without a key
    # have weight 1, but both at once is a label of another type.
    for given in ({0: 1.0, 1: 5.0, 2: 3.0}, {1: 5.0}):
        model = kind(class_weight=given, **FIXED).fit(X, y)
        assert_array_equal(model.coef_, known.coef_)
    for given in ({"0": 1.0, "1": 5.0}, {1: 5.0, 2: 3.0}):
        with pytest.raises(ValueError, match="not in class_weight"):
            kind(class_weight=given).fit(X, y)
        with pytest.raises(ValueError, match="not in class_weight"):
            RidgeClassifier(class_weight=given).fit(X, y)
    plain = kind(**FIXED).fit(X, y)
    assert_array_equal(kind(class_weight={}, **FIXED).fit(X, y).coef_, plain.coef_)
