"""Threads of a fit, and what the whole process shares while fits run side by side."""

from __future__ import annotations

import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any

import joblib
import sklearn
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import ThreadpoolController


class Shared:
    """A state of the whole process, for as long as any thread asks for it.

    The first one in sets it and the last one out sets it back, in whatever order they
    come and go, and however they end. A thread may ask again inside.

    Parameters
    ----------
    change : callable
        Sets the state, and returns a function that sets it back.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._back: Callable[[], None] | None = None
        # How often each thread has come in.
        self._inside: dict[int, int] = {}
        self._lock = threading.RLock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def __enter__(self) -> None:
        me = threading.get_ident()
        with self._lock:
            try:
                if self._back is None:
                    self._back = self._change()
                self._inside[me] = self._inside.get(me, 0) + 1
            except BaseException:  # the keyboard, too
                self._set_back()
                raise

    def __exit__(self, *error: object) -> None:
        me = threading.get_ident()
        with self._lock:
            self._inside[me] -= 1
            if not self._inside[me]:
                del self._inside[me]
            self._set_back()

    def _set_back(self) -> None:
        if not self._inside and self._back is not None:
            back, self._back = self._back, None
            back()

    def _forked(self) -> None:
        """A child has the one thread that made it, and none of the others' fits."""
        self._lock = threading.RLock()
        me = threading.get_ident()
        self._inside = {key: n for key, n in self._inside.items() if key == me}
        self._set_back()


def _one_thread(per_thread: bool) -> Callable[[], None]:
    """Set pools of BLAS to one thread; the function that gives the others back."""
    pools = [
        (pool, pool.num_threads)
        for pool in _thread_controller().lib_controllers
        if pool.user_api == "blas" and pool.num_threads > 1
        # OpenMP counts for every thread by itself.
        if (getattr(pool, "threading_layer", None) == "openmp") == per_thread
    ]
    _resize((pool, 1) for pool, _ in pools)
    # Where another thread has a limit of its own, nothing has happened.
    ours = [(pool, n) for pool, n in pools if pool.num_threads == 1]
    return lambda: _resize(ours)


def _resize(pools: Iterable[tuple[Any, int]]) -> None:
    for pool, n_threads in pools:
        pool.set_num_threads(n_threads)
        # Newer releases of threadpoolctl would let no other thread set it back.
        if hasattr(pool, "clear_controlling_thread"):
            pool.clear_controlling_thread()


@cache
def _thread_controller() -> ThreadpoolController:
    """The loaded thread pools; looking for them takes longer than a small fit."""
    return ThreadpoolController()


def _ignore_descent() -> Callable[[], None]:
    # As one filter, which is taken out again wherever it has been copied to: to save
    # and restore the list would undo what other threads do to it meanwhile.
    entry = ("ignore", None, ConvergenceWarning, _DESCENT, 0)
    before = warnings.filters
    before.insert(0, entry)  # type: ignore[attr-defined]

    def back() -> None:
        for filters in (before, warnings.filters):
            while entry in filters:
                filters.remove(entry)  # type: ignore[attr-defined]

    return back


_DESCENT = re.compile(r"sklearn\.linear_model\._coordinate_descent")
_BLAS = Shared(lambda: _one_thread(per_thread=False))
_QUIET = Shared(_ignore_descent)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Many small factorizations lose to the overhead of BLAS threads."""
    with _BLAS:
        back = _one_thread(per_thread=True)
        try:
            yield
        finally:
            back()


def quiet_descent() -> AbstractContextManager[Any]:
    """Coordinate descent of scikit-learn, without a word where it ends early."""
    if getattr(sys.flags, "context_aware_warnings", False):  # free-threaded Python
        return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)
    return _QUIET


# Whether this is one of several threads that share a fit.
_SHARES: ContextVar[bool] = ContextVar("shares a fit", default=False)


def n_threads(n_jobs: int | None) -> int:
    """How many parts of a fit may run side by side; one inside of such a part."""
    return 1 if _SHARES.get() else int(joblib.effective_n_jobs(n_jobs))


def map_threads(
    function: Callable[..., Any], items: Iterable[tuple[Any, ...]], n_jobs: int | None
) -> list[Any]:
    """``function(*item)`` of all items, in threads that are as this one is.

    They have its configuration of scikit-learn and its context (the error handling of
    NumPy among others), and leave the filters of warnings alone, which are those of
    the process. What they do is not shared among threads again.
    """
    return list(_in_pool(function, items, n_jobs, "list"))


def each_in_threads(
    function: Callable[..., Any], items: Iterable[tuple[Any, ...]], n_jobs: int | None
) -> Iterator[Any]:
    """The same one by one, in the order of the items, as soon as they are there.

    With one thread an item is worked on when it is asked for, in this thread.
    """
    if n_threads(n_jobs) == 1:
        return (function(*item) for item in items)
    return iter(_in_pool(function, items, n_jobs, "generator"))


def _in_pool(
    function: Callable[..., Any],
    items: Iterable[tuple[Any, ...]],
    n_jobs: int | None,
    return_as: str,
) -> Iterable[Any]:
    config = sklearn.get_config()

    def shared(item: tuple[Any, ...]) -> Any:
        _SHARES.set(True)
        return function(*item)

    def run(context: Any, item: tuple[Any, ...]) -> Any:
        with sklearn.config_context(**config):
            return context.run(shared, item)

    pool = joblib.Parallel(n_jobs=n_jobs, require="sharedmem", return_as=return_as)
    made: Iterable[Any] = pool(
        joblib.delayed(run)(copy_context(), item) for item in items
    )
    return made
