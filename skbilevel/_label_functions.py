"""Labels of rows and columns, and functions that make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import signature
from typing import Any


def asks_for_transformer(make: Callable[..., Any]) -> bool:
    """Whether a callable makes labels of transformers: it has a parameter so called."""
    try:
        return "transformer" in signature(make).parameters
    except (TypeError, ValueError):  # of some built-in functions nothing is known
        return False


def distinct(labels: Iterable[Any]) -> list[Any]:
    """Every label once: sorted, or as they come where they can't be compared."""
    known = list(dict.fromkeys(labels))
    try:
        return sorted(known)
    except TypeError:  # of several types
        return known
