"""Arrays that lie elsewhere, on a GPU for instance, seen as NumPy sees its own.

The mathematics of this package is written for NumPy. A `DeviceArray` lets the same
lines work on rows that another library holds, by one rule:

    What still has an entry for every row stays on the device. What has been summed
    over the rows comes back, in double precision, as an array of NumPy.

So ``X @ w``, a loss of it, and its gradient stay; ``X.T @ r``, Gram matrices, kernels
and sums come back. They are small, and all algebra on them is NumPy's. What this file
does not know is done on the host: ``numpy.asarray`` of a `DeviceArray` fetches it.

The library is known through the Python array API standard (data-apis.org), version
2024.12, which `numpy`, `torch`, `cupy` and `array_api_strict` have behind
array-api-compat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from skbilevel._device import Device, fetched, function_of_entries
from skbilevel._typing import Array


class DeviceArray(NDArrayOperatorsMixin):
    """An array on a device, one axis of which are rows of the data.

    Parameters
    ----------
    array : array of the device's namespace
        The numbers.
    device : Device
        Where they lie.
    row_axis : int, default=0
        The axis of the rows.
    """

    def __init__(self, array: Any, device: Device, row_axis: int = 0) -> None:
        self.array, self.device = array, device
        self.row_axis = row_axis % max(array.ndim, 1)

    # --- what it looks like

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return tuple(int(n) for n in self.array.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return int(self.array.ndim)

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type, as NumPy calls it."""
        return np.dtype(str(self.array.dtype).rsplit(".", 1)[-1])

    @property
    def nbytes(self) -> int:
        """Bytes of the entries."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        where = f"{self.device.xp.__name__}, {self.device.device}"
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, on {where})"

    def __bool__(self) -> bool:
        return bool(np.asarray(self))

    def __float__(self) -> float:
        return float(np.asarray(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Fetch it."""
        found = np.asarray(self.device.to_host(self.array))
        found = found if dtype is None else found.astype(dtype, copy=False)
        return found.copy() if copy else found

    @property
    def _row(self) -> int:
        """The axis of the rows, counted from the last one."""
        return self.row_axis - self.ndim

    def _kept(self, array: Any, row: int) -> DeviceArray:
        """An array there whose axis ``row``, counted from the last, are the rows."""
        return DeviceArray(array, self.device, row + array.ndim)

    # --- other forms of the same numbers

    @property
    def T(self) -> DeviceArray:
        """With the axes in the opposite order."""
        axes = tuple(reversed(range(self.ndim)))
        turned = self.device.xp.permute_dims(self.array, axes)
        return DeviceArray(turned, self.device, self.ndim - 1 - self.row_axis)

    def swapaxes(self, a: int, b: int) -> DeviceArray:
        """With two axes in each other's place."""
        axes = list(range(self.ndim))
        axes[a], axes[b] = axes[b], axes[a]
        turned = self.device.xp.permute_dims(self.array, tuple(axes))
        return DeviceArray(turned, self.device, axes.index(self.row_axis))

    def reshape(self, *shape: Any) -> Any:
        """Other axes in front of the rows, where these are the last one."""
        shape = shape[0] if isinstance(shape[0], tuple) else shape
        if self._row != -1 or shape[-1] != self.shape[-1]:
            return np.asarray(self).reshape(shape)
        return self._kept(self.device.xp.reshape(self.array, shape), -1)

    def astype(self, dtype: Any, copy: bool = True) -> DeviceArray:
        """In single, or in the type in which is computed."""
        single = np.dtype(dtype) == np.float32
        kind = self.device.xp.float32 if single else self.device.working
        if self.array.dtype == kind and not copy:
            return self
        return self._kept(self.device.xp.astype(self.array, kind), self._row)

    def copy(self) -> DeviceArray:
        """A copy there."""
        array = self.device.xp.asarray(self.array, copy=True)
        return self._kept(array, self._row)

    def __getitem__(self, key: Any) -> Any:
        """Some entries; they stay there where they are still of rows."""
        if _is_pointwise(key):
            return np.asarray(self)[key]
        array, axis, row = self.array, 0, self.row_axis
        for each in _expanded(key, self.ndim):
            if each is None:
                array = self.device.xp.expand_dims(array, axis=axis)
                row += axis <= row
                axis += 1
            elif isinstance(each, int | np.integer):
                array = array[(slice(None),) * axis + (int(each), ...)]
                if axis == row:
                    return fetched(array, self.device)
                row -= axis < row
            else:
                array = self._taken(array, each, axis)
                axis += 1
        return DeviceArray(array, self.device, row)

    def _taken(self, array: Any, key: Any, axis: int) -> Any:
        """Entries of one axis by a slice, by numbers or by a mask."""
        if isinstance(key, slice):
            # The standard knows no stop beyond the last entry.
            key = slice(*key.indices(array.shape[axis]))
            return array[(slice(None),) * axis + (key, ...)]
        index = np.asarray(key).ravel()
        if index.dtype == bool:
            index = np.flatnonzero(index)
        index = np.where(index < 0, index + array.shape[axis], index)
        return self.device.xp.take(array, self.device.put(index), axis=axis)

    # --- sums and the like

    def _reduced(self, name: str, axis: Any, keepdims: bool) -> Any:
        xp, array = self.device.xp, self.array
        if name in ("sum", "mean"):
            array = self.device.as_working(array)
        out = getattr(xp, name)(array, axis=axis, keepdims=keepdims)
        axes = range(self.ndim) if axis is None else np.atleast_1d(axis) % self.ndim
        if self.row_axis in axes:
            return fetched(out, self.device)
        row = self.row_axis
        if not keepdims:
            row -= sum(each < row for each in axes)
        return DeviceArray(out, self.device, row)

    def sum(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The sum; over the rows it comes back."""
        return self._reduced("sum", axis, keepdims)

    def mean(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The mean; over the rows it comes back."""
        return self._reduced("mean", axis, keepdims)

    def max(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The largest entry; over the rows it comes back."""
        return self._reduced("max", axis, keepdims)

    def min(self, axis: Any = None, keepdims: bool = False) -> Any:
        """The smallest entry; over the rows it comes back."""
        return self._reduced("min", axis, keepdims)

    def any(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Whether an entry is not zero."""
        return (self != 0)._reduced("any", axis, keepdims)

    def all(self, axis: Any = None, keepdims: bool = False) -> Any:
        """Whether no entry is zero."""
        return (self != 0)._reduced("all", axis, keepdims)

    # --- functions of NumPy

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **options: Any
    ) -> Any:
        """Products and functions of entries there; everything else on the host."""
        out = options.pop("out", (None,))[0]
        options.pop("order", None)
        if method == "__call__" and not options:
            if ufunc is np.matmul:
                made = _product(*inputs)
            else:
                made = _of_entries(ufunc, inputs)
        else:
            made = getattr(ufunc, method)(*_on_host(inputs), **_on_host(options))
        if isinstance(out, np.ndarray):
            out[...] = np.asarray(made)
            return out
        return made

    def __array_function__(
        self, function: Any, types: Any, args: Any, kwargs: Any
    ) -> Any:
        """A few functions there; everything else on the host."""
        known = _FUNCTIONS.get(function)
        if known is not None:
            return known(*args, **kwargs)
        return function(*_on_host(args), **_on_host(kwargs))


def in_double(X: Any) -> Any:
    """A dense array in double precision where it lies; no copy where it is so."""
    if isinstance(X, DeviceArray):
        return X.astype(np.float64, copy=False)
    return np.asarray(X, dtype=np.float64)


def rounding_of_sums(X: Any) -> float:
    """Changes of a sum over rows, relative to it, that are rounding."""
    single = isinstance(X, DeviceArray) and not X.device.has_double
    return 1e-6 if single else 1e-12


def as_given(X: Any) -> Any:
    """X as the user's library has it."""
    return X.array if isinstance(X, DeviceArray) else X


def beside(X: Any, values: Any, row_axis: int = 0) -> Any:
    """Numbers of rows where the rows of X lie; None stays None."""
    there = values is None or isinstance(values, DeviceArray)
    if there or not isinstance(X, DeviceArray):
        return values
    return DeviceArray(X.device.put(values), X.device, row_axis)


def in_memory_order(values: Any) -> Any:
    """An array whose last axis is the quickest; one that lies elsewhere as it is."""
    if isinstance(values, DeviceArray):
        return values
    return np.ascontiguousarray(values)


def _on_host(given: Any) -> Any:
    """The same with arrays of NumPy, in lists, tuples and dicts, too."""
    if isinstance(given, DeviceArray):
        return np.asarray(given)
    if isinstance(given, list | tuple):
        return type(given)(_on_host(each) for each in given)
    if isinstance(given, dict):
        return {name: _on_host(each) for name, each in given.items()}
    return given


def _expanded(key: Any, ndim: int) -> list[Any]:
    """One key for every axis, and None for each new one."""
    keys = list(key) if isinstance(key, tuple) else [key]
    n_given = sum(each is not None and each is not Ellipsis for each in keys)
    rest = [slice(None)] * (ndim - n_given)
    for place, each in enumerate(keys):
        if each is Ellipsis:
            return [*keys[:place], *rest, *keys[place + 1 :]]
    return keys + rest


def _is_pointwise(key: Any) -> bool:
    """Whether several lists of numbers name entries one by one, not a block of them."""
    if not isinstance(key, tuple):
        return False
    lists = [np.ndim(each) for each in key if not isinstance(each, slice)]
    return sum(n == 1 for n in lists) > 1


def _first(inputs: Sequence[Any]) -> DeviceArray:
    return next(each for each in inputs if isinstance(each, DeviceArray))


def _operand(each: Any, device: Device) -> Any:
    """An array there, in the type in which is computed."""
    array = each.array if isinstance(each, DeviceArray) else device.put(each)
    return device.as_working(array)


def _of_entries(ufunc: Any, inputs: Sequence[Any]) -> Any:
    """A function of entries, which broadcasts; rows stay rows."""
    first = _first(inputs)
    device = first.device
    name = ufunc.__name__
    function = function_of_entries(name, device)
    rows = {each._row for each in inputs if isinstance(each, DeviceArray)}
    if function is None or len(rows) > 1:
        return ufunc(*_on_host(inputs))
    if name.startswith(("logical", "bitwise", "invert")):
        arrays = [
            e.array if isinstance(e, DeviceArray) else device.put(e) for e in inputs
        ]
    else:
        arrays = [_operand(each, device) for each in inputs]
    return first._kept(function(*arrays), rows.pop())


def _product(a: Any, b: Any) -> Any:
    """``a @ b``, block by block of rows."""
    if np.ndim(a) > 2 or np.ndim(b) > 2:
        return np.matmul(*_on_host((a, b)))
    first = _first((a, b))
    over_a = isinstance(a, DeviceArray) and a._row == -1
    over_b = isinstance(b, DeviceArray) and b._row == -min(2, b.ndim)
    if over_a or over_b:
        return _summed(a, b, first.device)
    if isinstance(a, DeviceArray) and isinstance(b, DeviceArray):
        return _kernel(a, b)
    if isinstance(a, DeviceArray):
        right = _operand(b, a.device)
        parts = [block @ right for block in _blocks(a)]
        return a._kept(_joined(parts, a.device, 0), -np.ndim(b))
    return _product(b.T, np.asarray(a).T).T


def _blocks(a: DeviceArray) -> Iterator[Any]:
    """Rows, the first axis of an array, in the type in which is computed."""
    n, step = a.shape[0], a.device.block_rows(a.size // max(1, a.shape[0]))
    if a.array.dtype == a.device.working or n <= step:
        step = max(n, 1)
    for start in range(0, max(n, 1), step):
        yield a.device.as_working(a.array[start : min(start + step, n), ...])


def _joined(parts: list[Any], device: Device, axis: int) -> Any:
    return parts[0] if len(parts) == 1 else device.xp.concat(parts, axis=axis)


def _summed(a: Any, b: Any, device: Device) -> Any:
    """A product that sums over rows: it comes back."""
    n = np.shape(a)[-1]
    step = device.block_rows(max(np.size(a), np.size(b)) // max(1, n))
    done = all(
        not isinstance(each, DeviceArray) or each.array.dtype == device.working
        for each in (a, b)
    )
    if done and device.has_double:
        step = max(n, 1)
    total: Any = 0.0
    for start in range(0, max(n, 1), step):
        rows = slice(start, start + step)
        left, right = _operand(a[..., rows], device), _operand(b[rows], device)
        total = total + fetched(left @ right, device)
    return total


def _kernel(a: DeviceArray, b: DeviceArray) -> Array:
    """A product of rows with rows: it comes back, it is one of few rows."""
    return np.asarray(fetched(_operand(a, a.device) @ _operand(b, a.device), a.device))


def _concatenate(parts: Sequence[Any], axis: int = 0, **more: Any) -> Any:
    first = _first(parts)
    axis %= first.ndim
    if more or (
        axis == first.row_axis
        and not all(isinstance(each, DeviceArray) for each in parts)
    ):
        return np.concatenate(_on_host(list(parts)), axis=axis, **more)
    arrays = [_operand(each, first.device) for each in parts]
    return DeviceArray(
        first.device.xp.concat(arrays, axis=axis), first.device, first.row_axis
    )


def _hstack(parts: Sequence[Any]) -> Any:
    return _concatenate(parts, axis=min(1, _first(parts).ndim - 1))


def _stack(parts: Sequence[Any], axis: int = 0) -> Any:
    first = _first(parts)
    device, row = first.device, first.row_axis
    axis %= first.ndim + 1
    arrays = [_operand(each, device) for each in parts]
    return DeviceArray(
        device.xp.stack(arrays, axis=axis), device, row + int(axis <= row)
    )


def _where(condition: Any, a: Any, b: Any) -> Any:
    first = _first((condition, a, b))
    device = first.device
    if isinstance(condition, DeviceArray):
        mask = condition.array
    else:
        mask = device.put(np.asarray(condition, dtype=bool))
    arrays = [_operand(each, device) for each in (a, b)]
    return first._kept(device.xp.where(mask, *arrays), first._row)


def _full_like(a: DeviceArray, value: float, **more: Any) -> DeviceArray:
    array = a.device.xp.full_like(a.array, float(value), dtype=a.device.working)
    return a._kept(array, a._row)


_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.concatenate: _concatenate,
    np.hstack: _hstack,
    np.stack: _stack,
    np.where: _where,
    np.swapaxes: DeviceArray.swapaxes,
    np.full_like: _full_like,
    np.zeros_like: lambda a, **more: _full_like(a, 0.0),
    np.ones_like: lambda a, **more: _full_like(a, 1.0),
    # A method of its own does what these say.
    np.shape: lambda a: a.shape,
    np.ndim: lambda a: a.ndim,
    np.size: lambda a: a.size,
}
