"""OuterTraceDisplay: the course of the search for strengths."""

from __future__ import annotations

from dataclasses import KW_ONLY
from typing import Any, Self

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel._versions import Versioned
from skbilevel.inspection._fitted import last_step, search_report
from skbilevel.inspection._style import CONTRAST, GRAY, MAIN, number, panels, tidy
from skbilevel.solvers import ORACLE_SOLVERS, DoubleLoop

# Steps up to which each one gets a dot.
_DOTS = 60


@record
class OuterTraceDisplay(Versioned):
    """Validation loss and projected gradient over the steps of the search.

    For fits without the guard (``hyperpenalty`` is not "auto"), in which one search
    moves all strengths. The search ends where the gradient reaches the tolerance; a
    loss that is flat while the gradient is far above it tells that the last digits
    were hard to get. Make it by `from_estimator`, or by `from_result` for a search of
    `skbilevel.solvers.minimize_bilevel`.

    Parameters
    ----------
    value : ndarray of shape (n_steps,)
        Validation loss, plus the hyperpenalty where there is one.
    grad_norm : ndarray of shape (n_steps,)
        Largest entry of the projected gradient.
    tolerance : float or None, default=None
        Gradient at which the search ends.
    seconds : ndarray of shape (n_steps,) or None, default=None
        Seconds since the start.

    Attributes
    ----------
    axes_ : ndarray of two matplotlib Axes
        Axes of the loss and of the gradient.
    figure_ : matplotlib Figure
        Figure that holds them.

    See Also
    --------
    GuardPathDisplay : The same question for a fit under the guard.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skbilevel import BilevelRidgeCV
    >>> from skbilevel.inspection import OuterTraceDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = BilevelRidgeCV(hyperpenalty=("smooth", 1.0)).fit(X, y)
    >>> OuterTraceDisplay.from_estimator(model).axes_.shape
    (2,)
    """

    value: Array
    grad_norm: Array
    _: KW_ONLY
    tolerance: float | None = None
    seconds: Array | None = None

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, x: str = "iterations", target: int = 0, ax: Any = None
    ) -> OuterTraceDisplay:
        """Draw the search of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            A model of skbilevel fitted without the guard, or a pipeline or search that
            ends with one.
        x : {"iterations", "seconds"}, default="iterations"
            What the steps are drawn over.
        target : int, default=0
            Which search, where each target has one (``alpha_per_target=True``).
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : OuterTraceDisplay
            The picture.

        Raises
        ------
        ValueError
            If the estimator was fitted under the guard, or did not record seconds.
        """
        model = last_step(estimator)
        history, _ = search_report(model, "history_", target)
        if "grad_norm" not in history:
            raise ValueError(
                "There is no single search to draw: under the guard "
                '(hyperpenalty="auto") candidates of several searches are averaged. '
                "Use GuardPathDisplay, or fit with hyperpenalty=None."
            )
        return cls._of(history, _tolerance(model, history)).plot(x=x, ax=ax)

    @classmethod
    def from_result(
        cls,
        result: Any,
        *,
        tol: float | None = None,
        x: str = "iterations",
        ax: Any = None,
    ) -> OuterTraceDisplay:
        """Draw what `skbilevel.solvers.minimize_bilevel` returned.

        Parameters
        ----------
        result : Result
            The result of a search.
        tol : float, default=None
            The ``tol`` of that search, relative to the loss at the start; None draws
            no line.
        x : {"iterations", "seconds"}, default="iterations"
            What the steps are drawn over.
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : OuterTraceDisplay
            The picture.
        """
        tolerance = None if tol is None else _relative(tol, result.history)
        return cls._of(result.history, tolerance).plot(x=x, ax=ax)

    @classmethod
    def _of(cls, history: dict[str, Any], tolerance: float | None) -> Self:
        value, grad_norm = (np.asarray(history[k]) for k in ("value", "grad_norm"))
        seconds = history.get("seconds")
        return cls(value, grad_norm, tolerance=tolerance, seconds=seconds)

    def plot(self, *, x: str = "iterations", ax: Any = None) -> OuterTraceDisplay:
        """Draw the picture.

        Parameters
        ----------
        x : {"iterations", "seconds"}, default="iterations"
            What the steps are drawn over.
        ax : matplotlib Axes or two of them, default=None
            Where to draw; one is divided, None makes a figure.

        Returns
        -------
        display : OuterTraceDisplay
            The picture itself.

        Raises
        ------
        ValueError
            If ``x`` is not known, or seconds were not recorded.
        """
        along = self._along(x)
        self.figure_, axes = panels(ax, (2, 1), (6.4, 5.0), sharex=True)
        self.axes_ = axes[:, 0]
        top, bottom = self.axes_
        marker = "o" if len(along) <= _DOTS else ""
        style = {"color": MAIN, "marker": marker, "markersize": 4}
        top.plot(along, self.value, **style)
        top.set_ylabel("validation loss\n(down is better)")
        top.set_title(self._finding(), fontsize="medium", loc="left")
        self._draw_gradient(bottom, along, style)
        bottom.set_xlabel("outer step" if x == "iterations" else "seconds")
        if x == "iterations":
            steps = np.arange(len(along))
            bottom.set_xticks(steps[:: 1 + len(along) // 10])
            bottom.set_xlim(-0.5, len(along) - 0.5)
        for each in self.axes_:
            tidy(each)
        return self

    def _finding(self) -> str:
        first, last = (number(float(self.value[k])) for k in (0, -1))
        n = len(self.value) - 1
        text = f"{n} step{'s' * (n != 1)} bring the loss from {first} to {last}"
        if not self.tolerance:
            return text
        ended = self.grad_norm[-1] <= self.tolerance
        return f"{text}: {'within' if ended else 'not yet within'} the tolerance"

    def _along(self, x: str) -> Array:
        if x == "iterations":
            return np.arange(len(self.value))
        if x != "seconds":
            raise ValueError(f"x={x!r} is not known; give 'iterations' or 'seconds'.")
        if self.seconds is None:
            raise ValueError(
                "The search did not record seconds (history_ has no such entry); "
                "draw it over x='iterations'."
            )
        return np.asarray(self.seconds)

    def _draw_gradient(self, ax: Any, along: Array, style: dict[str, Any]) -> None:
        ax.set_ylabel("projected gradient\n(0 is an optimum)")
        positive = self.grad_norm > 0
        if not positive.any():
            ax.set_yticks([])
            note = "zero: one strength, found by a search of its own"
            ax.text(0.5, 0.5, note, transform=ax.transAxes, ha="center", color=GRAY)
            return
        ax.semilogy(along, np.where(positive, self.grad_norm, np.nan), **style)
        if self.tolerance:
            label = f"tolerance: {number(self.tolerance)}"
            ax.axhline(self.tolerance, color=CONTRAST, linestyle="--", label=label)
            ax.legend(frameon=False, fontsize="small")


def _tolerance(model: Any, history: dict[str, Any]) -> float | None:
    """Where the search ends: ``tol`` relative to the loss at the start.

    Algorithms that see some rows at a time have rules of their own.
    """
    solver = getattr(model, "solver", "auto")
    solver = ORACLE_SOLVERS.get(solver) if isinstance(solver, str) else solver
    if hasattr(solver, "solve_oracles") and not isinstance(solver, DoubleLoop):
        return None
    return _relative(model.tol, history)


def _relative(tol: float, history: dict[str, Any]) -> float:
    """``tol`` times the loss at the start."""
    first = abs(float(history["value"][0])) if len(history["value"]) else 0.0
    return float(tol) * (first or 1.0)
