"""A program of a user who checks types: it has to pass ``mypy --strict``.

``make lint`` checks it; what it prints does not matter. It stands for all code that
sees the package from outside: without an annotation an attribute is ``Any`` there, and
``assert_type`` fails.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import skbilevel
from skbilevel import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
    BilevelTweedieCV,
    show_versions,
    to_sklearn,
)
from skbilevel.exceptions import BoundaryWarning
from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import (
    LBFGSB,
    SABA,
    ConjugateGradient,
    Counts,
    DoubleLoop,
    ImplicitGradient,
    IterInfo,
    Newton,
    Result,
    Status,
    minimize_bilevel,
)
from skbilevel.testing import check_problem

Array = NDArray[Any]


def regression(X: Array, y: Array) -> Array:
    model = BilevelRidgeCV(hyperpenalty=None, cv=3).fit(X, y, sample_weight=abs(y))
    assert_type(model, BilevelRidgeCV)
    assert_type(model.coef_, Array)
    assert_type(model.alpha_, Array)
    assert_type(model.n_iter_, int)
    assert_type(model.best_score_, float)
    assert_type(model.n_features_in_, int)
    assert_type(model.feature_names_in_, Array)
    assert_type(model.score(X, y), float)
    return model.predict(X)


def classes(X: Array, y: Array) -> Array:
    ridge = BilevelRidgeClassifierCV().fit(X, y)
    assert_type(ridge.predict(X), Array)
    assert_type(ridge.decision_function(X), Array)
    assert_type(ridge.classes_, Array)
    model = BilevelLogisticCV(outer_loss="brier", solver=SABA(max_passes=5)).fit(X, y)
    assert_type(model, BilevelLogisticCV)
    assert_type(model.C_, Array)
    assert_type(model.intercept_, Array)
    assert_type(model.predict_log_proba(X), Array)
    return model.predict_proba(X)


def counts(X: Array, y: Array, exposure: Array) -> list[float]:
    poisson = BilevelPoissonCV().fit(X, y, offset=np.log(exposure))
    assert_type(poisson, BilevelPoissonCV)
    assert_type(poisson.coef_, Array)
    assert_type(poisson.intercept_, float)
    assert_type(poisson.predict(X, offset=np.log(exposure)), Array)
    assert_type(poisson.predict(X, return_std=True), tuple[Array, Array])
    assert_type(poisson.group_alpha_, Array)
    assert_type(poisson.group_labels_, Array)
    others = [BilevelGammaCV().fit(X, y), BilevelTweedieCV(power=1.2).fit(X, y)]
    return [other.score(X, y) for other in others]


def problem(A: Array) -> OracleProblem:
    def value(theta: Array, w: Array) -> float:
        return float(0.5 * w @ A @ w - theta @ w)

    def grad(theta: Array, w: Array) -> Array:
        return np.asarray(A @ w - theta)

    inner = InnerOracles(
        value=value,
        grad=grad,
        hvp=lambda theta, w, v: np.asarray(A @ v),
        cross=lambda theta, w, v: np.asarray(-v),
    )
    outer = OuterOracles(
        value=lambda theta, w: float(0.5 * w @ w), grad=lambda theta, w: w
    )
    return OracleProblem(inner, outer, np.zeros(2), np.ones(2))


def solve(own: OracleProblem) -> Result:
    def stop(info: IterInfo) -> bool:
        return info.value < 1e-8

    solver = DoubleLoop(Newton(), ImplicitGradient(ConjugateGradient()), LBFGSB())
    result = minimize_bilevel(own, solver, on_iter=stop)
    assert_type(result, Result)
    assert_type(result.theta, Array)
    assert_type(result.value, float)
    assert_type(result.status, Status)
    assert_type(result.counts, Counts)
    assert_type(result.message, str)
    return result


run: Callable[[OracleProblem], Result] = solve
assert_type(skbilevel.__version__, str)
assert issubclass(BoundaryWarning, UserWarning)
if __name__ == "__main__":
    show_versions()
    print(run(problem(np.eye(2))), check_problem(problem(np.eye(2))))
    print(to_sklearn(BilevelRidgeCV().fit(np.eye(30), np.arange(30.0))))
