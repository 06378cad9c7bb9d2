"""Checks that oracles are derivatives of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.testing._place import Place
from skbilevel.testing._report import Check
from skbilevel.testing._taylor import Remainder, along, common_ratio, remainder

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


def check_shapes(place: Place) -> list[Check]:
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
        if np.shape(value) != shape:
            raise AssertionError(
                f"{name} has shape {np.shape(value)} where {shape} was expected."
            )
        if not np.isfinite(value).all():
            raise AssertionError(f"{name} is not finite at the point of the check.")
    return []


def check_inner(place: Place) -> list[Check]:
    """Gradient, Hessian product and cross product."""
    name, theta, w = place.names[0], place.theta, place.w
    inner, moves = place.inner, place.moves_w
    point = inner.at(theta, w)

    def value(x: Array) -> float:
        return inner.at(theta, x).value

    def grad(x: Array) -> Array:
        return inner.at(theta, x).grad

    def pulled(d: Array) -> Callable[[Array], float]:
        return lambda t: float(d @ inner.at(t, w).grad)

    def terms(d: Array) -> float:
        return float(np.abs(d) @ np.abs(point.grad))

    values = [remainder(along(value, w, d), d @ point.grad) for d in moves]
    grads = [remainder(along(grad, w, d), point.hvp(d)) for d in moves]
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

    def in_w(x: Array) -> float:
        return outer.at(theta, x).value

    def in_theta(x: Array) -> float:
        return outer.at(x, w).value

    grads = [remainder(along(in_w, w, d), d @ point.grad) for d in place.moves_w]
    partials = [
        remainder(along(in_theta, theta, e), e @ point.grad_theta)
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
    size = np.linalg.norm(a) * np.linalg.norm(Hb) + np.linalg.norm(b) * np.linalg.norm(
        Ha
    )
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
