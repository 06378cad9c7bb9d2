"""What a fit writes on until it has a whole model."""

from __future__ import annotations

from typing import Any


class Draft:
    """A copy of an estimator to fit, and how the estimator becomes what the copy is.

    The rule of every ``fit``: one that raises leaves the estimator as it was, with the
    whole model of an earlier fit or with none. Only after Ctrl-C is it published what
    there is, if that is a whole model.

    Parameters
    ----------
    estimator : estimator
        Stays as it is until `publish`. The copy has nothing of an earlier fit.
    *hidden : str
        Attributes that a fit sets beside those with public names.
    """

    def __init__(self, estimator: Any, *hidden: str) -> None:
        self._estimator, self._hidden = estimator, hidden
        # Not copy.copy, which asks how to pickle it.
        self.model: Any = object.__new__(type(estimator))
        self.model.__dict__ = self._split(estimator)[0]

    def publish(self) -> None:
        """Take all that was fitted in place of what was, in one step."""
        kept, _ = self._split(self._estimator)
        self._estimator.__dict__ = kept | self._split(self.model)[1]

    def _split(self, estimator: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Attributes that are not of a fit, and those that are."""
        parts: tuple[dict[str, Any], dict[str, Any]] = {}, {}
        for name, value in vars(estimator).items():
            public = name.endswith("_") and not name.startswith("_")
            parts[public or name in self._hidden][name] = value
        return parts
