"""What all displays are: data under names, and a method that draws them."""

from __future__ import annotations

from typing import Any, Self

from skbilevel._versions import Versioned


class Display(Versioned):
    """A picture of its fields; a subclass says by ``_draw`` how it is drawn."""

    def plot(self, *, ax: Any = None) -> Self:
        """Draw the picture.

        Parameters
        ----------
        ax : matplotlib Axes, or array-like of one for each panel, default=None
            Where to draw; one is divided among several panels, None makes a figure.

        Returns
        -------
        display : Display
            The picture itself.
        """
        self._draw(ax)
        return self

    def _draw(self, ax: Any) -> None:
        raise NotImplementedError
