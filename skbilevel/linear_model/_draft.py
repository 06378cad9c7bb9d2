"""What a fit writes on until it has a whole model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Draft:
    """A copy of an estimator to fit, and how the estimator becomes what the copy is.

    The rule of every ``fit``: one that raises leaves the estimator as it was, with the
    whole model of an earlier fit or with none. Only after Ctrl-C is it published what
    there is, if that is a whole model.

    Parameters
    ----------
    estimator : estimator
        Stays as it is until `publish`.
    fitted : iterable of str
        Attributes of an earlier fit, which the copy does not have.
    """

    def __init__(self, estimator: Any, fitted: Iterable[str]) -> None:
        self._estimator, self._fitted = estimator, set(fitted)
        self._before = dict(vars(estimator))
        # Not copy.copy, which asks how to pickle it.
        self.model: Any = object.__new__(type(estimator))
        for name, value in self._before.items():
            if name not in self._fitted:
                self.model.__dict__[name] = value

    def publish(self) -> None:
        """Take all that was fitted in place of what was, in one step."""
        known = {k: v for k, v in self._before.items() if k not in self._fitted}
        new = {
            name: value
            for name, value in vars(self.model).items()
            if (is_fitted(name) or name in self._fitted)
            and known.get(name, self) is not value
        }
        old = vars(self._estimator).items()
        kept = {name: value for name, value in old if name not in self._fitted}
        self._estimator.__dict__ = kept | new


def is_fitted(name: str) -> bool:
    """Whether an attribute of that name says what was learned."""
    return name.endswith("_") and not name.startswith("_")
