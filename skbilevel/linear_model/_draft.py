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
        Stays as it is until `publish`. The copy has nothing of an earlier fit, whose
        names are kept in ``_fitted``: attributes of a subclass stay.
    *hidden : str
        Attributes that a fit sets beside those with public names.
    """

    def __init__(self, estimator: Any, *hidden: str) -> None:
        self._estimator, self._hidden = estimator, hidden
        self._start = self._kept()
        # Not copy.copy, which asks how to pickle it.
        self.model: Any = object.__new__(type(estimator))
        self.model.__dict__ = dict(self._start)

    def publish(self) -> None:
        """Take all that was fitted in place of what was, in one step."""
        fitted = {
            name: value
            for name, value in vars(self.model).items()
            if (name.endswith("_") and name[0] != "_") or name in self._hidden
            if name not in self._start or value is not self._start[name]
        }
        self._estimator.__dict__ = self._kept() | fitted | {"_fitted": tuple(fitted)}

    def _kept(self) -> dict[str, Any]:
        """Attributes of the estimator that are of no fit."""
        known = vars(self._estimator)
        fitted = {"_fitted", *known.get("_fitted", ())}
        return {name: value for name, value in known.items() if name not in fitted}
