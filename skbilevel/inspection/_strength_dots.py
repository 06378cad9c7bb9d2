"""Strengths of few features: one line with a name for each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._log_scale import StrengthScale, draw_shared_line
from skbilevel.inspection._strength_content import (
    Content,
    coloured_groups,
    strength_text,
)
from skbilevel.inspection._style import (
    COLORS,
    GRAY,
    few_colors,
    legend_above,
    plain,
    shorten,
    tidy,
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
    for dots in _series(content):
        ax.plot(
            scale.place(dots.values),
            place[dots.features],
            linestyle="none",
            marker=dots.marker,
            color=dots.color,
            alpha=dots.opacity,
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
    for place, j in enumerate(order):
        value = content.strengths[0, j]
        text = "removed" if np.isinf(value) else strength_text(value)
        ax.text(
            1.01,
            place,
            "unpenalized" if value == 0 else text,
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize="small",
        )


@record
class _Series:
    """Dots of one colour."""

    values: Array
    features: Array
    color: str
    marker: str = "o"
    label: str | None = None
    opacity: float = 1.0


def _series(content: Content) -> Iterator[_Series]:
    """Dots by output, by label of the feature, or all alike."""
    everything = np.arange(len(content.names))
    k = len(content.outputs)
    if k == 1:
        for color, label, chosen in coloured_groups(content.groups, len(everything)):
            yield _Series(content.strengths[0, chosen], chosen, color, label=label)
        return
    many = k > len(COLORS)
    for row, color in enumerate(few_colors(k)):
        label = f"each of {k} outputs" if row == 0 else None
        yield _Series(
            content.strengths[row],
            everything,
            color,
            "o" if many else _MARKERS[row],
            label if many else plain(shorten(content.outputs[row])),
            0.4 if many else 0.9,
        )


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
    values = content.shared_values()
    if values is None:
        _draw_bars(ax, scale.place(content.shared), place)
        return
    if len(set(values)) == 1:
        label = f"one shared strength: {strength_text(values[0])}"
        draw_shared_line(ax.xaxis, scale, values[0], GRAY, label)
        return
    few = len(values) <= len(COLORS)
    for color, value, name in zip(
        few_colors(len(values)), values, content.outputs, strict=True
    ):
        label = f"shared by {plain(shorten(name))}: {strength_text(value)}"
        draw_shared_line(ax.xaxis, scale, value, color, label if few else None)


def _draw_bars(ax: Any, rows: Array, place: Array) -> None:
    """A shared strength that depends on the feature."""
    for row, shared in enumerate(rows):
        label = None if row else "one shared strength, scaled by the column"
        ax.plot(shared, place, "|", color=GRAY, markersize=9, label=label)


def _name(content: Content, j: int) -> str:
    name = plain(shorten(content.names[j]))
    if content.groups is None or len(content.outputs) == 1:
        return name
    return f"{name} [{plain(shorten(content.groups[j]))}]"
