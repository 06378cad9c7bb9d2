"""The checks of problems and solvers: what is right passes, what is wrong is named."""

import ast
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpydoc.validate import validate

import skbilevel
from skbilevel.problems import (
    InnerOracles,
    OracleProblem,
    OuterOracles,
)
from skbilevel.solvers import (
    LBFGSB,
    DoubleLoop,
    GradientDescent,
    ImplicitGradient,
    Newton,
)
from skbilevel.testing import check_problem, check_solver
from skbilevel.testing._check_solver import quadratic, reference_problems, tuning
from skbilevel.testing._derivatives import remainder
from skbilevel.testing._properties import ends_of_spectrum

PACKAGE = Path(skbilevel.__file__).parent
RANDOM = np.random.default_rng(0)
EXACT = DoubleLoop(Newton(), ImplicitGradient(), LBFGSB())


def logistic(n=30, p=4, seed=0):
    """Plain functions of a logistic regression; theta and w have the same length."""
    rng = np.random.default_rng(seed)
    X, s = rng.standard_normal((n, p)), rng.choice([-1.0, 1.0], n)

    def some(rows):
        return (X, s) if rows is None else (X[rows], s[rows])

    def prob(w, rows):
        A, t = some(rows)
        return 1.0 / (1.0 + np.exp(t * (A @ w)))

    def grad(t, w, rows=None):
        A, sign = some(rows)
        return -A.T @ (sign * prob(w, rows)) / len(A) + np.exp(t) * w

    def hvp(t, w, d, rows=None):
        A, _ = some(rows)
        q = prob(w, rows)
        return A.T @ (q * (1 - q) * (A @ d)) / len(A) + np.exp(t) * d

    inner = InnerOracles(
        value=lambda t, w, rows=None: (
            np.logaddexp(0.0, -some(rows)[1] * (some(rows)[0] @ w)).mean()
            + 0.5 * np.exp(t) @ w**2
        ),
        grad=grad,
        hvp=hvp,
        cross=lambda t, w, d, rows=None: np.exp(t) * w * d,
        n_rows=n,
        smoothness=lambda t: 0.25 * np.linalg.norm(X, 2) ** 2 / n + np.exp(t),
        hessian=lambda t, w: np.stack([hvp(t, w, e) for e in np.eye(p)]),
    )
    outer = OuterOracles(
        value=lambda t, w: 0.5 * ((w - 1) ** 2).sum() + 0.1 * np.sin(t).sum(),
        grad=lambda t, w: w - 1,
        grad_theta=lambda t, w: 0.1 * np.cos(t),
    )
    return OracleProblem(inner, outer, np.zeros(p), np.full(p, -1.0), (-3.0, 3.0))


RIGHT = logistic()
IN, OUT = RIGHT.inner, RIGHT.outer
TWIST = np.triu(np.ones((4, 4)), 1)


def with_rows(function):
    """A function with the keyword ``rows``, which it passes on."""
    return lambda *args, rows=None: function(*args, rows=rows)


