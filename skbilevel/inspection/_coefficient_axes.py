"""Two sets of coefficients: of few features as pairs of dots, of many as points."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._style import (
    CONTRAST,
    GRAY,
    MAIN,
    NAMED,
    largest_change,
    legend_above,
    list_names,
    plain,
    shorten,
    tidy,
)

# From so many points on, their density is drawn.
_POINTS = 5000
# Axes of different reach make small changes visible, but not more than this.
_STRETCH = 4.0
# Distance of labels in half axes.
_APART = 0.045


def draw_pairs(
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


def draw_points(
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
        name = plain(shorten(names[j]))
        name = f"{name} ({plain(shorten(outputs[row]))})" if outputs[row] else name
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
