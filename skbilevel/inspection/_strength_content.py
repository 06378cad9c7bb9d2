"""What pictures of strengths are drawn from, and words and colours they share."""

from __future__ import annotations

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._log_scale import StrengthScale
from skbilevel.inspection._style import COLORS, GRAY, number, plain, shorten


@record
class Content:
    """What is drawn: strengths (k, p), names (p,), and what explains them.

    ``shared`` has the shape of the strengths or is None, ``groups`` (p,) or None;
    there are k ``outputs``. ``entries`` says what has a strength.
    """

    strengths: Array
    names: Array
    shared: Array | None
    groups: Array | None
    outputs: tuple[str, ...]
    unit: str
    title: str = ""
    entries: str = "features"

    def finding(self, name: str) -> str:
        """A title: between what the strengths are, and how many have none."""
        finite = self.strengths[(self.strengths > 0) & np.isfinite(self.strengths)]
        removed, all_ = int(np.isinf(self.strengths).sum()), self.strengths.size
        parts = []
        if finite.size:
            between = f"{number(finite.min())} to {number(finite.max())}"
            parts.append(f"strengths from {between}")
        if removed:
            parts.append(f"{removed:,} of {all_:,} removed")
        return f"{name}: {', '.join(parts) or 'nothing is penalized'}"

    def scale(self) -> StrengthScale:
        """The axis on which all strengths have a place."""
        if self.shared is None:
            return StrengthScale.of(self.strengths)
        shared = self.shared[self.shared > 0]
        if self.shared_values() is None:  # of every column
            return StrengthScale.of(self.strengths, shared)
        return StrengthScale.beside(self.strengths, shared)

    def shared_values(self) -> list[float] | None:
        """The shared strength of each row; None where it depends on the feature."""
        assert self.shared is not None
        rows = [row[row > 0] for row in self.shared]
        if any(row.max() > row.min() * (1 + 1e-9) for row in rows):
            return None
        return [float(row[0]) for row in rows]


def coloured_groups(
    groups: Array | None, p: int
) -> list[tuple[str, str | None, Array]]:
    """Colour, label and features of every group; small groups beyond the colours."""
    if groups is None:
        return [(COLORS[0], None, np.arange(p))]
    labels, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = members.reshape(-1)
    if len(labels) <= len(COLORS):
        chosen, rest = np.arange(len(labels)), np.empty(0, dtype=int)
    else:
        by_size = np.argsort(-sizes, kind="stable")
        chosen = np.sort(by_size[: len(COLORS) - 1])
        rest = by_size[len(COLORS) - 1 :]
    made: list[tuple[str, str | None, Array]] = [
        (color, plain(shorten(labels[g])), np.flatnonzero(members == g))
        for color, g in zip(COLORS, chosen, strict=False)
    ]
    if len(rest):
        others = np.flatnonzero(np.isin(members, rest))
        made.append((GRAY, f"{len(rest)} other groups", others))
    return made


def strength_text(value: float) -> str:
    """A strength in words."""
    return "infinite" if np.isinf(value) else number(value)
