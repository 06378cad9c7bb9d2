"""Names of classes, tasks and labels of columns are names: they change nothing.

What is drawn at random is drawn in the order in which labels appear in the rows.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skbilevel import (
    BilevelLassoCV,
    BilevelLogisticCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelSearchCV,
    MetaLogistic,
    MetaRidge,
    SampleWeightsCV,
)

N, P = 90, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, P))
SCORE = X @ [1.0, -1.0, 0.5, 0.0] + RNG.logistic(size=N)
CODES = np.digitize(SCORE, [-1.0, 1.0])
MEMBER = np.sort(RNG.integers(0, 12, N))[RNG.permutation(N)]
# The order of the names is that of no renaming of the codes.
NAMES = np.array(["k", "a", "z", "c", "y", "b", "x", "d", "w", "e", "v", "f"])
UNSHARED = {"feature_groups": [0, 0, 1, 1]}
ALONE = {**UNSHARED, "hyperpenalty": None}


def searched(last):
    return BilevelSearchCV(make_pipeline(StandardScaler(), last), cv=3)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [
        BilevelLogisticCV(),
        BilevelLogisticCV(cv=3, class_weight="balanced"),
        BilevelLogisticCV(**ALONE),
        BilevelLogisticCV(feature_groups="shared", cv="loo"),
        BilevelLogisticCV(alpha_per_class=True, **ALONE),
        BilevelRidgeClassifierCV(),
        searched(BilevelLogisticCV(**UNSHARED)),
        searched(LogisticRegression()),
        SampleWeightsCV(LogisticRegression(), by="row", cv=3, random_state=0),
    ],
    ids=str,
)
def test_of_classes(model, n_classes):
    if n_classes == 2 and model.get_params().get("alpha_per_class"):
        pytest.skip("two classes have the same strengths")
    codes = CODES if n_classes == 3 else (CODES > 1).astype(int)
    one = clone(model).fit(X, codes)
    other = clone(model).fit(X, NAMES[codes])
    order = np.searchsorted(other.classes_, NAMES[one.classes_])
    known = hasattr(one, "predict_proba")
    if known:
        found, renamed = one.predict_proba(X), other.predict_proba(X)
    else:
        found, renamed = one.decision_function(X), other.decision_function(X)
    if found.ndim == 1:
        assert_allclose(renamed, -found, rtol=1e-6, atol=1e-8)
    else:
        assert_allclose(renamed[:, order], found, rtol=1e-5, atol=1e-6)
    assert (other.predict(X) == NAMES[one.predict(X)]).all()


@pytest.mark.parametrize("criterion", ["evidence", "new-tasks", "known-tasks"])
@pytest.mark.parametrize("kind", [MetaRidge, MetaLogistic])
def test_of_tasks(kind, criterion):
    y = SCORE if kind is MetaRidge else CODES > 1
    model = kind(criterion=criterion, support_sizes=(1, 3), strengths="two")
    if criterion == "evidence":
        model.set_params(strengths="auto")
    one = clone(model).fit(X, y, tasks=MEMBER)
    other = clone(model).fit(X, y, tasks=NAMES[MEMBER])
    order = np.searchsorted(other.tasks_, NAMES[one.tasks_])
    assert_allclose(other.coef_[order], one.coef_, rtol=1e-6, atol=1e-8)
    for name, values in one.hyperpenalty_.items():
        if name in ("score", "error"):
            assert_allclose(other.hyperpenalty_[name], values, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("model", "y"),
    [
        (BilevelRidgeCV(), SCORE),
        (BilevelRidgeCV(hyperpenalty=None), SCORE),
        (BilevelLassoCV(cv=3), SCORE),
        (BilevelLogisticCV(), CODES),
        (BilevelLogisticCV(alpha_per_class=True, hyperpenalty=None), CODES),
        (MetaRidge(strengths="feature"), SCORE),
    ],
    ids=str,
)
def test_of_labels_of_columns(model, y):
    more = {"tasks": MEMBER} if isinstance(model, MetaRidge) else {}
    labels = np.array([0, 1, 1, 2])
    one = clone(model).set_params(feature_groups=labels).fit(X, y, **more)
    other = clone(model).set_params(feature_groups=NAMES[labels]).fit(X, y, **more)
    assert_allclose(other.coef_, one.coef_, rtol=1e-3, atol=1e-3)
    order = np.searchsorted(other.group_labels_, NAMES[one.group_labels_])
    assert_allclose(other.group_alpha_[..., order], one.group_alpha_, rtol=0.1)
