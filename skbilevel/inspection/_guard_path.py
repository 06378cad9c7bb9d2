"""GuardPathDisplay: the candidates of the guard and what was made of them."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import last_step, search_report
from skbilevel.inspection._style import COLORS, GRAY, legend_above, panels, tidy

_WORDS = {
    "shared": "one shared\nstrength",
    "stronger": "a stronger\nshared one",
    "half": "tuned on\nrandom halves",
    "folds": "tuned on the\nfolds inside",
    "evidence": "tuned by the\nlikelihood",
    "single": "single columns\nalone",
    "elastic_net": "from the\nelastic net",
    "refit": "kept by the\nelastic net",
    "adaptive": "a second\nstage",
    "metadata": "by\nmetadata",
    "deviations": "metadata and\ndeviations",
}
_CONTINUED = {"metadata_": "metadata,\n", "class_": "by class,\n"}
# The share of the largest weight from which on a candidate sets the limits.
_COUNTS = 0.1
# A share of the score below which a difference is one of rounding.
_ROUNDING = 1e-9


@record
class GuardPathDisplay(Display):
    """Nested score of every candidate of the guard, and its weight in the average.

    A candidate is a set of strengths. Candidates stand side by side, family by family,
    from timid to bold. The upper axes show what each gains over one shared strength on
    rows that it has not seen, with the standard error of this difference; the lower
    ones its weight. A candidate that is worse alone can have a weight, because its
    errors are others; those without one are drawn hollow. A triangle at the lower edge
    stands for one that is far worse. Make it by `from_estimator`.

    Parameters
    ----------
    family : ndarray of shape (n_candidates,)
        Family of every candidate; the first is "shared".
    value : ndarray of shape (n_candidates,)
        Its hyperpenalty, or its place on the elastic-net path.
    score : ndarray of shape (n_candidates,)
        Its nested score, greater is better.
    standard_error : ndarray of shape (n_candidates,)
        Standard error of its difference to the first score.
    kept : ndarray of bool of shape (n_candidates,)
        Whether it has a weight.
    weight : ndarray of shape (n_candidates,)
        Its weight in the average.
    published_score : float or None, default=None
        Nested score of the published model, in the same unit.

    Attributes
    ----------
    axes_ : ndarray of two matplotlib Axes
        Axes of the scores and of the weights.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    StrengthsDisplay : The strengths that were published.
    OuterTraceDisplay : The same question for a fit without the guard.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skbilevel import BilevelRidgeCV
    >>> from skbilevel.inspection import GuardPathDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> display = GuardPathDisplay.from_estimator(BilevelRidgeCV().fit(X, y))
    >>> str(display.family[0])
    'shared'
    """

    family: Array
    value: Array
    score: Array
    standard_error: Array
    kept: Array
    weight: Array
    _: KW_ONLY
    published_score: float | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, target: int = 0, ax: Any = None
    ) -> GuardPathDisplay:
        """Draw the candidates of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A model of skbilevel fitted under the guard, or a pipeline or search that
            ends with one.
        target : int, default=0
            Which search, where each target has one (``alpha_per_target=True``).
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : GuardPathDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator was not fitted under the guard.
        """
        model = last_step(estimator)
        found, n_searches = search_report(model, "hyperpenalty_", target)
        if found["family"][0] != "shared":
            raise ValueError(
                "The estimator was not fitted under the guard, so there are no "
                'candidates to draw: fit with hyperpenalty="auto", or use '
                "OuterTraceDisplay."
            )
        # In another unit, or a mean over targets, it has no place among the scores.
        alike = getattr(model, "scoring", None) is None and n_searches == 1
        display = cls(
            found["family"],
            found["value"],
            found["score"],
            found["standard_error"],
            found["kept"],
            found["weight"],
            published_score=model.best_score_ if alike else None,
        )
        return display.plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        n = len(self.family)
        self.figure_, axes = panels(
            ax,
            (2, 1),
            (min(12.0, max(6.8, 3.6 + 0.26 * n)), 5.2),
            sharex=True,
            height_ratios=(3, 1),
        )
        self.axes_ = axes[:, 0]
        place = self._places()
        _draw_scores(self.axes_[0], self, place)
        _draw_weights(self.axes_[1], self, place)
        _label_paths(self.axes_[1], self, place)

    def _places(self) -> Array:
        """Positions along x, with a gap between families."""
        changes = np.r_[0, np.cumsum(self.family[1:] != self.family[:-1])]
        return np.asarray(np.arange(len(self.family)) + 0.8 * changes, dtype=float)


def family_words(family: str) -> str:
    """What a family is called under its path."""
    if family in _WORDS:
        return _WORDS[family]
    for start, words in _CONTINUED.items():
        if family.startswith(start):
            return words + family_words(family.removeprefix(start))
    return family.replace("_", " ")


def _draw_scores(ax: Any, found: GuardPathDisplay, place: Array) -> None:
    """Gains over the shared strength with their standard errors."""
    gain = found.score - found.score[0]
    error = np.nan_to_num(found.standard_error)
    published = found.published_score
    line = None if published is None else published - found.score[0]
    low, high = _limits(found, gain, error, line)
    below = gain < low + 0.05 * (high - low)
    for color, path in _paths(found):
        inside = path & ~below
        ax.errorbar(
            place[inside],
            gain[inside],
            error[inside],
            color=color,
            linewidth=1,
            elinewidth=1,
            zorder=2,
        )
        for kept, face in ((True, color), (False, "white")):
            some = inside & (found.kept == kept)
            ax.scatter(
                place[some], gain[some], s=32, c=face, edgecolors=color, zorder=3
            )
        outside = path & below
        edge = np.full(outside.sum(), low + 0.03 * (high - low))
        ax.scatter(place[outside], edge, marker="v", s=32, c="white", edgecolors=color)
    ax.axhline(0.0, color=GRAY, linestyle="--", linewidth=1, zorder=1)
    if line is not None:
        label = f"published average: {published:.5g}"
        ax.axhline(line, color="black", linewidth=1.2, zorder=1, label=label)
    _explain(ax, found, below)
    ax.set(ylim=(low, high), ylabel="gain on held-out rows\n(up is better)")
    ax.tick_params(bottom=False)
    # An offset above the axes would meet the legend.
    ax.yaxis.set_major_formatter("{x:g}")
    tidy(ax)


def _limits(
    found: GuardPathDisplay, gain: Array, error: Array, line: float | None
) -> tuple[float, float]:
    """Around all that count or gain; bad candidates would squeeze it to a line."""
    some = found.weight >= _COUNTS * found.weight.max()
    ends = np.r_[(gain - error)[some], (gain + error)[some], gain.max(), line or 0]
    low, high = float(ends.min()), float(ends.max())
    most = float(np.quantile(gain - error, 0.3))
    if high - low > _ROUNDING * abs(float(found.score[0])):
        low = min(low, max(most, low - (high - low)))
    else:  # the shared strength alone has a weight
        low = min(low, most)
    span = high - low or 0.01 * abs(float(found.score[0])) or 1.0
    return low - 0.15 * span, high + 0.12 * span


def _explain(ax: Any, found: GuardPathDisplay, below: Array) -> None:
    """Entries of the legend for hollow dots and triangles, where there are any."""
    entries = (
        (~found.kept & ~below, "o", "without weight"),
        (below & ~found.kept, "v", "far worse"),
    )
    for some, marker, label in entries:
        if some.any():
            ax.scatter([], [], marker=marker, c="white", edgecolors=GRAY, label=label)
    base = f"one shared strength: {found.score[0]:.5g}"
    ax.plot([], [], color=GRAY, linestyle="--", linewidth=1, label=base)
    legend_above(ax, title=_finding(found))


def _finding(found: GuardPathDisplay) -> str:
    """What the guard has decided, in a sentence."""
    weight = float(found.weight[found.family != "shared"].sum())
    if weight == 0.0:
        return "No combination is better: one shared strength stays"
    return f"Candidates other than one shared strength have {weight:.0%} of the average"


def _draw_weights(ax: Any, found: GuardPathDisplay, place: Array) -> None:
    """Bars of the weights."""
    for color, path in _paths(found):
        ax.bar(place[path], found.weight[path], width=0.8, color=color)
    ax.set_ylabel("weight in\nthe average")
    ax.set_ylim(0, 1.08 * max(float(found.weight.max()), 1e-12))
    tidy(ax)


def _label_paths(ax: Any, found: GuardPathDisplay, place: Array) -> None:
    """Names of the families under their candidates."""
    ax.set_xticks([])
    ax.set_xlim(place[0] - 1, place[-1] + 1)
    for color, path in _paths(found):
        ax.annotate(
            family_words(str(found.family[path][0])),
            (float(place[path].mean()), 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -6),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize="small",
            color=color,
        )
    ax.set_xlabel("candidates, in each family from timid (left) to bold", labelpad=40)


def _paths(found: GuardPathDisplay) -> list[tuple[str, Array]]:
    """Colour and mask of every family, in the order of the candidates."""
    families = list(dict.fromkeys(found.family.tolist()))
    colors = ["black", *(COLORS[:-1] * (1 + len(families) // (len(COLORS) - 1)))]
    masks = [found.family == family for family in families]
    return list(zip(colors, masks, strict=False))
