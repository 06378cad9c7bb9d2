"""Checks that oracles are derivatives of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.testing._place import Place
from skbilevel.testing._report import Check, check_shape

_STEPS = 10.0 ** -np.arange(1.0, 7.0, 0.5)
# Moves that change little but rounding.
_IDLE = 10.0 ** -np.arange(13.0, 9.5, -0.5)
# Smallest steps above rounding that the slope is fitted to, and how many are needed.
_FITTED, _NEEDED = 5, 3
# A wrong derivative has slope 1, a right one 2 or more.
_WANTED = 1.6
# Differences cannot tell smaller errors from rounding.
_ACCURATE = 1e-7


@record
class Remainder:
    """How ``|phi(h) - phi(0) - h D|`` falls with h.

    Parameters
    ----------
    slope : float
        Of its logarithm in that of h, over the smallest steps above rounding; infinite
        where nothing but rounding is left, as for linear functions.
    error : float
        Distance of D from a difference quotient, that of the smallest step above
        rounding, relative to the largest quotient.
    ratio : float
        Difference quotients as a multiple of D; nan if they are none.
    """

    slope: float
    error: float
    ratio: float

    @property
    def right(self) -> bool:
        """Whether D is the derivative."""
        return self.slope >= _WANTED or self.error <= _ACCURATE


def along(
    function: Callable[[Array], Array | float], x: Array, d: Array
) -> Callable[[float], Array | float]:
    """``h -> function(x + h d)``."""
    return lambda h: function(x + h * d)


def remainder(
    function: Callable[[float], Array | float],
    derivative: Array | float,
    size_of_terms: float = 0.0,
) -> Remainder:
    """The remainder of ``function`` at zero with a derivative there.

    Where the function is a sum that cancels, ``size_of_terms`` tells its rounding.
    """
    start, D = np.asarray(function(0.0), float), np.asarray(derivative, float)

    def left(h: float) -> tuple[Array, float]:
        change = np.asarray(function(float(h)), float) - start
        return change / h, float(np.linalg.norm(change - h * D))

    noise = max(left(h)[1] for h in _IDLE)
    terms = max(float(np.linalg.norm(start)), size_of_terms)
    floor = 10 * noise + 20 * np.finfo(float).eps * terms
    quotients, sizes = zip(*[left(h) for h in _STEPS], strict=True)
    rest = np.array(sizes)
    above = np.flatnonzero(rest > floor)
    size = max(float(np.linalg.norm(x)) for x in (D, *quotients))
    errors = rest / _STEPS / size if size > 0.0 else np.zeros_like(rest)
    if len(above) < _NEEDED:
        return Remainder(np.inf, float(errors.min()), 1.0)
    small = above[-_FITTED:]
    slope = np.polyfit(np.log(_STEPS[small]), np.log(rest[small]), 1)[0]
    last = small[-1]
    return Remainder(
        float(slope), float(errors[last]), _ratio(quotients[last], D, size)
    )


def _ratio(quotient: Array, D: Array, size: float) -> float:
    square = float((D * D).sum())
    if not square > 0.0:
        return np.nan
    ratio = float((quotient * D).sum()) / square
    fits = np.linalg.norm(quotient - ratio * D) <= 1e-3 * size
    return ratio if fits else np.nan


def common_ratio(parts: Sequence[Remainder]) -> float | None:
    """The factor that all remainders agree on, if it is not one."""
    ratios = np.array([part.ratio for part in parts])
    if not np.isfinite(ratios).all() or np.ptp(ratios) > 1e-2 * np.abs(ratios).max():
        return None
    middle = float(np.median(ratios))
    return None if abs(middle - 1.0) < 1e-2 else middle


# What rounding may do to a property that holds exactly.
_ROUNDING = 1e-8
# Where errors in these two are found most often.
_CROSS = (
    "its sign (the package subtracts it itself), a transpose, and factors of the "
    "parametrization such as exp(theta)"
)
_PARTIAL = (
    "terms of the value that depend on theta; None stands for zero, and what theta "
    "does through w does not belong here"
)


def check_shapes(place: Place) -> None:
    """Vectors of the right lengths, finite numbers."""
    inner, outer = place.names
    d_w, theta, w = place.moves_w[0], place.theta, place.w
    at, out = place.inner.at(theta, w), place.outer.at(theta, w)
    seen: list[tuple[str, Any, tuple[int, ...]]] = [
        (f"{inner}.value", at.value, ()),
        (f"{inner}.grad", at.grad, w.shape),
        (f"{inner}.hvp", at.hvp(d_w), w.shape),
        (f"{inner}.cross", at.cross(d_w), theta.shape),
        (f"{outer}.value", out.value, ()),
        (f"{outer}.grad", out.grad, w.shape),
        (f"{outer}.grad_theta", out.grad_theta, theta.shape),
    ]
    for name, value, shape in seen:
        check_shape(name, value, shape)
        if not np.isfinite(value).all():
            raise AssertionError(f"{name} is not finite at the point of the check.")


def check_inner(place: Place) -> list[Check]:
    """Gradient, Hessian product and cross product."""
    name, theta, w = place.names[0], place.theta, place.w
    inner, moves = place.inner, place.moves_w
    point = inner.at(theta, w)

    def pulled(d: Array) -> Callable[[Array], float]:
        return lambda t: float(d @ inner.at(t, w).grad)

    def terms(d: Array) -> float:
        return float(np.abs(d) @ np.abs(point.grad))

    values = [
        remainder(along(lambda x: inner.at(theta, x).value, w, d), d @ point.grad)
        for d in moves
    ]
    grads = [
        remainder(along(lambda x: inner.at(theta, x).grad, w, d), point.hvp(d))
        for d in moves
    ]
    crosses = [
        remainder(along(pulled(d), theta, e), point.cross(d) @ e, terms(d))
        for d, e in zip(moves, place.moves_theta, strict=True)
    ]
    of_value, of_grad = (
        f"the derivative of {name}.{each} in w" for each in ("value", "grad")
    )
    checks = [
        _slopes(f"{name}.grad", of_value, "sums against means, penalties", values),
        check_symmetry(place),
        _slopes(f"{name}.hvp", of_grad, "its scale, and where it is taken", grads),
        _slopes(
            f"{name}.cross", "the derivative of <grad, d> in theta", _CROSS, crosses
        ),
    ]
    for oracle in ("hvp", "cross"):
        check_linear(f"{name}.{oracle}", getattr(point, oracle), moves)
    return checks


def check_outer(place: Place) -> list[Check]:
    """Both partial derivatives."""
    name, theta, w, outer = place.names[1], place.theta, place.w, place.outer
    point = outer.at(theta, w)

    grads = [
        remainder(along(lambda x: outer.at(theta, x).value, w, d), d @ point.grad)
        for d in place.moves_w
    ]
    partials = [
        remainder(along(lambda t: outer.at(t, w).value, theta, e), e @ point.grad_theta)
        for e in place.moves_theta
    ]
    of_value = f"the derivative of {name}.value in"
    return [
        _slopes(f"{name}.grad", f"{of_value} w", "sums against means", grads),
        _slopes(
            f"{name}.grad_theta", f"{of_value} theta at fixed w", _PARTIAL, partials
        ),
    ]


def check_third(place: Place) -> list[Check]:
    """Third derivative along a direction."""
    if "third_derivative" not in place.inner.provides:
        return []
    name, theta, w, inner = place.names[0], place.theta, place.w, place.inner
    point: Any = inner.at(theta, w)

    def bend(d: Array) -> Callable[[Array], float]:
        return lambda x: float(d @ inner.at(theta, x).hvp(d))

    parts = [remainder(along(bend(d), w, d), point.third(d)) for d in place.moves_w]
    what = "the derivative of <d, hvp(d)> along d"
    return [_slopes(f"{name}.third", what, "its scale: it is g_www[d, d, d]", parts)]


def check_symmetry(place: Place) -> Check:
    """``<a, H b> = <b, H a>``."""
    point = place.inner.at(place.theta, place.w)
    a, b = place.moves_w[0], place.moves_w[-1] + 0.5 * np.roll(place.moves_w[0], 1)
    Ha, Hb = point.hvp(a), point.hvp(b)
    norm = np.linalg.norm
    size = norm(a) * norm(Hb) + norm(b) * norm(Ha)
    error = float(abs(a @ Hb - b @ Ha) / size) if size > 0.0 else 0.0
    name = f"{place.names[0]}.hvp"
    if error > _ROUNDING:
        raise AssertionError(
            f"{name} is not symmetric: <a, H b> and <b, H a> differ by {error:.1e} of "
            "their size. Look at a missing transpose."
        )
    return Check(name, "symmetric", error=error)


def check_linear(
    name: str, apply: Callable[[Array], Array], moves: Sequence[Array]
) -> None:
    """``A(a + 2 b) = A a + 2 A b``."""
    a, b = moves[0], moves[-1]
    wanted = apply(a) + 2 * apply(b)
    left = float(np.linalg.norm(apply(a + 2 * b) - wanted))
    if left > _ROUNDING * max(float(np.linalg.norm(wanted)), np.finfo(float).tiny):
        raise AssertionError(
            f"{name} is not linear in d. Look at terms without d, and at differences "
            "of gradients that stand for a product."
        )


def _slopes(oracle: str, what: str, look_at: str, parts: list[Remainder]) -> Check:
    """The check, or what is wrong."""
    worst = min(parts, key=lambda part: (part.right, part.slope))
    if worst.right:
        return Check(oracle, what, worst.slope, max(part.error for part in parts))
    ratio = common_ratio([part for part in parts if not part.right])
    factor = ""
    if ratio is not None:
        factor = f" Differences are {ratio:.3g} times what it gives."
    raise AssertionError(
        f"{oracle} is not {what}: slope {worst.slope:.1f} where 2 was expected, "
        f"relative error {worst.error:.1e}.{factor} Look at {look_at}."
    )
