"""Pictures of the gallery, looked at before they are stored.

Every picture has a title, nothing is cut at its edges, and no label stands on another.
What is not so is a warning, and warnings are errors of `make docs`.
"""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.text import Text
from sphinx.util import logging
from sphinx_gallery.scrapers import matplotlib_scraper

LOGGER = logging.getLogger(__name__)
# What sticks out by less than this, in inches, is not seen.
SLACK = 0.02


def faults(figure: Any) -> Iterator[str]:
    """Sentences about what a reader of a figure could not read."""
    figure.canvas.draw()
    axes = [ax for ax in figure.axes if ax.axison]
    titles = [title for ax in axes for title in _titles(ax)]
    if not titles and not figure.get_suptitle():
        yield "the picture has no title"
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    sticks_out = max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)
    if sticks_out > SLACK:
        yield f"{sticks_out:.2f} inches are cut at the edge"
    groups = [titles]
    for axis in (axis for ax in axes for axis in (ax.xaxis, ax.yaxis)):
        groups.append([*_tick_labels(axis), axis.label])
    for group in groups:
        for one, other in combinations(group, 2):
            boxes = one.get_window_extent(), other.get_window_extent()
            if all(text.get_text() for text in (one, other)) and boxes[0].overlaps(
                boxes[1]
            ):
                yield f"{one.get_text()!r} stands on {other.get_text()!r}"


def _titles(ax: Any) -> list[Any]:
    """Titles of axes, left, middle and right."""
    shown = [ax.get_title(loc) for loc in ("left", "center", "right")]
    texts = [text for text in ax.get_children() if isinstance(text, Text)]
    return [text for text in texts if text.get_text() and text.get_text() in shown]


def _tick_labels(axis: Any) -> list[Any]:
    """Labels of ticks in view; the boxes of oblique ones say nothing."""
    low, high = sorted(axis.get_view_interval())
    ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
    shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high]
    return [t for t in shown if t.get_visible() and t.get_rotation() % 90 == 0]


def checked(block: Any, block_vars: Any, gallery_conf: Any, **kwargs: Any) -> str:
    """Store the figures of a block of code, as sphinx-gallery does."""
    for number in plt.get_fignums():
        for fault in faults(plt.figure(number)):
            LOGGER.warning("%s: %s", block_vars["src_file"], fault)
    return matplotlib_scraper(block, block_vars, gallery_conf, **kwargs)


def _get_sg_image_scraper() -> Any:
    """The function that sphinx-gallery asks a module for."""
    return checked
