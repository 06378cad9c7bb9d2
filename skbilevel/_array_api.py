"""X that another library holds, on a GPU for instance: the only door it comes in by.

Under ``sklearn.config_context(array_api_dispatch=True)`` X may be an array of a library
that follows the Python array API standard. A fit then works on a `DeviceArray` around
it, and publishes coefficients where X lies. Targets, weights and offsets may lie
anywhere: everything follows X.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import sklearn
from scipy import sparse

from skbilevel._device import Device
from skbilevel._device_array import DeviceArray
from skbilevel._sklearn_compat import (
    HAS_ARRAY_API,
    _is_numpy_namespace,
    _max_precision_float_dtype,
    get_namespace_and_device,
    indexing_dtype,
    move_to,
)
from skbilevel._typing import Array

# What a fit publishes where X lies. Reports (``history_``) are for the eye, and stay
# on the host, as all labels do that are no numbers.
_PUBLISHED = (
    "coef_",
    "intercept_",
    "alpha_",
    "C_",
    "group_alpha_",
    "group_labels_",
)
# An X of fewer numbers is fetched once: one call to a device takes longer than the
# product that it is for.
_FETCHED_BELOW = 100_000


def device_of(X: Any) -> Device | None:
    """Where an array of another library lies; None is the host, as NumPy holds it.

    Raises
    ------
    TypeError
        If the installed scikit-learn is too old for arrays of other libraries.
    """
    if isinstance(X, DeviceArray):
        return X.device
    if not sklearn.get_config()["array_api_dispatch"] or _is_plain(X):
        return None
    if not HAS_ARRAY_API:
        raise TypeError(
            f"X is a {type(X).__name__}, and arrays of other libraries than NumPy need "
            "scikit-learn 1.9 or newer: convert it with numpy.asarray."
        )
    xp, known, device = get_namespace_and_device(X)
    if not known or _is_numpy_namespace(xp):
        return None
    double = _max_precision_float_dtype(xp, device) == xp.float64
    return Device(xp, device, _fetched, double)


def _fetched(array: Any) -> Array:
    """An array of a device, here; by a method of its own, which is quick."""
    if hasattr(array, "cpu"):
        return np.asarray(array.cpu())
    if hasattr(array, "get"):
        return np.asarray(array.get())
    with sklearn.config_context(array_api_dispatch=True):
        return np.asarray(move_to(array, xp=np, device="cpu"))


def _is_plain(X: Any) -> bool:
    """Whether no library but NumPy, SciPy or one of data frames holds it."""
    return (
        X is None
        or isinstance(X, np.ndarray | np.generic | list | tuple | str)
        or sparse.issparse(X)
        or not hasattr(X, "__dlpack__")
    )


def on_host(values: Any) -> Any:
    """An array of another library as one of NumPy; anything else as it is."""
    if isinstance(values, dict):
        return {name: on_host(each) for name, each in values.items()}
    if isinstance(values, DeviceArray):
        return np.asarray(values)
    if _is_plain(values) or not HAS_ARRAY_API:
        return values
    return _fetched(values)


def given_on_host(values: Any) -> Any:
    """What goes with X into a fit; everything follows X, and the fit has it here."""
    dispatched = sklearn.get_config()["array_api_dispatch"]
    return on_host(values) if dispatched else values


def worked_on(X: Any) -> Any:
    """X as a fit works on it: where it lies, or here if that is not worth a call."""
    device = device_of(X)
    if device is None:
        return X
    placed = DeviceArray(X, device)
    return np.asarray(placed) if placed.size < _FETCHED_BELOW else placed


def float_kinds(X: Any) -> list[Any]:
    """The types of X that are kept; others become the first one.

    Raises
    ------
    ValueError
        If X lies on a device and is complex, of which nobody else speaks there.
    """
    device = device_of(X)
    if device is None:
        return [np.float64, np.float32]
    if device.xp.isdtype(X.dtype, "complex floating"):
        raise ValueError(f"Complex data not supported: X is an array of {X.dtype}.")
    single = [device.xp.float32]
    return [device.xp.float64, *single] if device.has_double else single


def beside_x(X: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """Fitted attributes, the numbers among them where X lies."""
    device = device_of(X)
    if device is None:
        return attributes
    return {
        name: device.published(value) if _is_published(name, value) else value
        for name, value in attributes.items()
    }


def _is_published(name: str, value: Any) -> bool:
    is_array = isinstance(value, np.ndarray | np.generic)
    return name in _PUBLISHED and is_array and _is_number(value)


def labels_beside(y: Any, labels: Array) -> Any:
    """Labels of classes where y lies; those of Python or of pandas are NumPy's."""
    device = device_of(y)
    return labels if device is None else device.published(labels)


