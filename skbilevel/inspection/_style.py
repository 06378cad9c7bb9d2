"""Colours, ticks and axes that all pictures share; matplotlib is imported here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skbilevel._typing import Array

# Okabe and Ito's palette without yellow: told apart with any colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MAIN, CONTRAST, GRAY = COLORS[0], COLORS[1], "0.5"
# Up to so many features each one gets a line with its name.
FEW_FEATURES = 40
# So many features are named in a picture of more.
NAMED = 8
LONGEST_NAME = 28
# Of small letters, and what a handle in a legend takes of them.
_POINTS_PER_CHARACTER = 4.6
_HANDLE = 6
_POINTS_PER_ROW = 13


def pyplot() -> Any:
    """Return matplotlib.pyplot, or say how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Pictures need matplotlib: pip install matplotlib, or skbilevel[plot]."
        ) from error
    return plt


def panels(
    ax: Any, shape: tuple[int, int], figsize: tuple[float, float], **options: Any
) -> tuple[Any, Array]:
    """A figure and its axes (rows, columns): new ones, given ones, or one divided.

    Parameters
    ----------
    ax : None, Axes or array-like of Axes
        Where to draw. One Axes is divided if more are needed.
    shape : tuple of two ints
        Rows and columns.
    figsize : tuple of two floats
        Size of a new figure.
    **options : dict
        ``sharex``, ``sharey``, ``height_ratios`` of the axes.
    """
    rows, columns = shape
    if ax is None:
        figure, axes = pyplot().subplots(
            rows,
            columns,
            figsize=figsize,
            layout="constrained",
            squeeze=False,
            **options,
        )
        return figure, axes
    given = np.asarray(ax, dtype=object)
    if given.size == rows * columns:
        axes = given.reshape(shape)
        return axes[0, 0].figure, axes
    if given.size != 1:
        raise ValueError(f"ax holds {given.size} Axes; give {rows * columns} or one.")
    whole = given.reshape(-1)[0]
    if whole.get_subplotspec() is None:
        raise ValueError(
            f"The picture has {rows * columns} panels, and this ax cannot be divided; "
            "give one that plt.subplots made, or as many as there are panels."
        )
    whole.set_axis_off()
    shares = {k: options.pop(k) for k in ("sharex", "sharey") if k in options}
    grid = whole.get_subplotspec().subgridspec(rows, columns, **options)
    return whole.figure, grid.subplots(squeeze=False, **shares)


def shorten(name: object, longest: int = LONGEST_NAME) -> str:
    """A name that fits beside a picture."""
    text = str(name)
    half = longest // 2
    # Beginnings are often alike, and ends as well.
    return text if len(text) <= longest else text[: half - 1] + "…" + text[-half:]


def plain(text: str) -> str:
    """Text in which a dollar sign starts no formula."""
    return text.replace("$", r"\$")


def short(name: object, longest: int = LONGEST_NAME) -> str:
    """A name that fits beside a picture, and starts no formula."""
    return plain(shorten(name, longest))


def number(value: float) -> str:
    """A number as briefly as it can be read."""
    if np.isinf(value):
        return "infinite"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return _power(value)


def _power(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    mark = "" if mantissa == "1" else mantissa + r"\times "
    return f"${mark}10^{{{int(exponent)}}}$"


def log_ticks(low: float, high: float, most: int) -> tuple[Array, list[str]]:
    """Round numbers between two positive ones, at most so many, and their labels."""
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    decades = 10.0 ** np.arange(first, last + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = np.outer(decades, digits).reshape(-1)
        values = values[(values >= 0.999 * low) & (values <= 1.001 * high)]
        if len(values) <= most:
            break
    values = values[:: -(-len(values) // most)]
    # One notation for all ticks of an axis.
    as_power = values[0] < 1e-3 or values[-1] >= 1e5
    return values, [_power(v) if as_power else number(v) for v in values]


def few_colors(n: int) -> Sequence[str]:
    """Distinct colours while there are enough, gray beyond."""
    return COLORS[:n] if n <= len(COLORS) else (GRAY,) * n


def list_names(ax: Any, y: float, title: str, lines: Sequence[str]) -> None:
    """Write a short list to the right of the axes, from the top (1) or bottom (0)."""
    side = "top" if y > 0.5 else "bottom"
    text = "\n".join([title, *(f"  {line}" for line in lines)])
    ax.text(
        1.02,
        y,
        text,
        transform=ax.transAxes,
        va=side,
        ha="left",
        fontsize="small",
        linespacing=1.25,
    )


def write_beside(ax: Any, texts: Sequence[str]) -> None:
    """Write a text at the right of the axes for each place 0, 1, ... of the y axis."""
    style = {"transform": ax.get_yaxis_transform(), "va": "center", "fontsize": "small"}
    for place, text in enumerate(texts):
        ax.text(1.01, place, text, **style)


def legend_above(ax: Any, name_length: int = 0, title: str = "") -> None:
    """A legend that covers nothing, where there is something to explain.

    Parameters
    ----------
    ax : Axes
        It stands above these.
    name_length : int
        Characters of the longest name to the left of the axes, which take their room.
    title : str
        Title of the axes, above the legend.
    """
    labels = ax.get_legend_handles_labels()[1]
    rows = 0
    if labels:
        points = 72 * ax.get_window_extent().width / ax.figure.dpi
        room = points / _POINTS_PER_CHARACTER - max(0, name_length - 12)
        columns = _columns([len(label) for label in labels], room)
        rows = -(-len(labels) // columns)
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(-0.02, 1.0),
            ncols=columns,
            frameon=False,
            fontsize="small",
            handlelength=1.5,
            columnspacing=1.2,
        )
    if title:
        pad = 6 + (_POINTS_PER_ROW * rows + 6 if rows else 0)
        ax.set_title(title, fontsize="medium", loc="left", pad=pad)


def largest_change(names: Array, before: Array, after: Array) -> str:
    """A title that names the entry that changes most, and how."""
    most = int(np.argmax(np.abs(after - before)))
    if before[most] == after[most]:
        return "No coefficient changes"
    values = f"from {number(float(before[most]))} to {number(float(after[most]))}"
    return f"{short(names[most])} changes most, {values}"


def _columns(lengths: Sequence[int], room: float) -> int:
    """As many columns of a legend as fit beside each other, filled one by one."""
    n = len(lengths)
    for columns in range(n, 1, -1):
        rows = -(-n // columns)
        widest = [max(lengths[k : k + rows]) for k in range(0, n, rows)]
        if sum(widest) + _HANDLE * len(widest) <= room:
            return columns
    return 1


def tidy(ax: Any) -> None:
    """Remove the frame where it carries nothing."""
    ax.spines[["top", "right"]].set_visible(False)
