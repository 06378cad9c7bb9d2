"""Measuring time: CPU seconds of one thread, in interleaved rounds."""

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

# A fit slower than this is not repeated for the sake of a warm-up.
WARM_UP = 1.0


def cpu_time(function: Callable, *args: Any) -> tuple[Any, float]:
    """Return what a call returns and the CPU seconds it took.

    With one thread this is the wall time of an idle machine.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        value = function(*args)
        return value, time.process_time() - start


def race(
    fits: dict[str, Callable], args: tuple, rounds: int, budget: float
) -> dict[str, list[float]]:
    """Time every function in turn, round by round, so that drift hits all alike.

    A function leaves the race once its runs have used up the budget in seconds.
    """
    times: dict[str, list[float]] = {}
    for name, fit in fits.items():
        seconds = cpu_time(fit, *args)[1]
        # A first call imports modules and fills caches; it does not count
        # unless it is so slow that this hardly matters.
        times[name] = [seconds] if seconds > WARM_UP else []
    for _ in range(rounds):
        for name, fit in fits.items():
            known = times[name]
            if not known or (sum(known) < budget and len(known) < rounds):
                known.append(cpu_time(fit, *args)[1])
    return times


def medians(times: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of every contender."""
    return {name: float(np.median(runs)) for name, runs in times.items()}
