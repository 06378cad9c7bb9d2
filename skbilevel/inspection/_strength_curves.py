"""Strengths of many features: sorted curves, and the names at their ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._log_scale import StrengthScale
from skbilevel.inspection._strength_content import Content
from skbilevel.inspection._style import (
    GRAY,
    NAMED,
    legend_above,
    list_names,
    number,
    tidy,
)

# More points of a curve are beyond the resolution of any picture.
_POINTS = 1000


def draw(ax: Any, content: Content) -> None:
    """Draw sorted strengths over the share of features."""
    scale = content.scale()
    for curve in content.series():
        ordered, color = np.sort(curve.values), curve.color
        m = len(ordered)
        some = _thinned(ordered)
        # A curve begins and ends where the axis does, also one of few features.
        share = 100 * some / max(m - 1, 1)
        ax.plot(
            share,
            _gaps(ordered[some]),
            marker="." if m <= 60 else "",
            color=color,
            label=curve.label,
            alpha=0.5 if color == GRAY else 1,
        )
        _draw_ends(ax, scale, ordered[some], share, color)
    _draw_shared(ax, content, scale)
    p = len(content.names)
    ax.set(xlabel=f"share of the {p:,} {content.entries}, sorted [%]", xlim=(-1, 101))
    ax.set_ylabel(f"strength {content.unit}")
    scale.draw(ax.yaxis, ax.axhspan, _removed_label(content), "unpenalized")
    tidy(ax)
    legend_above(ax, title=content.title)
    _name_ends(ax, content)


def _thinned(ordered: Array) -> Array:
    """Indices that show a sorted curve, with all ends of its finite part."""
    m = len(ordered)
    even = np.linspace(0, m - 1, min(m, _POINTS)).round().astype(int)
    first = int(np.searchsorted(ordered, 0.0, side="right"))
    last = int(np.searchsorted(ordered, np.inf, side="left"))
    steps = np.unique(np.geomspace(1, max(m, 2), 60).astype(int))
    extra = np.r_[first - steps, first + steps - 1, last - steps, last]
    return np.unique(np.concatenate([even, extra[(extra >= 0) & (extra < m)]]))


def _gaps(values: Array) -> Array:
    """Finite strengths; the curve breaks where they are 0 or infinite."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _draw_ends(
    ax: Any, scale: StrengthScale, values: Array, share: Array, color: str
) -> None:
    """Pieces of a curve in the places of 0 and of infinity."""
    for end in (np.isinf(values), values == 0):
        if end.any():
            # A square is seen where there is only one feature, too.
            ends = scale.place(values[end])
            ax.plot(share[end], ends, "s-", color=color, linewidth=4, markersize=3)


def _removed_label(content: Content) -> str:
    share = np.isinf(content.strengths).mean()
    text = f"{100 * share:.0f} %" if 0.005 <= share < 0.995 else f"{100 * share:.2g} %"
    return f"removed\n({text})"


def _draw_shared(ax: Any, content: Content, scale: StrengthScale) -> None:
    if content.shared is None:
        return
    if content.shared_values() is not None:
        content.draw_shared(ax.yaxis, scale, named=False)
        return
    ordered = np.sort(content.shared[0][content.shared[0] > 0])
    some = _thinned(ordered)
    ax.plot(
        100 * some / max(len(ordered) - 1, 1),
        scale.place(ordered[some]),
        "--",
        color=GRAY,
        label="one shared strength, scaled by the column",
    )


def _name_ends(ax: Any, content: Content) -> None:
    """Names of the features that are shrunk most and least, beside the curve."""
    flat = content.strengths.reshape(-1)
    penalized = np.flatnonzero(np.isfinite(flat) & (flat > 0))
    values = flat[penalized]
    if not values.size or values.min() == values.max():
        return
    what = content.entries if len(content.outputs) == 1 else "strengths"
    most = "shrunk most, not removed" if np.isinf(flat).any() else "shrunk most"
    for y, title, key in ((1.0, most, -values), (0.0, "shrunk least", values)):
        ends = np.argpartition(key, min(NAMED, len(key)) - 1)[:NAMED]
        ends = ends[np.argsort(key[ends], kind="stable")]
        names = [content.name(int(penalized[e])) for e in ends]
        list_names(ax, y, title, _lines(names, values[ends], values, what))


def _lines(names: list[str], named: Array, values: Array, what: str) -> list[str]:
    """A line for each name, and one for all others with the last strength."""
    tied = int((values == named[-1]).sum())
    if tied > len(named) and named[0] == named[-1]:
        # Which of them are named would be chance.
        return [f"{tied:,} {what} at {number(named[-1])}"]
    lines = [f"{n}  {number(v)}" for n, v in zip(names, named, strict=True)]
    tied -= int((named == named[-1]).sum())
    return [*lines, f"{tied:,} more at {number(named[-1])}"] if tied else lines
