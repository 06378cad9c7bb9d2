"""Strengths of few features: one line with a name for each."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._log_scale import StrengthScale
from skbilevel.inspection._strength_content import Content
from skbilevel.inspection._style import (
    COLORS,
    GRAY,
    legend_above,
    number,
    short,
    tidy,
    write_beside,
)

_MARKERS = "os^DvPX"


def draw(ax: Any, content: Content) -> None:
    """Draw dots, sorted, the features that are shrunk least on top."""
    scale = content.scale()
    p = len(content.names)
    order = sorting(content.strengths)
    place = np.empty(p)
    place[order] = np.arange(p)
    _draw_shared(ax, content, scale, place)
    k = len(content.outputs)
    several, many = k > 1, k > len(COLORS)
    for row, dots in enumerate(content.series()):
        ax.plot(
            scale.place(dots.values),
            place[dots.features],
            linestyle="none",
            marker=_MARKERS[row] if several and not many else "o",
            color=dots.color,
            alpha=0.4 if many else 0.9 if several else 1.0,
            label=dots.label,
            clip_on=False,
        )
    names = [_name(content, j) for j in order]
    ax.set_yticks(np.arange(p), names)
    ax.set_ylim(p - 0.4, -0.6)
    ax.set_xlabel(f"strength {content.unit}")
    scale.draw(ax.xaxis, ax.axvspan, "∞\nremoved", "0\nunpenalized")
    ax.grid(axis="y", color="0.9", linewidth=0.6)
    ax.set_axisbelow(True)
    tidy(ax)
    if content.entries == "labels":
        ax.set_ylabel("label (features)")
        _write_values(ax, content, order)
    legend_above(ax, max(map(len, names)), content.title)


def _write_values(ax: Any, content: Content, order: Array) -> None:
    """The strengths as numbers at the right of the axes, where each has one."""
    if len(content.outputs) > 1:
        return
    words = {np.inf: "removed", 0.0: "unpenalized"}
    values = content.strengths[0, order]
    write_beside(ax, [words.get(value, number(value)) for value in values])


def sorting(strengths: Array) -> Array:
    """Features from the weakest to the strongest (geometric mean over the rows)."""
    with np.errstate(divide="ignore"):
        logs = np.log(strengths)
    # Removed from some rows only: after the others, by how many.
    top = np.isinf(strengths).mean(axis=0)
    finite = np.where(np.isposinf(logs), 0.0, logs)
    return np.lexsort((finite.sum(axis=0), top))


def _draw_shared(ax: Any, content: Content, scale: StrengthScale, place: Array) -> None:
    """The shared strength as a line or a bar per feature, with stems, or an arrow."""
    if content.shared is None:
        return
    if len(content.outputs) == 1:
        start, end = content.shared[0], scale.place(content.strengths[0])
        moved = (start > 0) & scale.has(start)
        start = scale.place(start)[moved]
        ax.hlines(place[moved], start, end[moved], color="0.75", linewidth=1.2)
    if content.shared_values() is None:
        _draw_bars(ax, scale.place(content.shared), place)
    else:
        content.draw_shared(ax.xaxis, scale, named=True)


def _draw_bars(ax: Any, rows: Array, place: Array) -> None:
    """A shared strength that depends on the feature."""
    for row, shared in enumerate(rows):
        label = None if row else "one shared strength, scaled by the column"
        ax.plot(shared, place, "|", color=GRAY, markersize=9, label=label)


def _name(content: Content, j: int) -> str:
    name = short(content.names[j])
    if content.groups is None or len(content.outputs) == 1:
        return name
    return f"{name} [{short(content.groups[j])}]"
