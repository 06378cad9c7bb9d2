"""Scores and weights of the guard's candidates on two axes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._style import (
    COLORS,
    GRAY,
    legend_above,
    number,
    tidy,
)

_WORDS = {
    "shared": "shared",
    "half": "half-sampling",
    "loo": "leave-one-out",
    "evidence": "evidence",
    "elastic_net": "elastic net",
    "metadata": "metadata",
    "deviations": "metadata and\ndeviations",
}
_CONTINUED = {"metadata_": "metadata and\n", "class_": "by class:\n"}
# Families whose value counts points of a path.
_NUMBERED = ("elastic_net", "class_elastic_net")


class Candidates(Protocol):
    """What is drawn; see `GuardPathDisplay`."""

    family: Array
    value: Array
    score: Array
    standard_error: Array
    kept: Array
    weight: Array
    published_score: float | None


def family_words(family: str) -> str:
    """What a family is called under its path."""
    if family in _WORDS:
        return _WORDS[family]
    for start, words in _CONTINUED.items():
        if family.startswith(start):
            return words + family_words(family.removeprefix(start))
    return family.replace("_", " ")


def draw_scores(ax: Any, found: Candidates, place: Array) -> None:
    """Gains over the shared strength with their standard errors."""
    gain = found.score - found.score[0]
    error = np.nan_to_num(found.standard_error)
    published = found.published_score
    line = None if published is None else published - found.score[0]
    low, high = _limits(found, gain, error, line)
    below = gain < low + 0.05 * (high - low)
    for color, path in _paths(found):
        inside = path & ~below
        ax.errorbar(
            place[inside],
            gain[inside],
            error[inside],
            color=color,
            linewidth=1,
            elinewidth=1,
            zorder=2,
        )
        for kept, face in ((True, color), (False, "white")):
            some = inside & (found.kept == kept)
            ax.scatter(
                place[some], gain[some], s=32, c=face, edgecolors=color, zorder=3
            )
        outside = path & below
        edge = np.full(outside.sum(), low + 0.03 * (high - low))
        ax.scatter(place[outside], edge, marker="v", s=32, c="white", edgecolors=color)
    ax.axhline(0.0, color=GRAY, linestyle="--", linewidth=1, zorder=1)
    if line is not None:
        label = f"published average: {published:.5g}"
        ax.axhline(line, color="black", linewidth=1.2, zorder=1, label=label)
    _mark_largest(ax, found, place, gain)
    _explain(ax, found, below)
    ax.set(ylim=(low, high), ylabel="nested score, gain over\nthe shared strength")
    ax.tick_params(bottom=False)
    # An offset above the axes would meet the legend.
    ax.yaxis.set_major_formatter("{x:g}")
    tidy(ax)


def _limits(
    found: Candidates, gain: Array, error: Array, line: float | None
) -> tuple[float, float]:
    """Around all that was kept; bad candidates would squeeze it to a line."""
    ends = np.r_[(gain - error)[found.kept], (gain + error)[found.kept], 0.0, line or 0]
    low, high = float(ends.min()), float(ends.max())
    most = float(np.quantile(gain - error, 0.3))
    if high > low:
        low = min(low, max(most, low - (high - low)))
    else:  # the shared strength alone was kept
        low = min(low, most)
    span = high - low or 0.01 * abs(float(found.score[0])) or 1.0
    return low - 0.15 * span, high + 0.12 * span


def _mark_largest(ax: Any, found: Candidates, place: Array, gain: Array) -> None:
    """A ring around the candidate that counts most."""
    best = int(np.argmax(found.weight))
    label = f"largest weight: {found.weight[best]:.2f}"
    ax.scatter(
        place[best],
        gain[best],
        s=120,
        facecolors="none",
        edgecolors="black",
        zorder=4,
        label=label,
    )


def _explain(ax: Any, found: Candidates, below: Array) -> None:
    """Entries of the legend for hollow dots and triangles, where there are any."""
    entries = (
        (~found.kept & ~below, "o", "refused by the gate"),
        (below, "v", "far below"),
    )
    for some, marker, label in entries:
        if some.any():
            ax.scatter([], [], marker=marker, c="white", edgecolors=GRAY, label=label)
    base = f"shared strength: {found.score[0]:.5g}"
    ax.plot([], [], color=GRAY, linestyle="--", linewidth=1, label=base)
    legend_above(ax)


def draw_weights(ax: Any, found: Candidates, place: Array) -> None:
    """Bars of the weights."""
    for color, path in _paths(found):
        ax.bar(place[path], found.weight[path], width=0.8, color=color)
    ax.set_ylabel("weight")
    ax.set_ylim(0, 1.08 * max(float(found.weight.max()), 1e-12))
    tidy(ax)


def label_paths(ax: Any, found: Candidates, place: Array) -> None:
    """Values under the candidates, and below them the names of the families."""
    labels = [_value(*each) for each in zip(found.family, found.value, strict=True)]
    ax.set_xticks(place, labels, fontsize="small", rotation=90)
    ax.set_xlim(place[0] - 1, place[-1] + 1)
    paths = list(_paths(found))
    for color, path in paths:
        words = family_words(str(found.family[path][0]))
        ax.annotate(
            words,
            (float(place[path].mean()), 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -42),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize="small",
            color=color,
        )


def _value(family: str, value: float) -> str:
    if not np.isfinite(value):
        return ""
    return f"point {value + 1:.0f}" if family in _NUMBERED else number(value)


def _paths(found: Candidates) -> list[tuple[str, Array]]:
    """Colour and mask of every family, in the order of the candidates."""
    families = list(dict.fromkeys(found.family.tolist()))
    colors = ["black", *(COLORS[:-1] * (1 + len(families) // (len(COLORS) - 1)))]
    masks = [found.family == family for family in families]
    return list(zip(colors, masks, strict=False))
