"""TermsDisplay: the curves and levels of an additive model."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np
from scipy.special import ndtri

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import last_step
from skbilevel.inspection._style import (
    COLORS,
    FEW_FEATURES,
    GRAY,
    MAIN,
    panels,
    plain,
    short,
    tidy,
)
from skbilevel.inspection._term_content import contributions

# Terms whose range is below this share of the largest have vanished.
_VANISHED = 0.01
# Of a number with so few values each one gets a dot.
_FEW_VALUES = 12
# Of so few every one stands at the axis.
_ALL_TICKS = 4
# Categories with a name below their dot, and the length of it.
_NAMED_LEVELS, _LEVEL_LENGTH = 14, 10
# Rows whose values are marked below a curve.
_RUG = 200
# Rows of each part of a term of two columns that are drawn.
_POINTS = 400
_LINE_LENGTH = 50
# How dark a band is.
_BAND = 0.22


@record
class TermsDisplay(Display):
    """What every term of an additive model adds to the prediction, one panel a term.

    The terms with the largest range come first. Bands hold 95 % of what the rows leave
    open of a curve, point by point, at the strengths that were learned. All panels have
    the same vertical axis, so that what is flat matters little. Curves are drawn
    through the rows of X, and the ticks below mark 200 of these; categories are dots,
    from the smallest effect to the largest. Effects are those around the mean of the
    rows. A dotted line is the level of missing values. Terms whose range is below 1 %
    of the largest one have vanished: they are named in one line below, as are terms
    made of more than two columns, which have no axis. One of two numbers has an axis
    for that with more values, and colours for low, middle and high values of the other.
    Of more than 40 terms the 40 largest are drawn. Make it by `from_estimator`.

    Parameters
    ----------
    effects : ndarray of shape (n_samples, n_terms)
        What every term adds in every row.
    values : list of ndarray of shape (n_samples,) or (n_samples, 2), or None
        Values of the column that the term is made of, or of two numeric ones; None for
        a term of others.
    term_names : ndarray of shape (n_terms,)
        Names of the terms.
    scale : str, default="prediction"
        What the terms add to.
    stds : ndarray of shape (n_samples, n_terms) or None, default=None
        Standard deviations of the effects; None draws no bands.
    level : float, default=0.95
        Share of normal deviations that a band holds.
    estimator_name : str or None, default=None
        Name in the title.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Axes of the terms that are drawn, the largest first.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    StrengthsDisplay : The strengths of the terms.
    skbilevel.make_additive : Makes the model.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import BilevelRidgeCV, make_additive
    >>> from skbilevel.inspection import TermsDisplay
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 6, (200, 2))
    >>> y = np.sin(X[:, 0]) + 0.5 * X[:, 1] + 0.2 * rng.standard_normal(200)
    >>> model = make_additive(BilevelRidgeCV()).fit(X, y)
    >>> display = TermsDisplay.from_estimator(model, X)
    >>> display.effects.shape
    (200, 2)
    """

    effects: Array
    values: list[Array | None]
    _: KW_ONLY
    term_names: Array
    scale: str = "prediction"
    stds: Array | None = None
    level: float = 0.95
    estimator_name: str | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        *,
        target: int = 0,
        level: float | None = 0.95,
        ax: Any = None,
    ) -> TermsDisplay:
        """Draw the terms of a fitted model on the rows of a table.

        Parameters
        ----------
        estimator : estimator
            A fitted pipeline of transformers and a linear model, as `make_additive`
            makes, or a search over one. Of related tasks the centre is drawn.
        X : array-like or data frame of shape (n_samples, n_features)
            Rows as the pipeline takes them, those of the fit or others.
        target : int, default=0
            Which target or class, where there are several.
        level : float or None, default=0.95
            Share of normal deviations that the bands hold, around the mean over the
            rows; None draws none. A band is ``contrast_std`` of the model times a
            quantile. It takes the strengths as known, and is left out where the model
            is none of this package or was too large to keep a covariance.
        ax : matplotlib Axes or array-like of these, default=None
            Where to draw; one is divided. None makes a figure.

        Returns
        -------
        display : TermsDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator is no such pipeline, there is no such target, or ``level``
            is not between 0 and 1.
        """
        if level is not None and not 0.0 < level < 1.0:
            raise ValueError(f"level={level} is a share between 0 and 1, or None.")
        display = cls(
            **contributions(estimator, X, target, level is not None),
            level=0.95 if level is None else level,
            estimator_name=type(last_step(estimator)).__name__,
        )
        return display.plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        drawn, notes = self._shown()
        n = max(1, len(drawn))
        columns = n if n <= 3 else 2 if n == 4 else 3 if n <= 9 else 5
        rows = -(-n // columns)
        width = 2.9 if columns < 5 else 2.2
        size = (max(4.0, width * columns), 0.7 + 0.75 * width * rows)
        self.figure_, axes = panels(ax, (rows, columns), size, sharey=True)
        for place in axes.ravel()[len(drawn) :]:
            place.set_axis_off()
        self.axes_ = axes.ravel()[: len(drawn)]
        for place, j in zip(self.axes_, drawn, strict=True):
            self._draw_term(place, j)
        for place in axes[:, 0]:
            place.set_ylabel(plain(self.scale), fontsize="small")
        if ax is None and self.estimator_name is not None:
            title = f"What each term adds: {self.estimator_name}"
            if len(drawn):
                most = short(self.term_names[drawn[0]])
                title = f"{self.estimator_name}: {most} moves the prediction most"
            self.figure_.suptitle(title, fontsize="medium", x=0.01, ha="left")
        if notes and ax is None:
            self.figure_.supxlabel(notes, fontsize="small", x=0.01, ha="left")
        elif notes:
            axes[-1, 0].annotate(
                notes, (0.0, -0.4), xycoords="axes fraction", fontsize="small"
            )

    def _shown(self) -> tuple[Array, str]:
        """Terms to be drawn, the largest first, and a line about the others."""
        spread = np.ptp(self.effects, axis=0)
        order = np.argsort(-spread, kind="stable")
        alone = np.array([self.values[j] is not None for j in order], dtype=bool)
        gone = spread[order] <= _VANISHED * spread.max(initial=0.0)
        drawn = order[alone & ~gone]
        notes = [
            ("vanished", order[gone]),
            ("of several columns", order[~alone & ~gone]),
            ("smaller, and left out", drawn[FEW_FEATURES:]),
        ]
        texts = (f"{what}: {self._listed(each)}" for what, each in notes if len(each))
        return drawn[:FEW_FEATURES], "; ".join(texts)

    def _listed(self, terms: Array) -> str:
        """Names of terms, as many as fit into a line."""
        names = [short(self.term_names[j], 14) for j in terms]
        kept = 1
        while kept < len(names) and len(", ".join(names[: kept + 1])) < _LINE_LENGTH:
            kept += 1
        more = f" and {len(names) - kept} more" if kept < len(names) else ""
        return ", ".join(names[:kept]) + more

    def _draw_term(self, ax: Any, j: int) -> None:
        x, effect = np.asarray(self.values[j]), self.effects[:, j]
        half = np.zeros(len(x)) if self.stds is None else self.stds[:, j]
        half = half * ndtri(0.5 + 0.5 * self.level)
        ax.axhline(0.0, color=GRAY, linewidth=0.6, zorder=0)
        if x.ndim == 2:
            _draw_pair(ax, x, effect, str(self.term_names[j]).split(" & "))
        elif x.dtype.kind in "biuf":
            _draw_number(ax, x.astype(float), effect, half)
        else:
            _draw_levels(ax, x, effect, half)
        name = short(self.term_names[j])
        ax.set_title(name, fontsize="small", loc="left")
        ax.tick_params(labelsize="x-small")
        tidy(ax)


def _draw_number(ax: Any, x: Array, effect: Array, half: Array) -> None:
    """A curve through the values with its band, and marks where these are."""
    known = np.isfinite(x)
    values, first = np.unique(x[known], return_index=True)
    few = len(values) <= _FEW_VALUES
    style = {"marker": "o", "markersize": 3.5, "linewidth": 0.8} if few else {}
    curve, width = effect[known][first], half[known][first]
    _draw_band(ax, values, curve, width)
    ax.plot(values, curve, color=MAIN, **style)
    if len(values) <= _ALL_TICKS:
        ax.set_xticks(values, [f"{each:g}" for each in values])
    marked = np.sort(x[known])
    marked = marked[np.linspace(0, len(marked) - 1, min(len(marked), _RUG)).astype(int)]
    ax.plot(
        marked,
        np.full(len(marked), 0.02),
        transform=ax.get_xaxis_transform(),
        linestyle="none",
        marker="|",
        markersize=4,
        markeredgewidth=0.5,
        color="0.3",
        alpha=0.6,
    )
    if not known.all():
        level = float(np.mean(effect[~known]))
        around = float(np.mean(half[~known]))
        if around:
            ends = (level - around, level + around)
            ax.axhspan(*ends, color=MAIN, alpha=_BAND / 2, linewidth=0)
        ax.axhline(level, color=MAIN, linestyle=":", linewidth=1.0)
        ax.text(
            0.99,
            level,
            "missing",
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize="x-small",
        )


def _draw_pair(ax: Any, x: Array, effect: Array, names: list[str]) -> None:
    """Effects along the column of more values, in parts of the other one."""
    known = np.isfinite(x).all(axis=1)
    counts = [len(np.unique(each)) for each in x[known].T]
    along = int(np.argmax(counts))
    place, other = x[known, along], x[known, 1 - along]
    name = names[1 - along] if len(names) == 2 else "the other"
    labels: tuple[str, ...] = ("low", "middle", "high")
    part = np.searchsorted(np.quantile(other, [1 / 3, 2 / 3]), other)
    if min(counts) <= len(labels):
        values, part = np.unique(other, return_inverse=True)
        labels = tuple(f"{value:g}" for value in values)
    for k, label in enumerate(labels):
        own = np.flatnonzero(part == k)
        own = own[np.argsort(place[own], kind="stable")]
        own = own[np.linspace(0, len(own) - 1, min(len(own), _POINTS)).astype(int)]
        ax.plot(
            place[own],
            effect[known][own],
            linestyle="none",
            marker=".",
            markersize=3,
            color=COLORS[k],
            label=f"{short(name, 12)} {label}",
        )
    ax.legend(fontsize="x-small", frameon=False, markerscale=2, handlelength=0.8)


def _draw_band(ax: Any, x: Array, curve: Array, width: Array) -> None:
    if width.any():
        ends = (curve - width, curve + width)
        ax.fill_between(x, *ends, color=MAIN, alpha=_BAND, linewidth=0)


def _draw_levels(ax: Any, x: Array, effect: Array, half: Array) -> None:
    """A dot for every category, from the smallest effect to the largest."""
    levels, first = np.unique(x.astype(str), return_index=True)
    order = np.argsort(effect[first], kind="stable")
    places = np.arange(len(order))
    ax.vlines(places, 0.0, effect[first][order], color=MAIN, linewidth=0.8)
    ax.plot(places, effect[first][order], "o", color=MAIN, markersize=3.5)
    if half.any():
        ends = effect[first][order] + np.outer([-1.0, 1.0], half[first][order])
        ax.vlines(places, *ends, color=MAIN, linewidth=3.0, alpha=_BAND)
    if len(order) > _NAMED_LEVELS:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(order)} categories", fontsize="x-small")
        return
    names = [short(levels[k], _LEVEL_LENGTH) for k in order]
    wide = sum(map(len, names)) > 24
    ax.set_xticks(places, names, rotation=90 if wide else 0)
    ax.set_xlim(-0.6, len(order) - 0.4)
