"""The options of stochastic solvers, and the state of one: steps, budget, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._base import OnIter, Result, Status, Trace, stationarity
from skbilevel.solvers._batch_metric import (
    BatchMetric,
    critical_size,
    default_batch_size,
)
from skbilevel.solvers._batches import Batches, Derivatives, Level, Reading, VectorLevel
from skbilevel.solvers._ledger import Ledger, counted, rows_of
from skbilevel.solvers._oracle_base import check_positive, metric_norm
from skbilevel.solvers.stochastic._schedule import OuterSteps


class CodedLevel:
    """A level whose rows are a few numbers each: it provides ``row_codes``.

    Both products of a batch, with w and with q, are one call of BLAS.
    """

    def __init__(
        self, problem: Any, batches: Batches, ledger: Ledger, calls: dict[str, int]
    ) -> None:
        self.problem, self.batches = problem, batches
        self._ledger, self._calls = ledger, calls
        # In the order of the batches, so that each of them is a slice of all but X.
        self._ordered = problem.take(np.concatenate(batches.parts))
        stops = np.cumsum([len(part) for part in batches.parts]).tolist()
        starts = [0, *stops[:-1]]
        self.slots: list[Any] = list(map(slice, starts, stops))
        self.n_slots = int(problem.n_rows)

    def read(self, k: int, *at: Array) -> Reading:
        """Codes of the rows of a batch."""
        batch = self._ordered.take(self.slots[k])
        self._ledger.add(batch.n_rows, 1.0, **self._calls)
        return Reading(batch.codes(*at), batch.assemble)

    def exact(self, *at: Array) -> Derivatives:
        """Penalties."""
        return tuple(self._ordered.exact(*at))


# What is derived of a level at a point, and how a reading of it is counted: inside
# ``(g_w, g_ww q, g_theta_w q)``, outside ``(f_w, f_theta)``.
_INNER = {"n_grad": 1, "n_hvp": 1}, lambda at, q: (at.grad, at.hvp(q), at.cross(q))
_OUTER = {"n_grad": 1}, lambda at, q: (at.grad, at.grad_theta)


# A step, given the passes that it follows, and the rows that it reads.
Steps = tuple[Callable[[float], None], float]


class StochasticRun:
    """theta, w and q on their way; solvers move them by `step_inner` and the like.

    Parameters
    ----------
    problem : OracleProblem
        A mean over rows at both levels.
    theta : ndarray of shape (d,)
        Start.
    batch_size : int or None
        Rows of a batch, on average over the levels; both are cut into the same number
        of batches, so that they end their epochs together.
    outer_steps : OuterSteps
        The rule for theta.
    random_state : int
        Seeds partitions and orders.
    """

    def __init__(
        self,
        problem: OracleProblem,
        theta: Array,
        batch_size: int | None,
        outer_steps: OuterSteps,
        random_state: int,
    ) -> None:
        self.problem, self.ledger = counted(problem)
        self.trace = Trace(passes=lambda: self.ledger.passes)
        self.theta = np.clip(theta, *problem.box)
        self.w = problem.w0.astype(float)
        self.q = np.zeros_like(self.w)
        self.outer_steps = outer_steps
        coded = "row_codes" in problem.provides
        n, m = rows_of(problem.inner), rows_of(problem.outer)
        critical = critical_size(self.problem, self.ledger)
        size = batch_size or default_batch_size(n + m, len(self.w), critical)
        n_batches = max(1, round((n + m) / (2 * size)))
        rngs = np.random.default_rng(random_state).spawn(2)

        def level(side: str, rows: int, rng: np.random.Generator, kind: Any) -> Level:
            calls, derive = kind
            batches = Batches(rows, n_batches, rng, fixed=True)
            if coded:  # which notes its calls itself
                return CodedLevel(getattr(problem, side), batches, self.ledger, calls)
            return VectorLevel(getattr(self.problem, side), batches, derive)

        self.inner = level("inner", n, rngs[0], _INNER)
        self.outer = level("outer", m, rngs[1], _OUTER)
        self.metric = BatchMetric(
            self.problem.inner, self.inner.batches, self.theta, self.w
        )
        self._means = _Means()
        self._reference: tuple[float, float, float] | None = None

    def move_inner(self, rho: float, D_w: Array | None, D_q: Array | None) -> None:
        """Step in w, in q, or in both, in the metric of batches at theta."""
        self._M = M = self.metric.at(self.theta, self.w)
        if D_w is not None:
            self.w = self.w - rho * D_w / M
            self._means.note("D_w", D_w)
        if D_q is not None:
            self.q = self.q - rho * D_q / M
            self._means.note("D_q", D_q)

    def move_outer(self, D_theta: Array, share: float) -> None:
        """Step in theta, for a share of a pass."""
        self._means.note("D_theta", D_theta)
        self._means.note("theta", self.theta)
        step = self.outer_steps.step(D_theta, share)
        self.theta = np.clip(self.theta - step, *self.problem.box)

    def _end_pass(self) -> tuple[float, float, float]:
        """Norms of the mean directions; the rule for theta is told of its own."""
        means, self._means = self._means, _Means()
        mean = means.of("D_theta")
        self.outer_steps.after_pass(means.of("theta"), mean)
        free = stationarity(self.theta, mean, self.problem.box)
        return (
            float(np.abs(free).max(initial=0.0)),
            metric_norm(means.of("D_w"), self._M),
            metric_norm(means.of("D_q"), self._M),
        )

    def loop(
        self,
        step: Callable[[float], None],
        rows_per_step: float,
        options: StochasticOptions,
        tol: float,
        on_iter: OnIter | None,
    ) -> Result:
        """Repeat steps until a pass ends well, or the budget, or a callback says so."""
        per_pass = max(1, round(self.ledger.n_rows / rows_per_step))
        status, n_steps, next_record = Status.BUDGET, 0, 0.0
        self.trace.on_iter = on_iter
        while self.ledger.passes < options.max_passes:
            step(n_steps / per_pass)
            n_steps += 1
            if n_steps % per_pass:
                continue
            norms = self._end_pass()
            passed = n_steps / per_pass
            if n_steps == per_pass and not np.isfinite(norms).all():
                raise ValueError(
                    "The oracles are not finite at the start, before theta has moved: "
                    "choose another theta0 or w0, or a shorter step, or mend them."
                )
            done = self._is_done(norms, tol, passed)
            if passed >= next_record or done:
                next_record = passed + options.record_every
                value = float("nan")
                if options.evaluate:
                    value = float(self.problem.outer.at(self.theta, self.w).value)
                self.trace.add(value, norms[0], tol)
                if self.trace.tell(n_steps, self.theta):
                    status = Status.STOPPED
                    break
            if done:
                status = Status.CONVERGED
                break
        return self._result(status, n_steps)

    def _is_done(
        self, norms: tuple[float, float, float], tol: float, passed: float
    ) -> bool:
        """Whether all means over a pass are small relative to the first ones.

        A small direction in theta means nothing while w and q lag behind.
        """
        if passed <= self.outer_steps.warm_up:
            known = self._reference or (0.0, 0.0, 0.0)
            pairs = zip(known, norms, strict=True)
            self._reference = tuple(max(a, b) for a, b in pairs)  # type: ignore[assignment]
            return False
        assert self._reference is not None
        return all(a <= tol * b for a, b in zip(norms, self._reference, strict=True))

    def _result(self, status: Status, n_steps: int) -> Result:
        history, nothing = self.trace.history(), np.empty(0)
        value = float(history["value"][-1]) if len(self.trace) else float("nan")
        counts = self.ledger.total
        return Result(
            self.theta, nothing, value, status, n_steps, history, counts, w=self.w
        )


class _Means:
    """Means of vectors over a pass, by name."""

    def __init__(self) -> None:
        self._sums: dict[str, Array] = {}
        self._numbers: dict[str, int] = {}

    def note(self, name: str, vector: Array) -> None:
        """One more vector."""
        self._sums[name] = self._sums.get(name, 0.0) + vector
        self._numbers[name] = self._numbers.get(name, 0) + 1

    def of(self, name: str) -> Array:
        """Their mean."""
        return np.asarray(self._sums[name] / self._numbers[name])


@dataclass(frozen=True, kw_only=True)
class StochasticOptions:
    """Options of `SOBA`, `SABA` and `AmigoSGD`; see the first of them."""

    step: float = 0.5
    reach: float = 0.5
    batch_size: int | None = None
    max_passes: float = 200.0
    warm_up: int = 2
    shared_step: bool = False
    record_every: float = 5.0
    evaluate: bool = True
    requires = frozenset({"row_batches"})

    def __post_init__(self) -> None:
        check_positive(
            self, "step", "reach", "batch_size", "max_passes", "record_every"
        )

    def begin(
        self,
        problem: OracleProblem,
        theta0: Array,
        random_state: int,
        decay: float | None,
    ) -> StochasticRun:
        """A run at its start; steps in theta adapt to the curvature without a decay."""
        rule = OuterSteps(self.reach, decay, self.warm_up, self.shared_step)
        return StochasticRun(problem, theta0, self.batch_size, rule, random_state)

    def _steps(self, run: StochasticRun) -> Steps:
        """The step of this method."""
        raise NotImplementedError

    def solve_oracles(
        self,
        problem: OracleProblem,
        theta0: Array,
        *,
        tol: float = 1e-4,
        max_iter: int = 100,
        random_state: int = 0,
        on_iter: OnIter | None = None,
    ) -> Result:
        """Tune theta; the budget is ``max_passes``, ``max_iter`` is not looked at."""
        # Without a decay steps in theta adapt to the curvature.
        _, decay = getattr(self, "decay", (0.0, None))
        run = self.begin(problem, theta0, random_state, decay)
        step, rows = self._steps(run)
        return run.loop(step, rows, self, tol, on_iter)
