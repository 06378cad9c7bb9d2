"""GuardPathDisplay: the candidates of the guard and what was made of them."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.inspection._fitted import last_step, search_report
from skbilevel.inspection._guard_axes import draw_scores, draw_weights, label_paths
from skbilevel.inspection._style import panels


@record
class GuardPathDisplay(Versioned):
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

    def plot(self, *, ax: Any = None) -> GuardPathDisplay:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : GuardPathDisplay
            The picture itself.
        """
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
        draw_scores(self.axes_[0], self, place)
        draw_weights(self.axes_[1], self, place)
        label_paths(self.axes_[1], self, place)
        return self

    def _places(self) -> Array:
        """Positions along x, with a gap between families."""
        changes = np.r_[0, np.cumsum(self.family[1:] != self.family[:-1])]
        return np.asarray(np.arange(len(self.family)) + 0.8 * changes, dtype=float)
