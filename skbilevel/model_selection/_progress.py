"""How a search tells what it has done, and learns that it should end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from skbilevel._records import record

if TYPE_CHECKING:
    from skbilevel.solvers import IterInfo


@record
class Step:
    """A finished step of a search.

    Parameters
    ----------
    name : str
        What was done.
    state : callable
        Makes what the search would return if it ended here. It costs some solves:
        only those who need the result call it.
    text : str
        The same as ``name`` in more words, for a reader.
    info : IterInfo or None
        Of an outer iteration.
    """

    name: str
    state: Callable[[], Any]
    text: str = ""
    info: IterInfo | None = None


class Listener(Protocol):
    """Who is told."""

    def begin(self, n_steps: int | None) -> None:
        """A search begins; it has at most so many steps, None where nobody knows."""

    def step(self, step: Step) -> bool:
        """A step is done; True ends the search."""


@record
class MappedListener:
    """A listener who hears of results that went through ``finish``.

    ``words`` makes the text of a step, where the search itself has no units.
    """

    listener: Listener
    finish: Callable[[Any], Any]
    words: Callable[[Step], str] | None = None

    def begin(self, n_steps: int | None) -> None:
        """Pass on."""
        self.listener.begin(n_steps)

    def step(self, step: Step) -> bool:
        """Pass on, finished."""
        text = step.text if self.words is None else self.words(step)

        def state() -> Any:
            return self.finish(step.state())

        return self.listener.step(replace(step, state=state, text=text))


class Progress:
    """Tells a listener, if there is one, until it wants the search to end.

    Parameters
    ----------
    listener : Listener or None
        Who is told.
    """

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self.stopped = False

    def begin(self, n_steps: int | None) -> None:
        """Tell that a search begins."""
        if self._listener is not None:
            self._listener.begin(n_steps)

    def tell(
        self,
        name: str,
        state: Callable[[], Any],
        text: str = "",
        info: IterInfo | None = None,
    ) -> bool:
        """Tell a step; whether to end, now or since an earlier step."""
        if self._listener is not None and not self.stopped:
            self.stopped = self._listener.step(Step(name, state, text or name, info))
        return self.stopped