# What is wrong, and how the sentence begins and goes on.
WRONG_INNER = {
    "sign of the cross product": (
        {"cross": lambda t, w, d, rows=None: -np.exp(t) * w * d},
        r"InnerOracles\.cross is not the derivative of <grad, d> in theta: "
        r"slope 1\.0 where 2 .*-1 times.* sign",
    ),
    "factor two in the cross product": (
        {"cross": lambda t, w, d, rows=None: 2 * np.exp(t) * w * d},
        r"InnerOracles\.cross .*slope 1\.0.*0\.5 times",
    ),
    "factor exp(theta) left out": (
        {"cross": lambda t, w, d, rows=None: w * d},
        r"InnerOracles\.cross .*slope 1\.0.*parametrization",
    ),
    "transposed cross product": (
        {"cross": lambda t, w, d, rows=None: TWIST.T @ (np.exp(t) * w * d)},
        r"InnerOracles\.cross .*slope 1\.0.*transpose",
    ),
    "factor two in the gradient": (
        {"grad": with_rows(lambda t, w, rows: 2 * IN.grad(t, w, rows=rows))},
        r"InnerOracles\.grad is not the derivative of InnerOracles\.value in w: "
        r"slope 1\.0 .*0\.5 times",
    ),
    "penalty left out of the Hessian": (
        {"hvp": with_rows(lambda t, w, d, rows: IN.hvp(t - 50, w, d, rows=rows))},
        r"InnerOracles\.hvp is not the derivative of InnerOracles\.grad in w",
    ),
    "Hessian at another point": (
        {"hvp": with_rows(lambda t, w, d, rows: IN.hvp(t, d, d, rows=rows))},
        r"InnerOracles\.hvp is not",
    ),
    "Hessian that is not symmetric": (
        {
            "hvp": with_rows(
                lambda t, w, d, rows: IN.hvp(t, w, d + TWIST @ d, rows=rows)
            )
        },
        r"InnerOracles\.hvp is not symmetric",
    ),
    "product by differences": (
        {
            "hvp": with_rows(
                lambda t, w, d, rows: (
                    (IN.grad(t, w + 1e-3 * d, rows=rows) - IN.grad(t, w, rows=rows))
                    / 1e-3
                )
            )
        },
        r"InnerOracles\.hvp is not (symmetric|linear|the derivative)",
    ),
    "batches that are sums": (
        {
            "grad": lambda t, w, rows=None: (
                IN.grad(t, w, rows=rows) * (1 if rows is None else len(rows))
            )
        },
        r"InnerOracles\.grad is not the mean of its batches",
    ),
    "batches without the penalty": (
        {
            "hvp": lambda t, w, d, rows=None: (
                IN.hvp(t, w, d, rows=rows) - (0.0 if rows is None else np.exp(t) * d)
            )
        },
        r"InnerOracles\.hvp is not the mean of its batches",
    ),
    "bound that is too small": (
        {"smoothness": lambda t: np.exp(t)},
        r"InnerOracles\.smoothness is too small",
    ),
    "Hessian of the data alone": (
        {"hessian": lambda t, w: IN.hessian(t, w) - np.diag(np.exp(t))},
        r"InnerOracles\.hessian is not hvp as an array",
    ),
    "matrix for a vector": (
        {"cross": lambda t, w, d, rows=None: np.outer(w, d)},
        r"InnerOracles\.cross has shape \(4, 4\) where \(4,\)",
    ),
    "not a number": (
        {"value": lambda t, w, rows=None: np.nan},
        r"InnerOracles\.value is not finite",
    ),
}
WRONG_OUTER = {
    "sign of the gradient": (
        {"grad": lambda t, w: 1 - w},
        r"OuterOracles\.grad is not the derivative of OuterOracles\.value in w.*-1 ",
    ),
    "partial derivative left out": (
        {"grad_theta": None},
        r"OuterOracles\.grad_theta is not .* at fixed w: slope 1\.0.*None stands for",
    ),
    "partial derivative through w": (
        {"grad_theta": lambda t, w: 0.1 * np.cos(t) + w},
        r"OuterOracles\.grad_theta is not",
    ),
}


@pytest.mark.parametrize("case", WRONG_INNER)
def test_wrong_inner_oracles_are_named(case):
    """Each defect alone, with its sentence."""
    changes, sentence = WRONG_INNER[case]
    with pytest.raises((AssertionError, ValueError), match=sentence):
        check_problem(replace(RIGHT, inner=replace(IN, **changes)))


@pytest.mark.parametrize("case", WRONG_OUTER)
def test_wrong_outer_oracles_are_named(case):
    """Each defect alone, with its sentence."""
    changes, sentence = WRONG_OUTER[case]
    with pytest.raises(AssertionError, match=sentence):
        check_problem(replace(RIGHT, outer=replace(OUT, **changes)))


