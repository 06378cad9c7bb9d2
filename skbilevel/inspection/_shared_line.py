"""A strength to compare with: a line, or an arrow where it is far from the others."""

from __future__ import annotations

from typing import Any

from skbilevel.inspection._log_scale import StrengthScale


def draw_shared_line(
    axis: Any, scale: StrengthScale, value: float, color: str, label: str | None
) -> None:
    """Draw one shared strength across the axes, or point to it from their edge.

    Parameters
    ----------
    axis : XAxis or YAxis
        The axis of the strengths.
    scale : StrengthScale
        Where strengths have their places.
    value : float
        The shared strength.
    color, label : str
        Of the line; no label keeps it out of the legend.
    """
    ax, along_x = axis.axes, axis.axis_name == "x"
    if scale.has(value):
        line = ax.axvline if along_x else ax.axhline
        line(scale.place(value), color=color, linestyle="--", label=label)
        return
    end = 0.0 if value < scale.low else 1.0
    marks = ("<", ">") if along_x else ("v", "^")
    # In a corner, where it belongs to no feature.
    ax.plot(
        [end if along_x else 1.0],
        [1.0 if along_x else end],
        marks[int(end)],
        transform=ax.transAxes,
        color=color,
        markersize=8,
        clip_on=False,
        zorder=4,
        label=None if label is None else f"{label}, beyond the axis",
    )
