"""A logarithmic axis with places for no and infinite strength, and a line across it."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._style import log_ticks

# Even strengths that hardly differ are drawn on so wide an axis.
_LEAST_DECADES = 0.8
# A strength to compare with may lie so many decades beyond the others, or as many as
# they span; farther away, it would squeeze them.
_MOST_BEYOND = 2.0
# Share of the axis between the last finite strength and the place of 0 or infinity.
_GAP = 0.12


@record
class StrengthScale:
    """Where strengths are drawn.

    Parameters
    ----------
    low, high : float
        Range of the positive, finite strengths.
    zero, removed : float or None
        Coordinates of features that are not penalized, and of removed ones; None
        where there are none.
    """

    low: float
    high: float
    zero: float | None
    removed: float | None

    @classmethod
    def of(cls, *strengths: Array) -> StrengthScale:
        """The scale on which all these strengths have a place."""
        values = np.concatenate([np.asarray(each).reshape(-1) for each in strengths])
        finite = values[(values > 0) & np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (1.0, 1.0)
        missing = max(0.0, _LEAST_DECADES - np.log10(high / low)) / 2
        low, high = float(low / 10**missing), float(high * 10**missing)
        step = 10 ** (_GAP * np.log10(high / low))
        zero = float(low / step) if (values == 0).any() else None
        removed = float(high * step) if np.isinf(values).any() else None
        return cls(low, high, zero, removed)

    @classmethod
    def beside(cls, strengths: Array, others: Array) -> StrengthScale:
        """The scale of ``strengths`` with those ``others`` that are not far away."""
        scale = cls.of(strengths)
        if not (np.isfinite(strengths) & (strengths > 0)).any():
            return cls.of(strengths, others)
        farthest = 10 ** max(_MOST_BEYOND, np.log10(scale.high / scale.low))
        near = (others >= scale.low / farthest) & (others <= scale.high * farthest)
        return cls.of(strengths, others[near])

    def has(self, strengths: Any) -> Array:
        """Which strengths have a place on the axis."""
        places = self.place(strengths)
        first = self.low if self.zero is None else self.zero
        last = self.high if self.removed is None else self.removed
        inside = (self.low <= places) & (places <= self.high)
        return inside | (places == first) | (places == last)

    def place(self, strengths: Any) -> Array:
        """Coordinates of strengths."""
        out = np.array(strengths, dtype=float)
        if self.removed is not None:
            out[np.isinf(out)] = self.removed
        if self.zero is not None:
            out[out == 0] = self.zero
        return out

    def draw(self, axis: Any, span: Any, removed: str, zero: str) -> None:
        """Ticks of an x or y axis, and ``span`` (axvspan, axhspan) for the ends."""
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        half = (self.high / self.low) ** (_GAP / 2)
        edges = [self.low / half, self.high * half]
        most = 6 if axis.axis_name == "x" else 9
        ticks, labels = log_ticks(self.low, self.high, most)
        places = list(ticks)
        ends = ((self.zero, zero, 0), (self.removed, removed, 1))
        for place, label, end in ends:
            if place is None:
                continue
            inner, edges[end] = edges[end], place * half ** (1 if end else -1)
            span(inner, edges[end], color="0.93", zorder=0, linewidth=0)
            places.append(place)
            labels.append(label)
        axis.axes.set(**{f"{axis.axis_name}lim": edges})
        axis.set_ticks(places, labels)
        axis.set_ticks([], minor=True)


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
