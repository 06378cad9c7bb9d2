"""CoefficientsDisplay: what many strengths change in the coefficients."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np
from sklearn.base import clone

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.inspection._coefficient_axes import draw_pairs, draw_points
from skbilevel.inspection._fitted import last_step, named_model, output_names, unwrap
from skbilevel.inspection._style import FEW_FEATURES, panels

# What cannot go with one strength for all, or says how many of them are found.
_SINGLE = {
    "feature_groups": "shared",
    "feature_metadata": None,
    "alpha_init": None,
    "alpha_per_class": False,
    "alpha_per_target": False,
    "solver": "auto",
}

# Targets or classes up to which each gets axes of its own.
_PANELS = 4


@record
class CoefficientsDisplay(Versioned):
    """Coefficients beside those of the model with a single strength.

    Up to 40 features (of at most four targets or classes) are drawn as pairs of dots
    with names, more as one point each: the coefficient of the single-strength model
    along x, the other one along y, with the largest changes named. Make it by
    `from_estimator`.

    Parameters
    ----------
    coef : ndarray of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    reference_coef : ndarray of the same shape
        Coefficients of the single-strength model.
    feature_names : ndarray of shape (n_features,)
        Names of the features.
    output_names : sequence of str or None, default=None
        Targets or classes that the rows of ``coef`` belong to.
    labels : tuple of two str, default=("many strengths", "one strength")
        What the two models are called.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        One for each target or class, or one for all.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    StrengthsDisplay : The strengths behind the changes.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skbilevel import BilevelRidgeCV
    >>> from skbilevel.inspection import CoefficientsDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> model = BilevelRidgeCV().fit(X, y)
    >>> display = CoefficientsDisplay.from_estimator(model, X, y)
    >>> display.reference_coef.shape
    (10,)
    """

    coef: Array
    reference_coef: Array
    _: KW_ONLY
    feature_names: Array
    output_names: Any = None
    labels: tuple[str, str] = ("many strengths", "one strength")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        reference: Any = None,
        feature_names: Any = None,
        ax: Any = None,
        **fit_params: Any,
    ) -> CoefficientsDisplay:
        """Draw the coefficients of a fitted estimator and of a reference.

        Parameters
        ----------
        estimator : estimator
            A fitted model of skbilevel, or a pipeline or search that ends with one.
        X : array-like of shape (n_samples, n_features), default=None
            Rows that the estimator was fitted on, as they went into it. The same
            estimator with ``feature_groups="shared"`` is fitted on them.
        y : array-like, default=None
            Their targets.
        reference : estimator, default=None
            A fitted linear model that takes its place; X and y are not needed then. It
            has to see the features in the same units.
        feature_names : array-like of shape (n_features,), default=None
            Names; None takes those that the model saw, or those that the steps of the
            pipeline before it make.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **fit_params : dict
            Passed to the fit of the single-strength model, ``sample_weight`` for
            instance.

        Returns
        -------
        display : CoefficientsDisplay
            The picture.

        Raises
        ------
        ValueError
            If there is neither a reference nor data to fit one, or if its coefficients
            have another shape.
        """
        model, names = named_model(estimator, feature_names)
        if reference is None:
            other = fit_single_strength(estimator, X, y, fit_params)
            label = "one shared strength"
        else:
            other = last_step(reference)
            alike = type(other) is type(model)
            label = type(other).__name__ + (" (reference)" if alike else "")
        coef, reference_coef = (np.atleast_2d(m.coef_) for m in (model, other))
        if coef.shape != reference_coef.shape:
            raise ValueError(
                f"The coefficients of {type(other).__name__} have shape "
                f"{reference_coef.shape}, those of {type(model).__name__} {coef.shape}."
            )
        flat = len(coef) == 1
        display = cls(
            coef[0] if flat else coef,
            reference_coef[0] if flat else reference_coef,
            feature_names=names,
            output_names=None if flat else output_names(model, len(coef)),
            labels=(type(model).__name__, label),
        )
        return display.plot(ax=ax)

    def plot(self, *, ax: Any = None) -> CoefficientsDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes or one per target, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : CoefficientsDisplay
            The picture itself.
        """
        coef = np.atleast_2d(self.coef)
        reference = np.atleast_2d(self.reference_coef)
        names = np.asarray(self.feature_names, dtype=object)
        outputs = tuple(self.output_names or [""] * len(coef))
        k, p = coef.shape
        if p > FEW_FEATURES or k > _PANELS:
            self.figure_, axes = panels(ax, (1, 1), (7.6, 5.0))
            draw_points(axes[0, 0], coef, reference, names, outputs, self.labels)
        else:
            size = (3.4 + 3.0 * k, 1.4 + 0.24 * max(p, 5))
            self.figure_, axes = panels(ax, (1, k), size, sharey=True)
            draw_pairs(axes[0], coef, reference, names, outputs, self.labels)
        self.axes_ = axes.reshape(-1)
        return self


def fit_single_strength(
    estimator: Any, X: Any, y: Any, fit_params: dict[str, Any]
) -> Any:
    """Fit the last step again, with one strength, on the data it has seen.

    Parameters
    ----------
    estimator : estimator
        The fitted model, or what it stands in.
    X, y : array-like
        Rows and targets as they went into ``estimator``.
    fit_params : dict
        Passed to the fit.
    """
    model, before = unwrap(estimator)
    model = clone(model)
    names = model.get_params(deep=False)
    if not {"feature_groups", "hyperpenalty"} <= set(names):
        raise ValueError(
            f"{type(model).__name__} cannot be fitted again with one shared strength; "
            "pass a fitted reference."
        )
    if X is None or y is None:
        raise ValueError(
            "Pass the X and y that the estimator was fitted on, from which the model "
            "with a single strength is made, or a fitted reference."
        )
    model.set_params(**{k: v for k, v in _SINGLE.items() if k in names})
    if isinstance(names.get("hyperpenalty"), tuple):
        model.set_params(hyperpenalty=None)
    for steps in before:
        X = steps.transform(X)
    return model.fit(X, y, **fit_params)
