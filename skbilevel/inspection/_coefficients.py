"""CoefficientsDisplay: what many strengths change in the coefficients."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np
from sklearn.base import clone

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import last_step, named_model, output_names, unwrap
from skbilevel.inspection._style import (
    CONTRAST,
    FEW_FEATURES,
    GRAY,
    MAIN,
    NAMED,
    largest_change,
    legend_above,
    list_names,
    panels,
    short,
    tidy,
)

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
# From so many points on, their density is drawn.
_POINTS = 5000
# Axes of different reach make small changes visible, but not more than this.
_STRETCH = 4.0
# Distance of labels in half axes.
_APART = 0.045


@record
class CoefficientsDisplay(Display):
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

    def _draw(self, ax: Any) -> None:
        coef = np.atleast_2d(self.coef)
        reference = np.atleast_2d(self.reference_coef)
        names = np.asarray(self.feature_names, dtype=object)
        outputs = tuple(self.output_names or [""] * len(coef))
        k, p = coef.shape
        if p > FEW_FEATURES or k > _PANELS:
            self.figure_, axes = panels(ax, (1, 1), (7.6, 5.0))
            _draw_points(axes[0, 0], coef, reference, names, outputs, self.labels)
        else:
            size = (3.4 + 3.0 * k, 1.4 + 0.24 * max(p, 5))
            self.figure_, axes = panels(ax, (1, k), size, sharey=True)
            _draw_pairs(axes[0], coef, reference, names, outputs, self.labels)
        self.axes_ = axes.reshape(-1)


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


def _draw_pairs(
    axes: Array,
    coef: Array,
    reference: Array,
    names: Array,
    outputs: tuple[str, ...],
    labels: tuple[str, str],
) -> None:
    """One axes per row of coefficients (k, p), the largest ones on top."""
    size = np.maximum(np.abs(coef), np.abs(reference)).max(axis=0)
    order = np.argsort(-size, kind="stable")
    place = np.arange(len(order))
    for row, ax in enumerate(axes):
        ours, theirs = coef[row, order], reference[row, order]
        removed = ours == 0
        ax.axvline(0.0, color=GRAY, linewidth=0.8, zorder=0)
        ax.hlines(place, theirs, ours, color="0.75", linewidth=1.5, zorder=1)
        ax.plot(theirs, place, "D", color=CONTRAST, mfc="white", ms=5, label=labels[1])
        ax.plot(ours[~removed], place[~removed], "o", color=MAIN, label=labels[0])
        if removed.any():
            ax.plot(
                ours[removed], place[removed], "x", color=MAIN, mew=2, label="removed"
            )
        ax.set_xlabel("coefficient")
        ax.locator_params(axis="x", nbins=6)
        if outputs[row]:
            ax.set_title(short(outputs[row]), fontsize="medium", loc="right")
        ax.grid(axis="y", color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
        tidy(ax)
    shown = [short(names[j]) for j in order]
    axes[0].set_yticks(place, shown)
    axes[0].set_ylim(len(order) - 0.4, -0.6)
    # Several panels are named after their targets.
    title = largest_change(names, reference[0], coef[0]) if len(coef) == 1 else ""
    legend_above(axes[0], max(map(len, shown)), title)


def _draw_points(
    ax: Any,
    coef: Array,
    reference: Array,
    names: Array,
    outputs: tuple[str, ...],
    labels: tuple[str, str],
) -> None:
    """Points of all rows of coefficients (k, p), and the largest changes by name."""
    x, y = reference.reshape(-1), coef.reshape(-1)
    reach = _reaches(x, y)
    style = {"color": GRAY, "linestyle": "--", "linewidth": 1, "zorder": 1}
    ax.axline((0, 0), slope=1, label="unchanged", **style)
    ax.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
    ax.axvline(0.0, color="0.85", linewidth=0.8, zorder=0)
    if len(x) > _POINTS:
        _draw_density(ax, x, y, reach)
    else:
        ax.plot(x, y, "o", color=MAIN, markersize=3.5, alpha=0.6, linestyle="none")
    ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]))
    ax.set(xlabel=f"coefficient, {labels[1]}", ylabel=f"coefficient, {labels[0]}")
    _name_changes(ax, x, y, names, outputs, reach)
    title = largest_change(names, reference[0], coef[0]) if len(coef) == 1 else ""
    legend_above(ax, title=title)
    tidy(ax)


def _reaches(x: Array, y: Array) -> Array:
    """Ends of both axes; the scale is the same unless one has to be stretched."""
    most = np.array([np.abs(x).max(), np.abs(y).max()])
    least = most.max() / _STRETCH
    return np.asarray(1.08 * np.maximum(most, least) if least > 0 else np.ones(2))


def _draw_density(ax: Any, x: Array, y: Array, reach: Array) -> None:
    """Counts in hexagons: one artist, however many points."""
    from matplotlib.colors import LogNorm

    hexagons = ax.hexbin(
        x,
        y,
        gridsize=90,
        extent=(-reach[0], reach[0], -reach[1], reach[1]),
        mincnt=1,
        cmap="Blues",
        # A single point has to be seen, too.
        norm=LogNorm(vmin=0.05, vmax=len(x)),
        linewidths=0.1,
        zorder=2,
    )
    hexagons.set_rasterized(True)


def _name_changes(
    ax: Any,
    x: Array,
    y: Array,
    names: Array,
    outputs: tuple[str, ...],
    reach: Array,
) -> None:
    """Numbers at the points that moved most, and their names beside the axes."""
    change = np.abs(y - x)
    n = min(NAMED + 4, int(np.count_nonzero(change)))
    if not n:
        return
    top = np.argpartition(-change, n - 1)[:n]
    top = top[np.argsort(-change[top], kind="stable")]
    ax.plot(x[top], y[top], "o", color=CONTRAST, markersize=5, mfc="none", zorder=3)
    lines = []
    spots = reach * _free_spots(np.column_stack([x[top], y[top]]) / reach)
    for rank, (e, spot) in enumerate(zip(top, spots, strict=True), start=1):
        style = {"ha": "center", "va": "center", "fontsize": "x-small"}
        ax.text(*spot, str(rank), **style)
        row, j = divmod(int(e), len(names))
        name = short(names[j])
        name = f"{name} ({short(outputs[row])})" if outputs[row] else name
        lines.append(f"{rank}  {name}: {x[e]:.3g} → {y[e]:.3g}")
    list_names(ax, 1.0, "largest changes", lines)


def _free_spots(points: Array) -> Array:
    """Places for short labels near points of [-1, 1]^2, apart from each other."""
    taken = list(points)
    spots = []
    angles = np.radians(np.arange(0, 360, 30))
    for point in points:
        # Away from the diagonal there is room.
        first = np.radians(135.0 if point[1] > point[0] else 315.0)
        turns = sorted(angles, key=lambda turn: min(turn, 2 * np.pi - turn))
        around = [
            point + 0.055 * ring * np.array([np.cos(first + t), np.sin(first + t)])
            for ring in (1, 1.6, 2.2)
            for t in turns
        ]
        room = [min(np.abs(spot - other).max() for other in taken) for spot in around]
        apart = [k for k, distance in enumerate(room) if distance > _APART]
        best = apart[0] if apart else int(np.argmax(room))
        spots.append(around[best])
        taken.append(around[best])
    return np.array(spots)
