"""Estimators to time side by side, built from one place with one set of settings.

A contender is a function of (X, y) that fits and returns something with
``coef_``. Those whose package is not installed raise ImportError when built.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from _peers import ALPHAS, RATIOS
from sklearn.linear_model import (
    ARDRegression,
    ElasticNetCV,
    LassoCV,
    Ridge,
    RidgeCV,
)
from sklearn.model_selection import GridSearchCV, KFold

Fit = Callable[[np.ndarray, np.ndarray], Any]


def ours(**params: Any) -> Fit:
    """Fit BilevelRidgeCV."""
    from skbilevel import BilevelRidgeCV

    return lambda X, y: BilevelRidgeCV(**params).fit(X, y)


def logistic() -> Fit:
    """Fit BilevelLogisticCV."""
    from skbilevel import BilevelLogisticCV

    return lambda X, y: BilevelLogisticCV().fit(X, y)


def ridge_cv() -> Fit:
    """Fit RidgeCV: closed-form leave-one-out over 41 strengths."""
    return lambda X, y: RidgeCV(ALPHAS).fit(X, y)


def grid_search() -> Fit:
    """Fit a grid search of Ridge over the same 41 strengths."""
    return lambda X, y: GridSearchCV(Ridge(), {"alpha": ALPHAS}, cv=5).fit(X, y)


def lasso_cv() -> Fit:
    """Fit LassoCV with its default grid."""
    return lambda X, y: LassoCV(n_jobs=1).fit(X, y)


def elastic_net_cv() -> Fit:
    """Fit ElasticNetCV with four ratios and its default grids."""
    return lambda X, y: ElasticNetCV(l1_ratio=list(RATIOS), n_jobs=1).fit(X, y)


def ard() -> Fit:
    """Fit ARDRegression: one precision per feature by evidence."""
    return lambda X, y: ARDRegression().fit(X, y)


def himalaya(groups: np.ndarray, n_iter: int) -> Fit:
    """Fit himalaya's banded ridge by random search over the groups' weights."""
    from himalaya.backend import set_backend
    from himalaya.ridge import GroupRidgeCV

    set_backend("numpy")
    options = {"n_iter": n_iter, "alphas": np.logspace(-3, 5, 20)}
    options["progress_bar"] = False

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        model = GroupRidgeCV(
            groups=groups,
            solver="random_search",
            solver_params=options,
            cv=KFold(5, shuffle=True, random_state=0),
            fit_intercept=True,
            random_state=0,
        )
        return model.fit(X, y)

    return fit


def glum_cv() -> Fit:
    """Fit glum's cross-validated ridge with one strength."""
    from glum import GeneralizedLinearRegressorCV

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        grid = list(np.logspace(-5, 3, 41)[::-1])
        folds = KFold(5, shuffle=True, random_state=0)
        return GeneralizedLinearRegressorCV(
            family="normal", l1_ratio=0, cv=folds, alphas=grid
        ).fit(X, y)

    return fit


class GroupFolds:
    """Five-fold error of ridge with one strength per group, Grams cached."""

    def __init__(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray):
        self.groups = groups
        folds = KFold(5, shuffle=True, random_state=0).split(X)
        self.folds = [self._moments(X, y, train, test) for train, test in folds]

    @staticmethod
    def _moments(X, y, train, test) -> tuple:
        X_mean, y_mean = X[train].mean(axis=0), y[train].mean()
        A, b = X[train] - X_mean, y[train] - y_mean
        return A.T @ A, A.T @ b, X[test] - X_mean, y[test] - y_mean

    def error(self, log_alpha: np.ndarray) -> float:
        """Return the mean squared validation error."""
        ridge = np.diag(np.exp(log_alpha)[self.groups])
        errors = [
            np.mean((y - X @ np.linalg.solve(G + ridge, c)) ** 2)
            for G, c, X, y in self.folds
        ]
        return float(np.mean(errors))


def optuna(groups: np.ndarray, n_trials: int) -> Fit:
    """Search one strength per group by TPE; the objective is as fast as numpy is."""
    import optuna as package

    package.logging.set_verbosity(package.logging.ERROR)
    names = [f"group{k}" for k in range(int(groups.max()) + 1)]
    low, high = np.log(ALPHAS[0]), np.log(ALPHAS[-1])

    def fit(X: np.ndarray, y: np.ndarray) -> Any:
        folds = GroupFolds(X, y, groups)

        def objective(trial: Any) -> float:
            return folds.error(
                np.array([trial.suggest_float(name, low, high) for name in names])
            )

        study = package.create_study(sampler=package.samplers.TPESampler(seed=0))
        study.optimize(objective, n_trials=n_trials)
        best = np.array([study.best_params[name] for name in names])
        scale = np.exp(-0.5 * best)[groups]
        model = Ridge(alpha=1.0).fit(X * scale, y)
        model.coef_ = model.coef_ * scale
        return model

    return fit


def product() -> Fit:
    """Form the Gram matrix once: the least any method that sees all rows pays."""
    return lambda X, y: X.T @ X
