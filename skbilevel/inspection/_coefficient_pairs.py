"""Coefficients of few features as pairs of dots."""

from __future__ import annotations

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._style import (
    CONTRAST,
    GRAY,
    MAIN,
    largest_change,
    legend_above,
    plain,
    shorten,
    tidy,
)


def draw(
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
            ax.set_title(plain(shorten(outputs[row])), fontsize="medium", loc="right")
        ax.grid(axis="y", color="0.9", linewidth=0.6)
        ax.set_axisbelow(True)
        tidy(ax)
    shown = [plain(shorten(names[j])) for j in order]
    axes[0].set_yticks(place, shown)
    axes[0].set_ylim(len(order) - 0.4, -0.6)
    # Several panels are named after their targets.
    title = largest_change(names, reference[0], coef[0]) if len(coef) == 1 else ""
    legend_above(axes[0], max(map(len, shown)), title)
