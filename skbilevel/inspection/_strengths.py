"""StrengthsDisplay: how strongly each feature is shrunk."""

from __future__ import annotations

from dataclasses import KW_ONLY, replace
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection import _strength_curves, _strength_dots
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import (
    labels_of,
    named_model,
    output_names,
    shared_strengths,
    single_strength,
    strengths_of,
)
from skbilevel.inspection._strength_content import Content
from skbilevel.inspection._style import FEW_FEATURES, LONGEST_NAME, panels, shorten


@record
class StrengthsDisplay(Display):
    """Strengths of the features, sorted, beside the best shared strength.

    Up to 40 features get a line each, with their names. More are drawn as a curve over
    the share of features, and the ones that are shrunk most and least are named.
    Where the model has one strength per label of ``feature_groups``, the labels take
    the place of the features, with the number of features behind each name.
    Removed features (infinite strength) and unpenalized ones (zero) have a place of
    their own at the ends of the logarithmic axis. Make it by `from_estimator`.

    Parameters
    ----------
    strengths : ndarray of shape (n_features,) or (n_outputs, n_features)
        Strengths; inf for removed features, 0 for unpenalized ones.
    feature_names : ndarray of shape (n_features,)
        Names of the features.
    shared_strengths : ndarray of the shape of ``strengths`` or None, default=None
        Strengths to compare with, usually the same number everywhere.
    feature_groups : ndarray of shape (n_features,) or None, default=None
        Labels that colour the features.
    output_names : sequence of str or None, default=None
        Targets or classes that the rows of ``strengths`` belong to.
    unit : str, default="alpha"
        What a strength is called.
    one_per_group : bool, default=False
        Whether features of one label share a strength; labels are then drawn.
    estimator_name : str or None, default=None
        Name in the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the strengths.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    CoefficientsDisplay : What the strengths do to the coefficients.
    GuardPathDisplay : Which candidates the strengths were averaged from.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skbilevel import BilevelRidgeCV
    >>> from skbilevel.inspection import StrengthsDisplay
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> display = StrengthsDisplay.from_estimator(BilevelRidgeCV().fit(X, y))
    >>> display.ax_.get_xscale()
    'log'
    """

    strengths: Array
    _: KW_ONLY
    feature_names: Array
    shared_strengths: Array | None = None
    feature_groups: Array | None = None
    output_names: Any = None
    unit: str = "alpha"
    one_per_group: bool = False
    estimator_name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_names: Any = None,
        feature_groups: Any = None,
        reference: Any = None,
        ax: Any = None,
    ) -> StrengthsDisplay:
        """Draw the strengths of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A fitted model of skbilevel, or a pipeline or search that ends with one.
        feature_names : array-like of shape (n_features,), default=None
            Names; None takes those that the model saw, or those that the steps of the
            pipeline before it make.
        feature_groups : array-like of shape (n_features,), default=None
            Labels that colour the features, or name the strengths of a model that has
            one per label; None takes those of the model.
        reference : float or estimator, default=None
            One strength for all features to compare with, or a fitted model that has
            one, such as RidgeCV. None takes the shared strength of the guard; a fit
            without the guard reports none.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : StrengthsDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator has one strength for all, or names or labels do not fit.
        """
        model, names = named_model(estimator, feature_names)
        alpha = strengths_of(model)
        shared = (
            shared_strengths(model, alpha)
            if reference is None
            else np.where(alpha > 0, single_strength(reference), 0.0)
        )
        flat = len(alpha) == 1
        display = cls(
            alpha[0] if flat else alpha,
            feature_names=names,
            shared_strengths=shared[0] if flat and shared is not None else shared,
            feature_groups=labels_of(estimator, feature_groups, names),
            output_names=None if flat else output_names(model, len(alpha)),
            unit="alpha = 1 / C" if hasattr(model, "C_") else "alpha",
            one_per_group=hasattr(model, "group_labels_"),
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        content = self._content()
        p = len(content.names)
        few = p <= FEW_FEATURES
        size = (6.4, 1.4 + 0.24 * max(p, 5)) if few else (8.0, 4.6)
        self.figure_, axes = panels(ax, (1, 1), size)
        self.ax_ = axes[0, 0]
        draw = _strength_dots.draw if few else _strength_curves.draw
        draw(self.ax_, content)

    def _content(self) -> Content:
        strengths = np.atleast_2d(self.strengths)
        shared = self.shared_strengths
        if shared is not None and not np.atleast_2d(shared > 0).any(axis=1).all():
            shared = None  # nothing is penalized
        content = Content(
            strengths,
            np.asarray(self.feature_names, dtype=object),
            None if shared is None else np.atleast_2d(shared),
            None if self.feature_groups is None else np.asarray(self.feature_groups),
            tuple(self.output_names or [""] * len(strengths)),
            self.unit,
            "Strengths" if self.estimator_name is None else self.estimator_name,
        )
        return (by_label(content) if self.one_per_group else None) or content


def by_label(content: Content) -> Content | None:
    """The same strengths with one entry per label, named with its features.

    Unpenalized features have no part in their label; they become one entry of their
    own. The result is None where the labels do not say more than the features do:
    a single label, labels of one feature each, or strengths that differ within one.
    """
    if content.groups is None:
        return None
    penalized = np.flatnonzero((content.strengths > 0).any(axis=0))
    labels, first, members, sizes = np.unique(
        content.groups[penalized],
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    if not 2 <= len(labels) < len(penalized):
        return None
    chosen = penalized[first]
    tables = [content.strengths, content.shared]
    for table in tables:
        if table is not None and not _alike(
            table[:, penalized], table[:, chosen][:, members.reshape(-1)]
        ):
            return None
    names = [_counted(label, n) for label, n in zip(labels, sizes, strict=True)]
    free = np.setdiff1d(np.arange(len(content.names)), penalized)
    if len(free):
        names.append(_unpenalized(content.names[free]))
        chosen = np.append(chosen, free[0])
    return replace(
        content,
        strengths=content.strengths[:, chosen],
        names=np.array(names, dtype=object),
        shared=None if content.shared is None else content.shared[:, chosen],
        groups=None,
        entries="labels",
    )


def _alike(values: Array, others: Array) -> bool:
    return bool(np.allclose(values, others, rtol=1e-6, atol=0.0))


def _counted(label: object, n: int) -> str:
    """A label and the number of its features, which is never cut off."""
    count = f" ({n:,})"
    return shorten(label, LONGEST_NAME - len(count)) + count


def _unpenalized(names: Array) -> str:
    if len(names) == 1:
        return f"{shorten(names[0], LONGEST_NAME - 4)} (1)"
    return f"unpenalized columns ({len(names):,})"
