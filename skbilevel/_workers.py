"""Parts of a fit in other processes, where the user has chosen such a backend.

``joblib.parallel_config(backend="loky")``, or "dask", or "ray": parts whose result is
small beside what they need go there. What all of them need is sent once for every
worker, not once for every part: joblib maps large arrays from a file for loky, and
Dask scatters arguments that it sees; Ray is handed a reference.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import Any

import joblib
import sklearn
from joblib.parallel import get_active_backend

from skbilevel._threads import n_threads
from skbilevel._warn import warn_user


def has_workers(n_jobs: int | None) -> bool:
    """Whether several parts may run, and the chosen backend shares no memory."""
    backend = get_active_backend(prefer="threads")[0]
    shares = getattr(backend, "supports_sharedmem", False)
    return not shares and n_threads(n_jobs) > 1


def map_workers(
    function: Callable[..., Any],
    shared: Any,
    items: Iterable[tuple[Any, ...]],
    n_jobs: int | None,
) -> list[Any]:
    """``function(shared, *item)`` of all items; warnings are given again here.

    Parameters
    ----------
    function : callable
        A function of a module.
    shared : ndarray or sparse matrix
        What all parts need, sent once.
    items : iterable of tuple
        What is small.
    n_jobs : int or None
        How many at a time.
    """
    config = sklearn.get_config()
    sent = _sent_once(shared)
    pool = joblib.Parallel(n_jobs=n_jobs)
    tasks = (joblib.delayed(_run)(sent, function, item, config) for item in items)
    made, said = zip(*pool(tasks), strict=True)
    for category, text in dict.fromkeys(each for own in said for each in own):
        warn_user(text, category)
    return list(made)


def _run(
    sent: Any,
    function: Callable[..., Any],
    item: tuple[Any, ...],
    config: dict[str, Any],
) -> tuple[Any, list[tuple[type[Warning], str]]]:
    """One part, and what was said in it."""
    shared = sent.value if isinstance(sent, InStore) else sent
    with sklearn.config_context(**config), warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        made = function(shared, *item)
    return made, [(each.category, str(each.message)) for each in told]


class InStore:
    """A value in the object store of Ray, which every machine reads once."""

    def __init__(self, value: Any) -> None:
        import ray

        self._reference = ray.put(value)

    @property
    def value(self) -> Any:
        """The value, without a copy where it is an array."""
        import ray

        return ray.get(self._reference)


def _sent_once(value: Any) -> Any:
    """The value, or what stands for it with Ray, which pickles it for every part."""
    backend = get_active_backend(prefer="threads")[0]
    return InStore(value) if type(backend).__module__.startswith("ray.") else value
