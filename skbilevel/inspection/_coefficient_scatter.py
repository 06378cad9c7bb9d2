"""Coefficients of many features against each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._style import (
    CONTRAST,
    GRAY,
    MAIN,
    NAMED,
    list_names,
    plain,
    shorten,
    tidy,
)

# From so many points on, their density is drawn.
_POINTS = 5000


def draw(
    ax: Any,
    coef: Array,
    reference: Array,
    names: Array,
    outputs: tuple[str, ...],
    labels: tuple[str, str],
) -> None:
    """Points of all rows of coefficients (k, p), and the largest changes by name."""
    x, y = reference.reshape(-1), coef.reshape(-1)
    reach = 1.05 * max(float(np.abs(x).max()), float(np.abs(y).max())) or 1.0
    ax.axline((0, 0), slope=1, color=GRAY, linestyle="--", linewidth=1, zorder=1)
    ax.axhline(0.0, color="0.85", linewidth=0.8, zorder=0)
    ax.axvline(0.0, color="0.85", linewidth=0.8, zorder=0)
    if len(x) > _POINTS:
        _draw_density(ax, x, y, reach)
    else:
        ax.plot(x, y, "o", color=MAIN, markersize=3.5, alpha=0.6, linestyle="none")
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    ax.set(xlabel=f"coefficient, {labels[1]}", ylabel=f"coefficient, {labels[0]}")
    _name_changes(ax, x, y, names, outputs)
    tidy(ax)


def _draw_density(ax: Any, x: Array, y: Array, reach: float) -> None:
    """Counts in hexagons: one artist, however many points."""
    from matplotlib.colors import LogNorm

    hexagons = ax.hexbin(
        x,
        y,
        gridsize=90,
        extent=(-reach, reach, -reach, reach),
        mincnt=1,
        cmap="Blues",
        # A single point has to be seen, too.
        norm=LogNorm(vmin=0.05, vmax=len(x)),
        linewidths=0.1,
        zorder=2,
    )
    hexagons.set_rasterized(True)


def _name_changes(
    ax: Any, x: Array, y: Array, names: Array, outputs: tuple[str, ...]
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
    for rank, e in enumerate(top, start=1):
        # Away from the diagonal there is room.
        ax.annotate(
            str(rank),
            (x[e], y[e]),
            xytext=(-4, 4) if y[e] > x[e] else (4, -4),
            textcoords="offset points",
            ha="right" if y[e] > x[e] else "left",
            va="bottom" if y[e] > x[e] else "top",
            fontsize="x-small",
        )
        row, j = divmod(int(e), len(names))
        name = plain(shorten(names[j]))
        name = f"{name} ({plain(shorten(outputs[row]))})" if outputs[row] else name
        lines.append(f"{rank}  {name}: {x[e]:.3g} → {y[e]:.3g}")
    list_names(ax, 1.0, "largest changes", lines)