def converted(estimator: Any, converter: Callable[[Any], Any]) -> Any:
    """A copy of a fitted estimator whose published arrays went through a function."""
    made = copy.copy(estimator)
    for name in (*_PUBLISHED, "classes_"):
        value = vars(made).get(name)
        if hasattr(value, "__dlpack__") and _is_number(value):
            setattr(made, name, converter(value))
    return made


def read_here(estimator: Any) -> Any:
    """The estimator, or a copy whose published arrays are NumPy's."""
    if _is_plain(getattr(estimator, "coef_", None)):
        return estimator
    return converted(estimator, on_host)


def _is_number(value: Any) -> bool:
    plain = isinstance(value, np.ndarray | np.generic)
    return not plain or value.dtype.kind in "biuf"


def chosen_labels(classes: Any, scores: Any) -> Any:
    """Labels of the largest scores (n, c), or of positive ones (n,), where they lie."""
    device, own = device_of(scores), device_of(classes)
    if device is None:
        codes = positive(scores) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(classes[codes])
    xp = device.xp
    codes = positive(scores) if scores.ndim == 1 else xp.argmax(scores, axis=1)
    if own is None:
        labels = np.asarray(classes[on_host(codes)])
        return device.published(labels) if labels.dtype.kind in "biuf" else labels
    codes = move_to(codes, xp=own.xp, device=own.device)
    return move_to(own.xp.take(classes, codes, axis=0), xp=xp, device=device.device)


def positive(scores: Any) -> Any:
    """One where a score is positive and zero elsewhere, where the scores lie."""
    device = device_of(scores)
    if device is None:
        return np.asarray(scores > 0, dtype=int)
    return device.xp.astype(scores > 0, indexing_dtype(device.xp))


def copied(values: Any) -> Any:
    """A copy of an array where it lies."""
    return values.copy() if isinstance(values, np.ndarray) else copy.deepcopy(values)


def by_rows(function: Callable[[Any], Any], values: Any) -> Any:
    """``function(values)`` where the values lie, in their own precision.

    The function is written for NumPy, and what it returns has an entry for every row.
    """
    device = device_of(values)
    if device is None:
        return function(values)
    made = function(DeviceArray(values, device)).array
    return device.xp.astype(made, values.dtype)


def need_rows_in_memory(owner: Any, X: Any, why_numpy: str = "") -> None:
    """Raise where X lies with another library, or is not in memory.

    ``why_numpy`` is the reason that is given for arrays of another library.

    Raises
    ------
    TypeError
        With the reason, and what to do.
    """
    name, device = type(owner).__name__, device_of(X)
    if device is not None:
        raise TypeError(
            f"{name} takes arrays of NumPy only, and X is one of "
            f"{device.xp.__name__}: {why_numpy}. Move X to the host first, or leave "
            "array_api_dispatch off."
        )
    # The type is asked, since a data frame has its columns as attributes.
    if hasattr(type(X), "__dask_graph__") or hasattr(type(X), "map_reduce"):
        kind = f"{type(X).__module__.partition('.')[0]} {type(X).__name__}"
        raise TypeError(
            f"{name} needs all rows in memory, and X is a {kind}: give X and y as "
            "arrays, of a random part of the rows where all of them do not fit."
        )