@pytest.mark.parametrize("p", [4, 90])
def test_a_concave_direction_is_found(p):
    """One direction among many, which random ones do not see."""
    bend = np.linspace(1.0, 2.0, p)
    bend[p // 3] = -0.2
    inner = InnerOracles(
        value=lambda t, w: 0.5 * bend @ w**2 - t @ w,
        grad=lambda t, w: bend * w - t,
        hvp=lambda t, w, d: bend * d,
        cross=lambda t, w, d: -d,
    )
    outer = OuterOracles(lambda t, w: 0.5 * w @ w, lambda t, w: w)
    concave = OracleProblem(inner, outer, np.zeros(p), np.ones(p))
    with pytest.raises(
        AssertionError, match=r"hvp has a direction of curvature -2.0e-01"
    ):
        check_problem(concave)
    bend[p // 3] = 0.0  # flat
    with pytest.raises(AssertionError, match="not strongly convex"):
        check_problem(concave)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_right_oracles_pass_in_all_units(scale, seed):
    """Units of w, values and theta do not matter."""
    inner = replace(
        IN,
        value=lambda t, w, rows=None: scale**2 * IN.value(t, w / scale, rows=rows),
        grad=lambda t, w, rows=None: scale * IN.grad(t, w / scale, rows=rows),
        hvp=lambda t, w, d, rows=None: IN.hvp(t, w / scale, d, rows=rows),
        cross=lambda t, w, d, rows=None: scale * IN.cross(t, w / scale, d),
        hessian=lambda t, w: IN.hessian(t, w / scale),
    )
    outer = replace(
        OUT,
        value=lambda t, w: OUT.value(t, w / scale),
        grad=lambda t, w: OUT.grad(t, w / scale) / scale,
    )
    check_problem(replace(RIGHT, inner=inner, outer=outer), random_state=seed)


def test_report_is_a_table_of_slopes():
    """One line for each check, right slopes, and what is exact."""
    report = check_problem(RIGHT)
    slopes = {(c.oracle, c.holds.split()[0]): c.slope for c in report.checks}
    assert slopes["InnerOracles.grad", "the"] == pytest.approx(2.0, abs=0.1)
    assert slopes["InnerOracles.hvp", "the"] == pytest.approx(2.0, abs=0.1)
    assert slopes["InnerOracles.cross", "the"] == pytest.approx(2.0, abs=0.1)
    assert len(str(report).splitlines()) == len(report.checks) + 1
    assert "exact" in str(check_problem(quadratic()))


def test_points_that_were_asked_for():
    """A defect far from the start is seen there only; the box is respected."""
    seen = []

    def cross(t, w, d, rows=None):
        seen.append(t)
        return np.exp(t) * w * d * np.where(w > 50, 2.0, 1.0)

    broken = replace(RIGHT, inner=replace(IN, cross=cross))
    check_problem(broken)
    with pytest.raises(AssertionError, match="cross"):
        check_problem(broken, theta=np.full(4, 3.0), w=np.full(4, 100.0))
    assert max(t.max() for t in seen) <= 3.0


@pytest.mark.parametrize("name", reference_problems())
def test_reference_problems_are_right(name):
    """Codes and third derivatives of linear models included."""
    checked = {
        c.oracle.split(".")[1] for c in check_problem(reference_problems()[name]).checks
    }
    assert "take" in checked
    assert name == "quadratic" or {"codes", "third"} <= checked


@dataclass(frozen=True)
class Spoiled:
    """A linear model of which one part is wrong."""

    base: object
    provides: frozenset
    spoil: str

    def __getattr__(self, name):
        return getattr(self.base, name)

    def at(self, theta, w):
        return SpoiledPoint(self.base.at(theta, w), self.spoil)

    def take(self, rows):
        return Spoiled(self.base.take(rows), self.provides, self.spoil)

    def codes(self, theta, w, q):
        return self.base.codes(theta, w, q) * (1.1 if self.spoil == "codes" else 1.0)


@dataclass(frozen=True)
class SpoiledPoint:
    """A point of it."""

    base: object
    spoil: str

    def __getattr__(self, name):
        return getattr(self.base, name)

    def third(self, d):
        return self.base.third(d) * (2.0 if self.spoil == "third" else 1.0)


@pytest.mark.parametrize("spoil", ["codes", "third"])
def test_wrong_codes_and_third_derivatives_are_named(spoil):
    """Both are parts of objects with the methods of `InnerOracles`."""
    problem = tuning("logistic")
    inner = Spoiled(problem.inner, problem.inner.provides, spoil)
    with pytest.raises(AssertionError, match=rf"Spoiled\.{spoil} is not"):
        check_problem(replace(problem, inner=inner))


def test_remainders_of_known_functions():
    """Slopes of a cubic, of a quadratic, of a line, and of wrong derivatives."""
    assert remainder(lambda h: (1 + h) ** 3, 3.0).slope == pytest.approx(2.0, abs=0.1)
    assert remainder(lambda h: h**3, 0.0).slope == pytest.approx(3.0, abs=0.1)
    assert remainder(lambda h: 5 + 2 * h, 2.0).slope == np.inf
    wrong = remainder(lambda h: np.exp(h), 1.0 + 1e-4)
    assert not wrong.right
    assert wrong.error == pytest.approx(1e-4, rel=0.1)
    assert not remainder(lambda h: 1e-3 * h, 0.0).right
    assert remainder(lambda h: np.array([h, 2 * h]), np.array([2.0, 4.0])).ratio == (
        pytest.approx(0.5)
    )


def test_ends_of_a_spectrum():
    """Both branches, against the eigenvalues themselves."""
    rng = np.random.default_rng(0)
    for size in (5, 150):
        values = np.r_[-3.0, np.linspace(1, 2, size - 2), 50.0]
        Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
        H = (Q * values) @ Q.T
        assert ends_of_spectrum(lambda d, H=H: H @ d, size, rng) == pytest.approx(
            (-3.0, 50.0)
        )


@dataclass(frozen=True)
class Around:
    """A good solver with one broken promise."""

    broken: str = ""
    requires: frozenset = frozenset()

    def solve_oracles(self, problem, theta0, **options):
        """Solve, then break the promise."""
        if self.broken == "stop":
            options["on_iter"] = None
        if self.broken == "budget":
            options["max_iter"] = 1
        if self.broken == "seed":
            theta0 = np.clip(theta0 + 0.1 * RANDOM.random(), *problem.box)
        done = EXACT.solve_oracles(problem, theta0, **options)
        if self.broken == "box":
            return replace(done, theta=problem.box[1] + 0.1)
        if self.broken == "counts":
            return replace(done, counts=type(done.counts)())
        if self.broken == "history":
            return replace(done, history={"value": done.history["value"]})
        if self.broken == "lengths":
            return replace(done, history=done.history | {"value": np.zeros(1)})
        if self.broken == "w":
            return replace(done, w=None)
        if self.broken == "inputs":
            problem.w0[:] += 1.0
        if self.broken == "n_iter":
            return replace(done, n_iter=0)
        if self.broken == "shape":
            return replace(done, theta=done.theta[:1])
        return done


BROKEN = {
    "stop": "after 0 calls the status is CONVERGED",
    "budget": "of the possible decrease is left where 1e-02 was allowed",
    "seed": "same random_state differs",
    "box": "leaves its box",
    "w": "w is no inner solution",
    "counts": "counts has no passes",
    "history": "history has no passes, seconds",
    "lengths": "differ in length",
    "inputs": "changed what it was given",
    "n_iter": "n_iter is 0",
    "shape": r"theta has shape \(1,\)",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_promises_are_named(broken):
    """Each alone."""
    with pytest.raises(AssertionError, match=BROKEN[broken]):
        check_solver(Around(broken))


def test_solvers_that_keep_their_promises():
    """A table of runs; what is missing is said."""
    report = check_solver(Around())
    assert [run.suboptimality < 1e-6 for run in report.runs] == [True] * 3
    assert "left out" not in str(report)
    partly = check_solver(Around(requires=frozenset({"row_codes"})))
    assert [bool(run.left_out) for run in partly.runs] == [True, False, False]
    assert "left out: no row_codes" in str(partly)
    with pytest.raises(AssertionError, match="spelling"):
        check_solver(Around(requires=frozenset({"row_batch"})))


def test_solvers_are_values():
    """A class with state, or without words, is none."""

    class Mutable:
        requires = frozenset()

    with pytest.raises(AssertionError, match="frozen dataclass"):
        check_solver(Mutable())
    with pytest.raises(AssertionError, match="frozenset of words"):
        check_solver(Around(requires=()))


def test_a_name_is_a_solver():
    """As at the door."""
    assert len(check_solver("newton").runs) == 3


def test_a_solver_that_is_not_exact_enough():
    """Too few inner steps from a cold start give a biased hypergradient."""
    loop = DoubleLoop(GradientDescent(n_iter=1), ImplicitGradient(), LBFGSB(), ())
    with pytest.raises(AssertionError, match="possible decrease"):
        check_solver(loop)


@pytest.mark.parametrize("name", ["check_problem", "check_solver"])
def test_docstrings(name):
    """In numpydoc form, as those of the estimators."""
    ignored = {"ES01", "GL01", "GL02", "GL03", "RT02", "RT03", "SA01", "SA04", "YD01"}
    errors = validate(f"skbilevel.testing.{name}")["errors"]
    assert [e for e in errors if e[0] not in ignored] == []


def test_nothing_in_the_package_imports_the_checks():
    """They are for users and tests."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "testing" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {
            node.module or ""
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert not any(m.startswith("skbilevel.testing") for m in modules), path
