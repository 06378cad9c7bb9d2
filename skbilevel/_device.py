"""Where arrays of other libraries lie, and functions of entries there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array

# Rows are made double precision in blocks of so many bytes, or of so many rows where
# the host has to go on with their sums in double precision.
_BLOCK_BYTES, _BLOCK_ROWS = 1 << 28, 4096
# Names of ufuncs that the standard calls differently.
_STANDARD_NAMES = {
    "true_divide": "divide",
    "absolute": "abs",
    "power": "pow",
    "arctan": "atan",
    "invert": "bitwise_invert",
}


@record
class Device:
    """Where arrays lie, and the ways there and back.

    Parameters
    ----------
    xp : module
        Namespace of the array API.
    device : object
        A device of the namespace.
    to_host : callable
        From an array there to one of NumPy.
    has_double : bool
        Whether the device has double precision. Where it does not, products of blocks
        of a few thousand rows are taken in single precision, and summed in double.
    """

    xp: Any
    device: Any
    to_host: Callable[[Any], Array]
    has_double: bool = True

    @property
    def working(self) -> Any:
        """The type in which is computed."""
        return self.xp.float64 if self.has_double else self.xp.float32

    def put(self, values: Any) -> Any:
        """An array of NumPy there; numbers in the type in which is computed."""
        values = np.asarray(values)
        if values.dtype.kind == "f":
            values = values.astype(np.float64, copy=False)
        return self.published(values)

    def published(self, values: Any) -> Any:
        """An array of NumPy there, in its own type where the device has it."""
        values = np.asarray(values)
        if values.dtype == np.float64 and not self.has_double:
            values = values.astype(np.float32)
        # Some libraries take no negative strides, and no memory that is read-only.
        values = np.require(values, requirements=["C", "W"]).reshape(values.shape)
        return self.xp.asarray(values, device=self.device)

    def as_working(self, array: Any) -> Any:
        """An array of this device, in the type in which is computed."""
        if array.dtype == self.working:
            return array
        return self.xp.astype(array, self.working)

    def block_rows(self, width: int) -> int:
        """How many rows of a width are taken at a time."""
        if not self.has_double:
            return _BLOCK_ROWS
        return max(256, _BLOCK_BYTES // (8 * max(1, width)))


def fetched(array: Any, device: Device) -> Any:
    """What has been summed over rows: an array or a number of NumPy, in double."""
    found = np.asarray(device.to_host(array))
    if found.dtype == np.float32:
        found = found.astype(np.float64)
    return found[()] if found.ndim == 0 else found


def function_of_entries(name: str, device: Device) -> Callable[..., Any] | None:
    """What a function of NumPy or SciPy is there; None where it is not known."""
    extra = _EXTRA.get(name)
    if extra is not None:
        return partial(extra, device.xp)
    found = getattr(device.xp, _STANDARD_NAMES.get(name, name), None)
    return found if callable(found) else None


def _expit(xp: Any, x: Any) -> Any:
    """``1 / (1 + exp(-x))`` without overflow."""
    tail = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0 / (1.0 + tail), tail / (1.0 + tail))


def _log_expit(xp: Any, x: Any) -> Any:
    """``-log(1 + exp(-x))`` without overflow."""
    tail = xp.log1p(xp.exp(-xp.abs(x)))
    return xp.where(x >= 0, -tail, x - tail)


def _xlogy(xp: Any, x: Any, y: Any) -> Any:
    """``x log(y)``, zero where x is."""
    known = x != 0
    return xp.where(known, x * xp.log(xp.where(known, y, xp.ones_like(y))), x)


# Functions of scipy.special that losses use.
_EXTRA: dict[str, Callable[..., Any]] = {
    "expit": _expit,
    "log_expit": _log_expit,
    "xlogy": _xlogy,
}
