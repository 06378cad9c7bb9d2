"""Last steps that a search can tune, and who tunes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import (
    GammaRegressor,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.linear_model import (
    BilevelGammaCV,
    BilevelLogisticCV,
    BilevelPoissonCV,
    BilevelRidgeClassifierCV,
    BilevelRidgeCV,
)
from skbilevel.linear_model._base import BilevelLinearModel

# Options of a last step that speak of single columns.
_BY_COLUMN = ("feature_groups", "feature_metadata", "unpenalized", "alpha_init")
# No solver is asked for more or less than this.
_LARGEST = 1e15


@record
class LastStep:
    """A last step, and the estimator that tunes it.

    Parameters
    ----------
    given : estimator
        The last step as the user gave it.
    tuner : BilevelLinearModel
        A clone of it, or the estimator that stands for it.
    parameter : str or None
        What a grid search would have tuned; None for estimators of this package,
        whose strengths are an attribute.
    constant : float or None
        Size of the column whose penalized coefficient stands for an intercept.
    """

    given: Any
    tuner: BilevelLinearModel
    parameter: str | None
    constant: float | None = None

    @classmethod
    def of(cls, given: Any, cv: Any, n_jobs: Any, verbose: Any) -> LastStep:
        """Raise with a sentence where there is nothing to tune."""
        if isinstance(given, BilevelLinearModel):
            own = {"cv": cv, "n_jobs": n_jobs, "verbose": verbose or None}
            known = given.get_params(deep=False)
            own = {k: v for k, v in own.items() if v is not None and k in known}
            return cls(given, clone(given).set_params(**own), None)
        found = _TUNERS.get(type(given))
        if found is None:
            raise TypeError(_refusal(given))
        make, parameter, kept = found
        _check_plain(given)
        options = {name: getattr(given, name) for name in kept}
        constant = None
        if getattr(given, "solver", None) == "liblinear" and given.fit_intercept:
            constant = float(given.intercept_scaling)
            options["fit_intercept"] = False
        tuner = make(
            feature_groups="shared",
            hyperpenalty=None,
            cv=cv,
            n_jobs=n_jobs,
            verbose=verbose,
            **options,
        )
        return cls(given, tuner, parameter, constant)

    @property
    def make_labels(self) -> Callable[..., Any] | None:
        """What labels any column of a fold, where no other option speaks of columns."""
        tuner = self.tuner
        known = tuner.feature_metadata is None and np.ndim(tuner.alpha_init) == 0
        return (
            tuner.feature_groups if known and callable(tuner.feature_groups) else None
        )

    @property
    def shared(self) -> bool:
        """Whether one strength for all columns does not mind which is which."""
        tuner = self.tuner
        others = _said_of_columns(tuner)[1:]
        shared = isinstance(tuner.feature_groups, str)
        return shared and not any(_speaks_of_columns(each) for each in others)

    @property
    def aligned(self) -> bool:
        """Whether folds have to have the columns of the full data."""
        if self.shared:
            return False
        given = _said_of_columns(self.tuner)
        single = any(_speaks_of_columns(each) for each in given)
        single = single or callable(self.tuner.feature_groups)  # makes labels of them
        return single or not isinstance(self.tuner.hyperpenalty, str)

    def found(self) -> float:
        """The parameter as the fitted tuner has it."""
        alpha = np.ravel(self.tuner.alpha_)
        return float(self.strengths(alpha[:1])[0]) if alpha.size else 1.0

    def strengths(self, alpha: Array) -> Array:
        """Values of the parameter from strengths."""
        bounded = np.clip(alpha, 1.0 / _LARGEST, _LARGEST)
        return np.asarray(1.0 / bounded if self.parameter == "C" else bounded)

    def fitted(self, value: Any) -> Any:
        """The last step with a value of the parameter and the tuner's coefficients.

        Its own solver, stopped where its ``tol`` says, may end at another model than
        the one that was scored.
        """
        if self.parameter is None:
            return self.tuner
        last = clone(self.given).set_params(**{self.parameter: value})
        params = last.get_params(deep=False)
        for name, learned in vars(self.tuner._plain_model()).items():
            if name not in params:
                setattr(last, name, learned)
        is_ridge = isinstance(last, Ridge | RidgeClassifier)
        if is_ridge and np.ndim(last.coef_) == 2 and len(last.coef_) == 1:
            # Releases of scikit-learn differ in the shape of a column of targets.
            column = Ridge().fit(np.zeros((2, 1)), np.zeros((2, 1)))
            last.coef_ = last.coef_.reshape(*column.coef_.shape[:-1], -1)
        return last


_OF_CLASSIFIERS = ("fit_intercept", "class_weight", "random_state")
# Who tunes which parameter of a model, and what it takes over from it.
_TUNERS: dict[type, tuple[Any, str, tuple[str, ...]]] = {
    Ridge: (BilevelRidgeCV, "alpha", ("fit_intercept", "random_state")),
    RidgeClassifier: (BilevelRidgeClassifierCV, "alpha", _OF_CLASSIFIERS),
    LogisticRegression: (BilevelLogisticCV, "C", _OF_CLASSIFIERS),
    PoissonRegressor: (BilevelPoissonCV, "alpha", ("fit_intercept",)),
    GammaRegressor: (BilevelGammaCV, "alpha", ("fit_intercept",)),
}


def _said_of_columns(tuner: Any) -> list[Any]:
    """Values of the options, and a share of the l1 norm that is no word."""
    share = getattr(tuner, "l1_ratio", None)
    options = [getattr(tuner, name) for name in _BY_COLUMN]
    return [*options, None if isinstance(share, str) else share]


def _speaks_of_columns(value: Any) -> bool:
    if value is None or callable(value):
        return False
    return np.ndim(value) > 0 or not isinstance(value, int | float)


def _check_plain(given: Any) -> None:
    """Raise where the last step is penalized by something else than one L2 norm."""
    name = type(given).__name__
    given._validate_params()
    if getattr(given, "positive", False):
        raise ValueError(
            f"{name}(positive=True) is not a smooth function of alpha and cannot be "
            "searched by its gradient; use GridSearchCV."
        )
    if np.ndim(getattr(given, "alpha", 0.0)):
        raise ValueError(
            f"{name} has an array as alpha, but one strength for all targets is "
            "searched: give a number, or BilevelRidgeCV(alpha_per_target=True)."
        )
    if isinstance(given, LogisticRegression):
        penalty, l1_ratio = given.penalty, given.l1_ratio or 0.0
        if penalty not in ("deprecated", "l2") or l1_ratio != 0.0:
            raise ValueError(
                f"{name} with penalty={penalty!r}, l1_ratio={given.l1_ratio!r} is not "
                "an L2 penalty and cannot be searched by the gradient in C; use "
                "GridSearchCV, or l1_ratio=0 for the L2 penalty."
            )
        if given.dual and given.solver != "liblinear":
            raise ValueError(
                f"{name} with dual=True needs solver='liblinear'; set dual=False."
            )
        coupling = getattr(given, "multi_class", "deprecated")
        if coupling not in ("deprecated", "auto"):
            raise ValueError(
                f"{name} with multi_class={coupling!r} is not the model that is "
                "searched; leave multi_class at its default."
            )


def check_classes(given: Any, y: Any) -> None:
    """Raise where the last step couples several classes in another way."""
    if getattr(given, "solver", None) != "liblinear" or len(np.unique(y)) < 3:
        return
    raise ValueError(
        f"{type(given).__name__}(solver='liblinear') is a model of two classes; set "
        "solver='lbfgs' for more."
    )


def _refusal(given: Any) -> str:
    if isinstance(given, type):
        return (
            f"The last step is the class {given.__name__}; give an instance, "
            f"{given.__name__}()."
        )
    known = [each.__name__ for each in _TUNERS]
    name = type(given).__name__
    hint = ""
    if name in ("RidgeCV", "LogisticRegressionCV", "RidgeClassifierCV"):
        hint = f" Give {name.removesuffix('CV')}, or a Bilevel estimator, instead."
    return (
        f"BilevelSearchCV cannot tune {name}: the last step has to be an estimator of "
        f"skbilevel or one of scikit-learn's {', '.join(known[:-1])} and {known[-1]}, "
        f"whose solution is a smooth function of its strength.{hint}"
    )
