"""Scores and weights of the guard's candidates on two axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.inspection._style import (
    COLORS,
    GRAY,
    legend_above,
    tidy,
)

if TYPE_CHECKING:
    from skbilevel.inspection._guard_path import GuardPathDisplay

_WORDS = {
    "shared": "one shared\nstrength",
    "stronger": "a stronger\nshared one",
    "half": "tuned on\nrandom halves",
    "folds": "tuned on the\nfolds inside",
    "evidence": "tuned by the\nlikelihood",
    "single": "single columns\nalone",
    "elastic_net": "from the\nelastic net",
    "refit": "kept by the\nelastic net",
    "adaptive": "a second\nstage",
    "metadata": "by\nmetadata",
    "deviations": "metadata and\ndeviations",
}
_CONTINUED = {"metadata_": "metadata,\n", "class_": "by class,\n"}
# The share of the largest weight from which on a candidate sets the limits.
_COUNTS = 0.1
# A share of the score below which a difference is one of rounding.
_ROUNDING = 1e-9


def family_words(family: str) -> str:
    """What a family is called under its path."""
    if family in _WORDS:
        return _WORDS[family]
    for start, words in _CONTINUED.items():
        if family.startswith(start):
            return words + family_words(family.removeprefix(start))
    return family.replace("_", " ")


def draw_scores(ax: Any, found: GuardPathDisplay, place: Array) -> None:
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
    _explain(ax, found, below)
    ax.set(ylim=(low, high), ylabel="gain on held-out rows\n(up is better)")
    ax.tick_params(bottom=False)
    # An offset above the axes would meet the legend.
    ax.yaxis.set_major_formatter("{x:g}")
    tidy(ax)


def _limits(
    found: GuardPathDisplay, gain: Array, error: Array, line: float | None
) -> tuple[float, float]:
    """Around all that count; bad candidates would squeeze it to a line."""
    some = found.weight >= _COUNTS * found.weight.max()
    ends = np.r_[(gain - error)[some], (gain + error)[some], 0.0, line or 0]
    low, high = float(ends.min()), float(ends.max())
    most = float(np.quantile(gain - error, 0.3))
    if high - low > _ROUNDING * abs(float(found.score[0])):
        low = min(low, max(most, low - (high - low)))
    else:  # the shared strength alone has a weight
        low = min(low, most)
    span = high - low or 0.01 * abs(float(found.score[0])) or 1.0
    return low - 0.15 * span, high + 0.12 * span


def _explain(ax: Any, found: GuardPathDisplay, below: Array) -> None:
    """Entries of the legend for hollow dots and triangles, where there are any."""
    entries = (
        (~found.kept & ~below, "o", "without weight"),
        (below & ~found.kept, "v", "far worse"),
    )
    for some, marker, label in entries:
        if some.any():
            ax.scatter([], [], marker=marker, c="white", edgecolors=GRAY, label=label)
    base = f"one shared strength: {found.score[0]:.5g}"
    ax.plot([], [], color=GRAY, linestyle="--", linewidth=1, label=base)
    legend_above(ax, title=finding(found))


def finding(found: GuardPathDisplay) -> str:
    """What the guard has decided, in a sentence."""
    weight = float(found.weight[found.family != "shared"].sum())
    if weight == 0.0:
        return "No combination is better: one shared strength stays"
    return f"Candidates other than one shared strength have {weight:.0%} of the average"


def draw_weights(ax: Any, found: GuardPathDisplay, place: Array) -> None:
    """Bars of the weights."""
    for color, path in _paths(found):
        ax.bar(place[path], found.weight[path], width=0.8, color=color)
    ax.set_ylabel("weight in\nthe average")
    ax.set_ylim(0, 1.08 * max(float(found.weight.max()), 1e-12))
    tidy(ax)


def label_paths(ax: Any, found: GuardPathDisplay, place: Array) -> None:
    """Names of the families under their candidates."""
    ax.set_xticks([])
    ax.set_xlim(place[0] - 1, place[-1] + 1)
    for color, path in _paths(found):
        ax.annotate(
            family_words(str(found.family[path][0])),
            (float(place[path].mean()), 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, -6),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize="small",
            color=color,
        )
    ax.set_xlabel("candidates, in each family from timid (left) to bold", labelpad=40)


def _paths(found: GuardPathDisplay) -> list[tuple[str, Array]]:
    """Colour and mask of every family, in the order of the candidates."""
    families = list(dict.fromkeys(found.family.tolist()))
    colors = ["black", *(COLORS[:-1] * (1 + len(families) // (len(COLORS) - 1)))]
    masks = [found.family == family for family in families]
    return list(zip(colors, masks, strict=False))
