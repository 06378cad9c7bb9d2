"""Checks of what an oracle problem provides beyond its oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._smoothness import ritz_values
from skbilevel.testing._place import Place
from skbilevel.testing._report import Check, check_shape

# Exact up to so many unknowns, from outside in beyond them.
_STEPS = 60

_ROUNDING = 1e-8
# Curvature, relative to the largest, that rounding alone may give.
_FLAT = 1e-14


def check_curvature(place: Place, rng: np.random.Generator) -> list[Check]:
    """Strong convexity, and the bound of smoothness."""
    name, inner, theta = place.names[0], place.inner, place.theta
    size = len(place.w)
    for w in (place.w, place.problem.w0):
        hvp = inner.at(theta, w).hvp
        low, high = ends_of_spectrum(hvp, size, rng)
        if not low > _FLAT * abs(high):
            raise AssertionError(
                f"{name}.hvp has a direction of curvature {low:.1e}, the largest being "
                f"{high:.1e}: the inner problem is not strongly convex there. Look at "
                "the sign of the penalty, or add one."
            )
    checks = [Check(f"{name}.hvp", f"positive, from {low:.1e} to {high:.1e}")]
    if "smoothness" not in inner.provides:
        return checks
    assert inner.smoothness is not None
    metric = np.asarray(inner.smoothness(theta), float)
    root = np.sqrt(np.broadcast_to(metric, place.w.shape))
    for w in (place.w, place.problem.w0):
        _, high = ends_of_spectrum(_scaled(inner.at(theta, w).hvp, root), size, rng)
        if high > 1.0 + _ROUNDING:
            raise AssertionError(
                f"{name}.smoothness is too small: the Hessian has {high:.3g} times the "
                "curvature that it allows. It has to bound the whole of it, penalty "
                "included, for all w."
            )
    note = f"bounds the Hessian, {high:.2g} of it used"
    return [*checks, Check(f"{name}.smoothness", note)]


def _scaled(hvp: Callable[[Array], Array], root: Array) -> Callable[[Array], Array]:
    return lambda d: hvp(d / root) / root


def check_hessian(place: Place) -> list[Check]:
    """The Hessian as an array."""
    if "dense_hessian" not in place.inner.provides:
        return []
    point: Any = place.inner.at(place.theta, place.w)
    H = np.asarray(point.hessian())
    pairs = [(f"{place.names[0]}.hessian", H @ d, point.hvp(d)) for d in place.moves_w]
    return [_same(pairs, "hvp as an array", "another theta or w, or a missing part")]


def check_batches(place: Place, rng: np.random.Generator) -> list[Check]:
    """Batches average to the whole, with weights of their sizes."""
    checks = []
    read = ("value", "grad", "hvp", "cross"), ("value", "grad", "grad_theta")
    for (name, level), oracles in zip(place.levels, read, strict=True):
        if "row_batches" not in level.provides:
            continue
        if level.n_rows < 1:
            raise AssertionError(f"{name}.n_rows must be positive to make batches.")
        parts = _parts(level.n_rows, rng)
        whole = _read(level, place, oracles)
        means: list[Any] = [0.0] * len(oracles)
        for rows in parts:
            share = len(rows) / level.n_rows
            batch = level.take(rows)
            if batch.n_rows != len(rows):
                raise AssertionError(
                    f"{name}.take gives {batch.n_rows} rows where {len(rows)} were "
                    "asked for."
                )
            for i, value in enumerate(_read(batch, place, oracles)):
                means[i] = means[i] + share * value
        pairs = [
            (f"{name}.{oracle}", mean, all_rows)
            for oracle, mean, all_rows in zip(oracles, means, whole, strict=True)
        ]
        what = "the mean of its batches"
        hint = "divisions by the number of all rows, and what belongs to no row"
        _same(pairs, what, hint)
        checks.append(Check(f"{name}.take", "batches average to the whole"))
    return checks


def check_codes(place: Place, rng: np.random.Generator) -> list[Check]:
    """Codes of rows assemble to the derivatives of the batch."""
    q, checks = place.moves_w[0], []
    for name, level in place.levels:
        if "row_codes" not in level.provides:
            continue
        batch = level.take(_parts(level.n_rows, rng)[0])
        point = batch.at(place.theta, place.w)
        codes = batch.codes(place.theta, place.w, q)
        check_shape(f"{name}.codes", codes, (batch.n_rows, batch.n_codes))
        exact = batch.exact(place.theta, place.w, q)
        total = [a + b for a, b in zip(batch.assemble(codes), exact, strict=True)]
        if level is place.inner:
            wanted = [point.grad, point.hvp(q), point.cross(q)]
        else:
            wanted = [point.grad, point.grad_theta]
        pairs = [
            (f"{name}.codes", got, want)
            for got, want in zip(total, wanted, strict=True)
        ]
        what = "what assembles to the derivatives of the rows"
        checks.append(_same(pairs, what, "the part called exact, and the mean"))
    return checks


def _parts(n: int, rng: np.random.Generator) -> list[Array]:
    """All rows in random order, in up to three parts of different sizes."""
    order = rng.permutation(n)
    cuts = sorted({max(1, n // 6), max(1, n // 2)} - {n})
    return [part for part in np.split(order, cuts) if len(part)]


def _read(level: Any, place: Place, oracles: tuple[str, ...]) -> list[Any]:
    point = level.at(place.theta, place.w)
    values = [getattr(point, oracle) for oracle in oracles]
    d = place.moves_w[0]
    return [value(d) if callable(value) else value for value in values]


def _same(pairs: list[tuple[str, Any, Any]], what: str, look_at: str) -> Check:
    """Pairs that have to agree to rounding."""
    worst = 0.0
    for name, got, wanted in pairs:
        check_shape(name, got, np.shape(wanted))
        size = max(float(np.linalg.norm(got)), float(np.linalg.norm(wanted)))
        left = float(np.linalg.norm(np.asarray(got) - wanted))
        error = left / size if size > 0.0 else 0.0
        if error > _ROUNDING:
            raise AssertionError(
                f"{name} is not {what}: relative error {error:.1e}. Look at {look_at}."
            )
        worst = max(worst, error)
    return Check(pairs[0][0], what, error=worst)


def ends_of_spectrum(
    apply: Callable[[Array], Array], size: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Smallest and largest eigenvalue of a symmetric map.

    By Lanczos' method; a map of at most 60 unknowns is formed.
    """
    if size <= _STEPS:
        matrix = np.stack([apply(unit) for unit in np.eye(size)])
        values = np.linalg.eigvalsh(0.5 * (matrix + matrix.T))
        return float(values[0]), float(values[-1])
    start = rng.standard_normal((size, 1))
    values = ritz_values(lambda d: apply(d[:, 0])[:, None], start, _STEPS)
    return float(values[0]), float(values[-1])
