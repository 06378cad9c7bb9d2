"""DeviationsDisplay: which effects differ between tasks, and by how much."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import named_model
from skbilevel.inspection._style import (
    CONTRAST,
    FEW_FEATURES,
    GRAY,
    MAIN,
    legend_above,
    number,
    panels,
    short,
    tidy,
    write_beside,
)

# Dots of more tasks than this are fainter, down to a limit.
_SOLID_TASKS, _FAINTEST = 25, 0.08
# Share of a row that the dots take up and down.
_SPREAD = 0.34
# Places between 0 and 1 that fill it evenly, whatever the number of tasks.
_GOLDEN = 0.5 * (np.sqrt(5.0) - 1.0)
LEVEL = "(level)"


@record
class DeviationsDisplay(Display):
    """Effects of all tasks around those of the centre, the most different on top.

    Every row is an effect, and every dot in it a task: how far its effect is from that
    of the centre. The bar reaches one standard deviation to both sides, as it was
    learned from all tasks. Dots are estimates, which are pulled to the centre, so that
    fewer than a third of them lie beyond the bar; tasks of few rows are pulled most.
    Numbers at the right are the centre and the standard deviation. Effects that all
    tasks share stand below, without dots. Of more than 40 effects the 40 that differ
    most are drawn. Make it by `from_estimator`.

    Parameters
    ----------
    deviations : ndarray of shape (n_tasks, n_effects)
        Effects of the tasks minus those of the centre.
    deviation_std : ndarray of shape (n_effects,)
        Standard deviations of the effects between tasks, 0 where they are shared.
    centre : ndarray of shape (n_effects,)
        Effects of the centre.
    feature_names : ndarray of shape (n_effects,)
        Names of the effects.
    estimator_name : str or None, default=None
        Name in the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the deviations.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    CoefficientsDisplay : Coefficients of one model for all rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import MetaRidge
    >>> from skbilevel.inspection import DeviationsDisplay
    >>> rng = np.random.default_rng(0)
    >>> school = rng.integers(30, size=600)
    >>> X = rng.standard_normal((600, 2))
    >>> slope = 1 + 0.5 * rng.standard_normal(30)
    >>> y = slope[school] * X[:, 0] + X[:, 1] + rng.standard_normal(600)
    >>> model = MetaRidge(strengths="feature").fit(X, y, tasks=school)
    >>> display = DeviationsDisplay.from_estimator(model)
    >>> display.deviations.shape
    (30, 3)
    """

    deviations: Array
    deviation_std: Array
    _: KW_ONLY
    centre: Array
    feature_names: Array
    estimator_name: str | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, feature_names: Any = None, ax: Any = None
    ) -> DeviationsDisplay:
        """Draw the deviations of a fitted model of related tasks.

        The level is an effect, too: the prediction at the mean of the columns.

        Parameters
        ----------
        estimator : estimator
            A fitted MetaRidge or MetaLogistic, or a pipeline or search that ends with
            one.
        feature_names : array-like of shape (n_features,), default=None
            Names; None takes those that the model saw, or those that the steps of the
            pipeline before it make.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.

        Returns
        -------
        display : DeviationsDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator is no model of related tasks, or names do not fit.
        """
        model, names = named_model(estimator, feature_names)
        if not hasattr(model, "deviation_std_"):
            raise ValueError(
                f"{type(model).__name__} has no deviation_std_: the picture is one of "
                "MetaRidge and MetaLogistic."
            )
        deviations, std = model.coef_ - model.centre_, model.deviation_std_
        centre = model.centre_
        if model.fit_intercept:
            middle = model.centre_intercept_ + model.feature_means_ @ centre
            levels = model.intercept_ + model.coef_ @ model.feature_means_
            deviations = np.column_stack([levels - middle, deviations])
            std = np.r_[model.intercept_deviation_std_, std]
            centre, names = np.r_[middle, centre], np.r_[[LEVEL], names]
        display = cls(
            deviations,
            std,
            centre=centre,
            feature_names=names,
            estimator_name=type(model).__name__,
        )
        return display.plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        std = np.asarray(self.deviation_std)
        order = np.argsort(-std, kind="stable")[:FEW_FEATURES]
        size = (6.8, 1.5 + 0.34 * max(len(order), 4))
        self.figure_, axes = panels(ax, (1, 1), size)
        self.ax_ = axes[0, 0]
        self._draw_tasks(order)
        self._draw_numbers(order)
        self.ax_.axvline(0.0, color=GRAY, linewidth=0.8, zorder=0)
        names = [short(self.feature_names[j]) for j in order]
        self.ax_.set_yticks(np.arange(len(order)), names)
        self.ax_.set_ylim(len(order) - 0.4, -0.6)
        left_out = len(std) - len(order)
        more = f" ({left_out} that differ less are left out)" if left_out else ""
        self.ax_.set_xlabel(f"effect of the task minus that of the centre{more}")
        tidy(self.ax_)
        legend_above(self.ax_, max(map(len, names)), self._finding(names[0]))

    def _finding(self, first: str) -> str:
        most = float(np.max(self.deviation_std))
        text = (
            f"{first} differs most between tasks" if most > 0.0 else "No effect differs"
        )
        name = self.estimator_name
        return text if name is None else f"{name}: {text}"

    def _draw_tasks(self, order: Array) -> None:
        """Dots of the tasks over a bar of one standard deviation."""
        n_tasks, std = len(self.deviations), np.asarray(self.deviation_std)
        own = np.flatnonzero(std[order] > 0.0)
        self.ax_.barh(
            own,
            2.0 * std[order][own],
            left=-std[order][own],
            height=2.0 * _SPREAD + 0.12,
            color=CONTRAST,
            alpha=0.3,
            linewidth=0,
            zorder=1,
            label="one standard deviation to both sides",
        )
        across = _SPREAD * (2.0 * (np.arange(1, n_tasks + 1) * _GOLDEN % 1.0) - 1.0)
        dot = {"linestyle": "none", "marker": "o", "color": MAIN, "markeredgewidth": 0}
        self.ax_.plot(
            np.asarray(self.deviations)[:, order[own]].T.ravel(),
            (own[:, None] + across).ravel(),
            markersize=4.5 if n_tasks <= 4 * _SOLID_TASKS else 3.0,
            alpha=float(np.clip((_SOLID_TASKS / n_tasks) ** 0.5, _FAINTEST, 0.8)),
            rasterized=n_tasks > 4 * _SOLID_TASKS,
            zorder=2,
            **dot,
        )
        # Faint dots could not be seen in a legend.
        label = f"{n_tasks:,} task{'s' * (n_tasks > 1)}"
        self.ax_.plot([], markersize=4.5, alpha=0.8, label=label, **dot)

    def _draw_numbers(self, order: Array) -> None:
        """The centre and the standard deviation at the right of the axes."""
        texts = []
        for j in order:
            std = float(self.deviation_std[j])
            spread = f"± {number(std)}" if std > 0.0 else "in all tasks"
            texts.append(f"{number(float(self.centre[j]))} {spread}")
        write_beside(self.ax_, texts)
