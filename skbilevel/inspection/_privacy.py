"""PrivacyDisplay: what a private fit spent its budget on, and what epsilon costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._display import Display
from skbilevel.inspection._fitted import last_step
from skbilevel.inspection._style import COLORS, GRAY, MAIN, legend_above, panels, tidy

EPSILONS = (0.1, 0.3, 1.0, 3.0, 10.0)
# Below this share a name stands in the legend only.
_NAMED_SHARE = 0.12


@record
class PrivacyDisplay(Display):
    """Releases of a private fit as shares of its budget, and utility against epsilon.

    The bar divides the budget (the square of the Gaussian-DP parameter) among the
    releases. The curve, where there is one, is the score on other rows, with the line
    of a fit without noise. Make it by `from_estimator`.

    Parameters
    ----------
    names : sequence of str
        Names of the releases.
    shares : ndarray of shape (n_releases,)
        Their shares in the budget; they sum to one.
    epsilon : float
        Epsilon of all together.
    delta : float
        Its delta.
    epsilons : ndarray of shape (n_epsilons,) or None, default=None
        Where the curve has points; None is no curve.
    scores : ndarray of shape (n_epsilons, n_repeats) or None, default=None
        Scores there.
    baseline : float or None, default=None
        Score without noise.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Axes of the bar, and of the curve where there is one.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    skbilevel.privacy.PrivacyLedger : The releases as numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skbilevel import DPRidge
    >>> from skbilevel.inspection import PrivacyDisplay
    >>> X = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    >>> model = DPRidge(random_state=0).fit(X, 0.5 * X[:, 0])
    >>> PrivacyDisplay.from_estimator(model).axes_.shape
    (1,)
    """

    names: Sequence[str]
    shares: Array
    epsilon: float
    delta: float
    _: KW_ONLY
    epsilons: Array | None = None
    scores: Array | None = None
    baseline: float | None = None

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        epsilons: Sequence[float] = EPSILONS,
        n_repeats: int = 5,
        ax: Any = None,
    ) -> PrivacyDisplay:
        """Draw the ledger of a fitted estimator, and utility where rows are given.

        Parameters
        ----------
        estimator : estimator
            A fitted `DPRidge`, `DPLasso` or `DPLogistic`.
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows for the curve: clones are fitted to three quarters of them and scored
            on the others, for every epsilon. **The curve is not private**: take public
            or simulated rows.
        y : array-like of shape (n_samples,), default=None
            Their targets.
        epsilons : sequence of float, default=(0.1, 0.3, 1, 3, 10)
            Points of the curve.
        n_repeats : int, default=5
            Fits at each point, with other splits and other noise.
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : PrivacyDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator is not private, or only one of ``X`` and ``y`` is given.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "privacy_ledger_"):
            raise ValueError(
                f"{type(model).__name__} has no privacy_ledger_: the picture is one of "
                "DPRidge, DPLasso and DPLogistic."
            )
        if (X is None) != (y is None):
            raise ValueError("The curve needs both X and y; without, give neither.")
        points, scores, baseline = None, None, None
        if X is not None:
            points = np.asarray(epsilons, dtype=float)
            scores = np.array([_scores(model, X, y, e, n_repeats) for e in points])
            baseline = float(np.median(_scores(model, X, y, math.inf, n_repeats)))
        ledger = model.privacy_ledger_
        display = cls(
            [release.name for release in ledger.releases],
            ledger.shares(),
            model.epsilon_,
            model.delta_,
            epsilons=points,
            scores=scores,
            baseline=baseline,
        )
        return display.plot(ax=ax)

    def _draw(self, ax: Any) -> None:
        if self.scores is None:
            self.figure_, axes = panels(ax, (1, 1), (6.4, 1.7))
            self.axes_ = axes[:, 0]
        else:
            ratios = {"height_ratios": (1.0, 3.2)}
            self.figure_, axes = panels(ax, (2, 1), (6.4, 4.8), **ratios)
            self.axes_ = axes[:, 0]
            self._draw_curve(self.axes_[1])
        self._draw_shares(self.axes_[0])

    def _draw_shares(self, ax: Any) -> None:
        left = 0.0
        for k, (name, share) in enumerate(zip(self.names, self.shares, strict=True)):
            color = COLORS[k % len(COLORS)]
            ax.barh(0.0, share, left=left, color=color, label=f"{name}, {share:.0%}")
            if share >= _NAMED_SHARE:
                middle = left + share / 2.0
                options = {"ha": "center", "va": "center", "color": "white"}
                ax.text(middle, 0.0, f"{share:.0%}", **options)
            left += share
        ax.set_yticks([])
        ax.set_xlim(0.0, 1.0)
        whole = f"epsilon {self.epsilon:.3g}, delta {self.delta:.2g}"
        ax.set_xlabel(f"share of the privacy budget ({whole})")
        ax.spines["left"].set_visible(False)
        tidy(ax)
        largest = int(np.argmax(self.shares))
        title = f"Most of the budget, {self.shares[largest]:.0%}, pays for "
        legend_above(ax, title=title + self.names[largest])

    def _cost(self, middle: Array) -> str:
        """What privacy costs at the epsilon of the curve that is nearest to its own."""
        assert self.epsilons is not None
        own = min(self.epsilon, float(np.max(self.epsilons)))
        nearest = int(np.argmin(np.abs(np.log(self.epsilons / own))))
        text = f"At epsilon {self.epsilons[nearest]:g} the median score is "
        if self.baseline is None:
            return text + f"{middle[nearest]:.3g}"
        cost = self.baseline - middle[nearest]
        side = "below" if cost >= 0 else "above"
        return text + f"{abs(cost):.2g} {side} that without noise"

    def _draw_curve(self, ax: Any) -> None:
        assert self.scores is not None
        assert self.epsilons is not None
        middle = np.median(self.scores, axis=1)
        ax.fill_between(
            self.epsilons,
            self.scores.min(axis=1),
            self.scores.max(axis=1),
            color=MAIN,
            alpha=0.15,
            linewidth=0.0,
        )
        ax.plot(self.epsilons, middle, "o-", color=MAIN, label="median and range")
        if self.baseline is not None:
            label = f"without noise: {self.baseline:.3g}"
            ax.axhline(self.baseline, color=GRAY, linestyle="--", label=label)
        ax.set_xscale("log")
        ax.set_xlabel("epsilon (smaller is more private)")
        ax.set_ylabel("score on other rows\n(up is better)")
        ax.set_title(self._cost(middle), fontsize="medium", loc="left")
        ax.legend(frameon=False, fontsize="small", loc="lower right")
        tidy(ax)


def _scores(model: Any, X: Any, y: Any, epsilon: float, n_repeats: int) -> list[float]:
    """Scores of clones on a quarter of the rows, with new splits and noise."""
    out = []
    for seed in range(n_repeats):
        parts = train_test_split(X, y, test_size=0.25, random_state=seed)
        made = clone(model).set_params(epsilon=epsilon, random_state=seed)
        out.append(float(made.fit(parts[0], parts[2]).score(parts[1], parts[3])))
    return out
