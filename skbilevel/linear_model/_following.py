"""What callbacks, ``verbose`` and the keyboard have to do with a call of ``fit``.

A search tells a `FollowedPart` what it has done. From there on it is printed, handed to
the callbacks of scikit-learn, and remembered: when the user interrupts the fit, the
last thing that was told is published.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from skbilevel.linear_model._options import Tuned
from skbilevel.linear_model._publish import Published
from skbilevel.model_selection._progress import Listener, Step

# From the results of all parts to fitted attributes.
Attributes = Callable[[list[Published]], dict[str, Any]]


class FollowedFit:
    """One call of ``fit``.

    Parameters
    ----------
    estimator : BilevelLinearModel
        Whose fit it is.
    given : dict
        ``X``, ``y`` and ``metadata`` as the user gave them, for callbacks.
    attributes : callable
        From published results to fitted attributes.
    n_parts : int
        Searches in this fit, one for each set of strengths.
    """

    def __init__(
        self,
        estimator: Any,
        given: dict[str, Any],
        attributes: Attributes,
        n_parts: int = 1,
    ) -> None:
        self.estimator, self.given = estimator, given
        self.listening = bool(getattr(estimator, "_skl_callbacks", None))
        self.interrupt: KeyboardInterrupt | None = None
        self.attributes = attributes
        self._root: Any = None
        # One part at a time: who is told last is told of the latest model.
        self._telling = threading.RLock()
        self.parts = [FollowedPart(self, k) for k in range(n_parts)]
        if n_parts > 1:
            # Parts may run side by side.
            self._open(n_parts, sequential_subtasks=False)

    def _open(self, max_subtasks: int | None, **options: Any) -> None:
        if not hasattr(self.estimator, "_init_callback_context"):
            return  # scikit-learn before 1.9
        self._root = self.estimator._init_callback_context(
            max_subtasks=max_subtasks, **options
        )
        self._root.call_on_fit_task_begin(estimator=self.estimator, **self.given)

    def context_of(self, index: int, n_steps: int | None) -> Any:
        """The task whose subtasks are the steps of a part; None without callbacks."""
        if len(self.parts) == 1:
            if self._root is None:
                self._open(n_steps)
            return self._root if self.listening else None
        if not self.listening or self._root is None:
            return None
        with self._telling:
            context = self._root.subcontext("target", index, n_steps)
            return self.begin_task(context)

    def begin_task(self, context: Any) -> Any:
        """Tell callbacks that a task begins."""
        with self._telling:
            return context.call_on_fit_task_begin(
                estimator=self.estimator, **self.given
            )

    def read(self, name: str, text: str) -> None:
        """Something was read before the search: print it, and tell callbacks.

        It is a subtask of the fit like the steps that follow, whose number nobody knows
        yet; where a fit has several parts, its subtasks are these. There is no model so
        far, and a wish to stop has to wait for one.
        """
        if self.estimator.verbose:
            print(f"[skbilevel] {text}")
        if len(self.parts) > 1:
            return
        if self._root is None:
            self._open(None)
        if self.listening and self._root is not None:
            self.end_task(self.begin_task(self._root.subcontext(name)))

    def end_task(self, context: Any, done: bool = True) -> bool:
        """Tell callbacks that a task ends; whether one of them wants to stop."""
        result = {**self.given, "reconstruction_attributes": self._so_far}
        with self._telling:
            return bool(
                context.call_on_fit_task_end(
                    estimator=self.estimator, **(result if done else {})
                )
            )

    def _so_far(self) -> dict[str, Any] | None:
        """Attributes as if the fit ended here; None while a part knows nothing."""
        known = [part.published() for part in self.parts]
        parts = [each for each in known if each is not None]
        return self.attributes(parts) if len(parts) == len(known) else None

    def interrupted(self, stop: KeyboardInterrupt) -> None:
        """Searches end at their next step; goes on only where one has found something.

        Raises
        ------
        KeyboardInterrupt
            If no search has found strengths yet, or the user insists.
        """
        if self.interrupt is not None or not any(p.known for p in self.parts):
            raise stop
        self.interrupt = stop

    def close(self) -> None:
        """End the fit, whose attributes are set.

        Raises
        ------
        KeyboardInterrupt
            Again, if the fit was interrupted.
        """
        if self.interrupt is not None:
            raise self.interrupt
        if self._root is None:
            self._open(0)
        if self._root is not None:
            self._root.call_on_fit_task_end(
                estimator=self.estimator, **self.given, reconstruction_attributes={}
            )


class FollowedPart:
    """One search; listens to it.

    Parameters
    ----------
    fit : FollowedFit
        The fit that it is a part of.
    index : int
        Its place there.
    """

    def __init__(self, fit: FollowedFit, index: int) -> None:
        self._fit, self._index = fit, index
        self._context: Any = None
        self._task: Any = None
        self._last: Callable[[], Tuned] | None = None
        self._publish: Callable[[Tuned], Published] | None = None

    @property
    def known(self) -> bool:
        """Whether there are strengths that can be published."""
        return self._last is not None

    @property
    def interrupted(self) -> bool:
        """Whether the user wants no more of the fit."""
        return self._fit.interrupt is not None

    def published(self) -> Published | None:
        """What is known, in the user's units."""
        last, publish = self._last, self._publish
        return None if last is None or publish is None else publish(last())

    def run(
        self,
        search: Callable[[Listener], Tuned],
        publish: Callable[[Tuned], Published],
    ) -> Published:
        """Search; what is known of it by then, where the user interrupts it."""
        self._publish = publish
        try:
            tuned = search(self)
        except KeyboardInterrupt as stop:
            self._fit.interrupted(stop)
            # Beside parts that are done, the first step of this one is enough.
            tuned = search(self) if self._last is None else self._last()
        self._last = lambda: tuned
        self._end()
        return publish(tuned)

    def begin(self, n_steps: int | None) -> None:
        """A search begins."""
        if self._fit.interrupt is None:
            # The last subtask is begun before anybody knows that it will not be done.
            n_subtasks = None if n_steps is None else n_steps + 1
            self._context = self._fit.context_of(self._index, n_subtasks)
            self._next()

    def step(self, step: Step) -> bool:
        """Remember, print, and tell the callbacks."""
        self._last = step.state
        if self._fit.interrupt is not None:
            return True
        if self._fit.estimator.verbose:
            self._print(step.text)
        if self._task is None:
            return False
        # The name was not known when the task began.
        self._task.task_name = step.name
        stop, self._task = self._fit.end_task(self._task), None
        if stop and self._fit.estimator.verbose:
            self._print("a callback stopped the search")
        if not stop:
            self._next()
        return stop

    def _print(self, text: str) -> None:
        several = len(self._fit.parts) > 1
        target = f"target {self._index}: " if several else ""
        print(f"[skbilevel] {target}{text}")

    def _next(self) -> None:
        """Begin a subtask."""
        if self._context is not None:
            self._task = self._fit.begin_task(self._context.subcontext("step"))

    def _end(self) -> None:
        """End the subtask that was not done, and the task of this part."""
        if self._fit.interrupt is None and self._context is not None:
            if self._task is not None:
                self._fit.end_task(self._task, done=False)
                self._task = None
            if len(self._fit.parts) > 1:
                self._fit.end_task(self._context)
