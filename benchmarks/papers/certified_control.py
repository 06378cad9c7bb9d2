"""Controllers and certificates, found together.

    python benchmarks/papers/certified_control.py
    python benchmarks/papers/certified_control.py --quick

Protocol. Two systems of the paper, with controllers that are linear in theta:

* pendulum upright, m = l = 1, damping 0.1, gravity anywhere in [9, 10.5], torque
  ``-(t1 x1 + t2 x2 + t3 x1^3)``, box ``|x_i| <= 1``, a quadratic Lyapunov function;
* PJ, ``x1' = a1 x2, x2' = a2 x1^3 + u``, ``u = -(t1 x1 + t2 x2)``, a1 in [0.9, 1.1], a2
  in [0.3, 0.37], box ``|x_i| <= 2``, a barrier of degree two. The discs of the paper,
  start and unsafe, are enclosed by squares.

The cost is the mean over starts of the integral of ``|x|^2`` (PJ: ``x1^2``) and of the
price times the square of the torque, up to a horizon. The pendulum starts at the angles
0.25 and 0.5 to both sides, with velocities -0.25, 0 and 0.25; PJ at a grid of nine
points of its start square.

Plain: the cost alone, by L-BFGS from zero (PJ: from the safe controller). Penalty: cost
and ``weight max(0, c* + 0.001)^2 / 2`` with a growing weight, as in the paper, from
zero and from the plain controller. Constraint: SLSQP under ``c* <= -0.001`` from the
regulator (PJ: from a safe controller), with the envelope as its gradient. Smooth: the
same start, with the smoothed slack through `minimize_bilevel` (temperature 0.002,
curvature 0.001, weight 1e4, gains up to 40). Every last theta is judged by the linear
program and, with its beta, by the proof in exact arithmetic. "Largest x" is the largest
component after 20 s over all starts and both ends of the uncertain numbers, in a
simulation that ends at 50; "reached" says whether one of 500 random starts gets into
the unsafe square within 10 s.

Agrees with the paper: the plain policies fail (the pendulum diverges, PJ reaches what
is unsafe); certificates of degree two are enough for both systems; the linear program
is the cheap part of an iteration.

Does not agree: with a growing penalty, from zero or from the plain policy, the search
ends at controllers without a certificate. The slack is neither smooth nor convex in
theta, and where no barrier exists it is flat; the figure shows the ridge between the
plain controller and those with a certificate. From a controller that has a certificate
the pendulum gets a better one both ways. For PJ, SLSQP leaves the controllers that have
one in its first steps, and can't come back from the flat part; the smooth problem ends
with a proof. A failure proves nothing. Times are not comparable, as the hardware
differs, and so do the programs: theirs come from Handelman's products and are
differentiated by another library, ours are in Bernstein form and need no derivative but
the envelope. Not tried: lane keeping, and attitude control, whose six states need a
number of tiles that a grid does not have.

The joint controller of the pendulum is barely stiffer than gravity, so that it decays
slowly; the proof holds all the same. What is claimed of the pendulum: every sublevel
set of V inside the box is invariant and decays, for the stated model and parameter
interval, in continuous time; the box itself need not be invariant. Of PJ: no trajectory
that starts in the start box reaches the unsafe box before it leaves the box.

Reference: Y. Wang, S. Zhan, Z. Wang, C. Huang, Z. Wang, Z. Yang, Q. Zhu (2023). Joint
differentiable optimization and verification for certified reinforcement learning.
ICCPS.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

sys.path.extend(str(folder) for folder in Path(__file__).parents[:2])

import numpy as np
from _common import markdown, median, new_figure, options, write_figure, write_page
from scipy.linalg import solve_continuous_are
from scipy.optimize import minimize

from skbilevel.certify import (
    BarrierCertificate,
    Box,
    Dynamics,
    Interval,
    LyapunovCertificate,
    Rollout,
    SineRatio,
    monomials,
    quadratic,
    simulate,
)
from skbilevel.solvers import minimize_bilevel

MARGIN, WEIGHT = 1e-3, 1e4
FIGURE = (
    "![Slack and cost between controllers](../_static/papers/certified_control.png)"
)
# Seconds per iteration of the paper's linear programs, on its hardware.
PAPER = {"pendulum": 0.81, "PJ": 0.58}


@dataclass(frozen=True)
class Case:
    """A system, its certificate, what control costs, and where searches begin."""

    name: str
    certificate: Any
    cost: Rollout
    first: np.ndarray  # of the search for the plain controller
    certified: np.ndarray
    fails: Callable[[np.ndarray], str]


def pendulum(price: float, horizon: float, tiles: int = 6) -> Case:
    """Return the case of the Lyapunov certificate."""

    def torque(x: Any, theta: Any) -> Any:
        return theta[0] * x[0] + theta[1] * x[1] + theta[2] * x[0] ** 3

    system = Dynamics(
        lambda x, theta, s: (x[1], s[0] * x[0] - x[1] * "0.1" - torque(x, theta)),
        2,
        3,
        [SineRatio(0, Interval(9, 10.5))],
    )
    box = Box([-1, -1], [1, 1])
    certificate = LyapunovCertificate(system, quadratic(2), box, tiles=tiles)
    starts = [[a, v] for a in (-0.5, -0.25, 0.25, 0.5) for v in (-0.25, 0, 0.25)]

    def running(x: Any, theta: Any, s: Any) -> Any:
        return x[0] ** 2 + x[1] ** 2 + price * torque(x, theta) ** 2

    def largest(theta: np.ndarray) -> str:
        ends = [simulate(system, theta, starts, 20, 1000, where=w)[-1] for w in (0, 1)]
        return f"{np.abs(ends).max():.1e}"

    A, B = np.array([[0, 1], [9.75, -0.1]]), np.array([[0], [1]])
    P = solve_continuous_are(A, B, np.eye(2), [[price]])
    cost = Rollout(system, running, starts, horizon, round(50 * horizon))
    regulator = np.append(P[1] / price, 0.0)
    return Case("pendulum", certificate, cost, np.zeros(3), regulator, largest)


def pj(price: float, horizon: float) -> Case:
    """Return the case of the barrier certificate."""

    def torque(x: Any, theta: Any) -> Any:
        return theta[0] * x[0] + theta[1] * x[1]

    system = Dynamics(
        lambda x, theta, s: (s[0] * x[1], s[1] * x[0] ** 3 - torque(x, theta)),
        2,
        2,
        [Interval("0.9", "1.1"), Interval("0.3", "0.37")],
    )
    start, unsafe = [1, "-0.5", 2, "0.5"], ["-1.3", "-1.5", "-0.3", "-0.5"]
    certificate = BarrierCertificate(
        system,
        monomials(2, 0, 2),
        Box([-2, -2], [2, 2]),
        [Box(start[:2], start[2:])],
        [Box(unsafe[:2], unsafe[2:])],
        rate=-2,
    )
    rng = np.random.default_rng(0)
    many = rng.uniform([1, -0.5], [2, 0.5], (500, 2))

    def reached(theta: np.ndarray) -> str:
        for where in (0, 1):
            path = simulate(system, theta, many, 10, 250, where=where)
            inside = np.logical_and.accumulate((np.abs(path) <= 2).all(axis=2))
            low, high = np.array(unsafe, dtype=float).reshape(2, 2)
            if (inside & (path >= low).all(axis=2) & (path <= high).all(axis=2)).any():
                return "yes"
        return "no"

    grid = [[a, v] for a in (1, 1.5, 2) for v in (-0.5, 0, 0.5)]
    cost = Rollout(
        system,
        lambda x, theta, s: x[0] ** 2 + price * torque(x, theta) ** 2,
        grid,
        horizon,
        round(80 * horizon),
    )
    safe = np.array([2.0, 3.0])
    return Case("PJ", certificate, cost, safe, safe, reached)


def penalized(case: Case, theta: np.ndarray, weights: Sequence[float]) -> Any:
    """Follow a growing penalty; return the last theta, the course and the steps."""
    course, steps = [], 0
    for weight in weights:

        def value(t: np.ndarray, weight: float = weight) -> tuple[float, np.ndarray]:
            cost, grad = case.cost(t)
            slack = case.certificate.solve(t)
            excess = max(0.0, slack.slack + MARGIN)
            return cost + weight / 2 * excess**2, grad + weight * excess * slack.grad

        found = minimize(value, theta, jac=True, method="L-BFGS-B")
        theta, steps = found.x, steps + found.nit
        course.append(
            [weight, case.cost(theta)[0], case.certificate.solve(theta).slack]
        )
    return theta, course, steps


def constrained(case: Case, steps: int) -> tuple[np.ndarray, int]:
    """Return theta of SLSQP, and its steps."""
    found = minimize(
        case.cost,
        case.certified,
        jac=True,
        method="SLSQP",
        constraints=[case.certificate.constraint(MARGIN)],
        options={"maxiter": steps},
    )
    return found.x, found.nit


def smoothed(case: Case, steps: int) -> tuple[np.ndarray, int]:
    """Return theta of the smooth problem, and the outer steps."""
    smooth = case.certificate.smooth(2e-3, 1e-3)
    problem = smooth.problem(
        case.cost, case.certified, weight=WEIGHT, margin=MARGIN, bounds=(-40, 40)
    )
    found = minimize_bilevel(problem, tol=1e-5, max_iter=steps)
    return found.theta, found.n_iter


def race(
    case: Case, weights: Sequence[float], most: int
) -> tuple[list[Any], list[Any], Any]:
    """Return a row for every method, the course of the penalty, and all thetas."""
    rows, thetas = [], {}

    def judge(name: str, theta: np.ndarray, steps: Any, began: float) -> None:
        seconds = process_time() - began
        slack = case.certificate.solve(theta)
        proof = case.certificate.prove(theta, slack.beta)
        cost = case.cost(theta)[0]
        holds = "yes" if proof.holds else "no"
        spent = [steps, seconds] if steps else ["-", "-"]
        rows.append([name, cost, slack.slack, holds, case.fails(theta), *spent])
        thetas[name] = theta

    began = process_time()
    plain = minimize(case.cost, case.first, jac=True, method="L-BFGS-B")
    judge("plain", plain.x, plain.nit, began)
    judge("start with a certificate", case.certified, 0, began)
    for name, start in (("zero", 0 * plain.x), ("plain", plain.x)):
        began = process_time()
        theta, course, steps = penalized(case, start, weights)
        judge(f"penalty from {name}", theta, steps, began)
    for name, search in (("constraint", constrained), ("smooth", smoothed)):
        began = process_time()
        judge(name, *search(case, most), began)
    return rows, course, thetas


def seconds(repeats: int, work: Callable[[], Any]) -> float:
    """Return the median time of some work."""
    times = []
    for _ in range(repeats):
        began = process_time()
        work()
        times.append(process_time() - began)
    return float(median(times))


def size(case: Case, repeats: int) -> list[Any]:
    """Return the size of a program, and seconds of what an iteration needs."""
    theta = case.certified
    solve, prove = case.certificate.solve, case.certificate.prove
    slack = solve(theta)
    return [
        case.name,
        2,
        len(slack.beta) + 1,
        slack.n_constraints,
        seconds(repeats, lambda: solve(theta)),
        seconds(repeats, lambda: case.cost(theta)),
        PAPER[case.name],
        seconds(repeats, lambda: prove(theta, slack.beta)),
    ]


def refinements(grids: Sequence[int]) -> list[list[Any]]:
    """Return what more tiles do to the slack of the regulator, and to its proof."""
    rows = []
    for tiles in grids:
        case = pendulum(0.3, 0.5, tiles)
        slack = case.certificate.solve(case.certified)
        proof = case.certificate.prove(case.certified, slack.beta)
        smallest = float(proof.smallest_coefficient)
        holds = "yes" if proof.holds else "no"
        rows.append(
            [tiles, slack.n_constraints, slack.slack, holds, smallest, proof.n_tiles]
        )
    return rows


def draw(case: Case, thetas: dict[str, np.ndarray]) -> Any:
    """Return slack and cost on the way from the plain to other controllers."""
    figure, (left, right) = new_figure(2)
    ends = {"start with a certificate": "regulator", "smooth": "joint controller"}
    for name, label in ends.items():
        way = np.linspace(0, 1, 60)
        points = [(1 - t) * thetas["plain"] + t * thetas[name] for t in way]
        slacks = [case.certificate.solve(each).slack for each in points]
        left.plot(way, slacks, label=f"from plain to the {label}")
        right.plot(way, [case.cost(each)[0] for each in points])
    left.axhline(0.0, color="0.5", linewidth=0.8)
    left.set(xlabel="share of the way", ylabel="slack c*", ylim=(-0.2, 0.8))
    right.set(xlabel="share of the way", ylabel="cost")
    left.legend()
    return figure


def main() -> None:
    """Run everything, print tables, write the page."""
    args = options(__doc__)
    quick = args.quick
    weights, most = ((1e2,), 2) if quick else ((1.0, 1e2, 1e4), 100)
    lyapunov = {
        "price 0.3, horizon 0.5": pendulum(0.3, 0.5, 3 if quick else 6),
        "price 1, horizon 1": pendulum(1.0, 1.0, 3 if quick else 6),
    }
    barrier = pj(0.3, 0.5)
    head = ["controller", "cost", "c*", "proved"]
    spent = ["steps", "seconds"]
    parts = ["# Certified control", (__doc__ or "").split("\n\n", 2)[2].strip(), FIGURE]
    drawn = None
    for name, case in list(lyapunov.items())[: 1 if quick else None]:
        rows, course, thetas = race(case, weights, most)
        drawn = drawn or (case, thetas)
        parts.append(f"## Pendulum: {name}")
        parts.append(markdown([*head, "largest x", *spent], rows))
        parts.append("The growing penalty, from the plain controller:")
        parts.append(markdown(["weight", "cost", "c*"], course))
    rows, course, _ = race(barrier, weights, most)
    parts += ["## PJ: price 0.3, horizon 0.5"]
    parts.append(markdown([*head, "reached", *spent], rows))
    parts.append("The growing penalty, from the plain controller:")
    parts.append(markdown(["weight", "cost", "c*"], course))
    parts.append("## Sizes, and seconds per iteration")
    header = [
        "system",
        "degree",
        "unknowns",
        "inequalities",
        "program, s",
        "rollout, s",
    ]
    header += ["paper (LP), s", "proof, s"]
    cases = [lyapunov["price 0.3, horizon 0.5"], barrier]
    parts.append(markdown(header, [size(case, 2 if quick else 9) for case in cases]))
    parts.append("## Refined tiles, for the regulator")
    header = ["tiles", "inequalities", "c*", "proved", "smallest coefficient", "forms"]
    parts.append(markdown(header, refinements((2,) if quick else (3, 4, 6, 8, 12))))
    text = "\n\n".join(parts)
    print(text)
    if not quick and drawn is not None:
        write_page(args.out, "certified_control", text)
        write_figure(args.out, "certified_control", draw(*drawn))


if __name__ == "__main__":
    main()
