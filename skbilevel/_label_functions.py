"""Functions that label columns: of their names, or of the transformers in front."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any


def asks_for_transformer(make: Callable[..., Any]) -> bool:
    """Whether a callable makes labels of transformers: it has a parameter so called."""
    try:
        return "transformer" in signature(make).parameters
    except (TypeError, ValueError):  # of some built-in functions nothing is known
        return False
