"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import joblib
import numpy
import sklearn

# Code between the user's line and the place of a warning.
_BETWEEN = tuple(
    str(Path(str(each)).parent)
    for each in (__file__, joblib.__file__, numpy.__file__, sklearn.__file__)
)


def warn_user(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn of the line that called this package, however deep the call is."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_BETWEEN):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level + 1)
