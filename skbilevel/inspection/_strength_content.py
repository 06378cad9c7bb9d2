"""What pictures of strengths are drawn from, and words and colours they share."""

from __future__ import annotations

from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.inspection._log_scale import StrengthScale, draw_shared_line
from skbilevel.inspection._style import COLORS, GRAY, MAIN, few_colors, number, short


@record
class Series:
    """Strengths of one colour, and the features that have them."""

    values: Array
    features: Array
    color: str
    label: str | None


@record
class Content:
    """What is drawn: strengths (k, p), names (p,), and what explains them.

    ``shared`` has the shape of the strengths or is None, ``groups`` (p,) or None;
    there are k ``outputs``. ``model`` is named in the title, ``entries`` says what has
    a strength.
    """

    strengths: Array
    names: Array
    shared: Array | None
    groups: Array | None
    outputs: tuple[str, ...]
    unit: str
    model: str
    entries: str = "features"

    @property
    def title(self) -> str:
        """Between what the strengths are, and how many have none."""
        finite = self.strengths[(self.strengths > 0) & np.isfinite(self.strengths)]
        removed, all_ = int(np.isinf(self.strengths).sum()), self.strengths.size
        parts = []
        if finite.size:
            between = f"{number(finite.min())} to {number(finite.max())}"
            parts.append(f"strengths from {between}")
        if removed:
            parts.append(f"{removed:,} of {all_:,} removed")
        return f"{self.model}: {', '.join(parts) or 'nothing is penalized'}"

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

    def name(self, place: int) -> str:
        """Name of one strength: its feature, and its output where there are several."""
        row, j = divmod(place, len(self.names))
        of_output = f" ({short(self.outputs[row])})" if len(self.outputs) > 1 else ""
        return short(self.names[j]) + of_output

    def series(self) -> list[Series]:
        """Strengths by output, by label of the feature, or all alike."""
        k, p = self.strengths.shape
        if k == 1:
            return self._groups()
        many = k > len(COLORS)
        labels = [f"each of {k} outputs", *[None] * (k - 1)]
        return [
            Series(row, np.arange(p), color, label if many else short(output))
            for row, color, label, output in zip(
                self.strengths, few_colors(k), labels, self.outputs, strict=True
            )
        ]

    def _groups(self) -> list[Series]:
        """One series for each label; small groups are one beyond the colours."""
        strengths = self.strengths[0]
        if self.groups is None:
            return [Series(strengths, np.arange(len(strengths)), MAIN, None)]
        labels, members, sizes = np.unique(
            self.groups, return_inverse=True, return_counts=True
        )
        members = members.reshape(-1)
        chosen, rest = np.arange(len(labels)), np.empty(0, dtype=int)
        if len(labels) > len(COLORS):
            by_size = np.argsort(-sizes, kind="stable")
            chosen, rest = np.split(by_size, [len(COLORS) - 1])
        made = []
        for color, g in zip(COLORS, np.sort(chosen), strict=False):
            own = np.flatnonzero(members == g)
            made.append(Series(strengths[own], own, color, short(labels[g])))
        if len(rest):
            own = np.flatnonzero(np.isin(members, rest))
            label = f"{len(rest)} other groups"
            made.append(Series(strengths[own], own, GRAY, label))
        return made

    def draw_shared(self, axis: Any, scale: StrengthScale, named: bool) -> None:
        """Shared strengths of the outputs as lines across ``axis``; one if all agree.

        ``named`` tells whether lines of several outputs are in the legend.
        """
        values = self.shared_values()
        assert values is not None
        if len(set(values)) == 1:
            label = f"one shared strength: {number(values[0])}"
            draw_shared_line(axis, scale, values[0], GRAY, label)
            return
        named = named and len(values) <= len(COLORS)
        for color, value, output in zip(
            few_colors(len(values)), values, self.outputs, strict=True
        ):
            label = f"shared by {short(output)}: {number(value)}"
            draw_shared_line(axis, scale, value, color, label if named else None)
