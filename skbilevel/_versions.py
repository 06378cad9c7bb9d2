"""Pickles know the version of the package that made them."""

from __future__ import annotations

import sys
from typing import Any

from sklearn import exceptions

from skbilevel._warn import warn_user

_KEY = "_skbilevel_version"


class InconsistentVersionWarning(exceptions.InconsistentVersionWarning):
    """A pickle was made by another version of this package."""

    def __str__(self) -> str:
        return (
            f"Trying to unpickle {self.estimator_name} from version "
            f"{self.original_sklearn_version} of skbilevel when using version "
            f"{self.current_sklearn_version}. This may fail or give wrong results; "
            "fit it again, or use the version that it was made with."
        )


class Versioned:
    """Carries the version in its pickles, and warns where it reads another one.

    It stands left of `BaseEstimator`, which does so for scikit-learn's own classes.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return {**(state or {}), _KEY: _version()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        # A subclass of somebody else may pickle what it likes.
        own = type(self).__module__.startswith("skbilevel.")
        version = state.pop(_KEY, "unknown" if own else _version())
        if version != _version():
            warn_user(
                InconsistentVersionWarning(
                    estimator_name=type(self).__name__,
                    current_sklearn_version=_version(),
                    original_sklearn_version=version,
                )
            )
        self.__dict__.update(state)


def _version() -> str:
    return str(sys.modules["skbilevel"].__version__)
