"""The options of stochastic solvers, and the state of one: steps, budget, history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from skbilevel._typing import Array
from skbilevel.problems._oracles import OracleProblem
from skbilevel.solvers._base import IterInfo, OnIter, Result, Status
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
        self, problem: Any, batches: Batches, ledger: Ledger, inner: bool
    ) -> None:
        self.problem, self.batches, self._ledger = problem, batches, ledger
        self._calls = {"n_grad": 1, "n_hvp": 1} if inner else {"n_grad": 1}
        # In the order of the batches, so that each of them is a slice of all but X.
        self._ordered = problem.take(np.concatenate(batches.parts))
        stops = np.cumsum([len(part) for part in batches.parts]).tolist()
        starts = [0, *stops[:-1]]
        self._slices = [slice(a, b) for a, b in zip(starts, stops, strict=True)]

    @property
    def n_slots(self) -> int:
        """One line for every row."""
        return int(self.problem.n_rows)

    def slots(self, k: int) -> Any:
        """The rows of the batch, in the order of the batches."""
        return self._slices[k]

    def read(self, k: int, *at: Array) -> Reading:
        """Codes of the rows of a batch."""
        batch = self._ordered.take(self._slices[k])
        self._ledger.add(batch.n_rows, 1.0, **self._calls)
        return Reading(batch.codes(*at), batch.assemble)

    def exact(self, *at: Array) -> Derivatives:
        """Penalties."""
        return tuple(self._ordered.exact(*at))


def inner_level(problem: Any, batches: Batches, ledger: Ledger, coded: bool) -> Level:
    """``(g_w, g_ww q, g_theta_w q)`` by batches."""
    if coded:
        return CodedLevel(problem, batches, ledger, True)
    return VectorLevel(
        problem, batches, lambda point, q: (point.grad, point.hvp(q), point.cross(q))
    )


def outer_level(problem: Any, batches: Batches, ledger: Ledger, coded: bool) -> Level:
    """``(f_w, f_theta)`` by batches."""
    if coded:
        return CodedLevel(problem, batches, ledger, False)
    return VectorLevel(
        problem, batches, lambda point, q: (point.grad, point.grad_theta)
    )


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
        self._began = perf_counter()
        self.problem, self.ledger = counted(problem)
        self.theta = np.clip(theta, *problem.box)
        self.w = problem.w0.astype(float)
        self.q = np.zeros_like(self.w)
        self.outer_steps = outer_steps
        coded = "row_codes" in problem.provides
        # Calls of codes are noted by the level itself.
        plain = problem if coded else self.problem
        n, m = rows_of(problem.inner), rows_of(problem.outer)
        critical = critical_size(self.problem, self.ledger)
        size = batch_size
        if size is None:
            size = default_batch_size(n + m, len(self.w), critical)
        elif size < 1:
            raise ValueError(f"batch_size must be at least 1, not {size}.")
        n_batches = max(1, round((n + m) / (2 * size)))
        dealt = [
            Batches(rows, n_batches, rng, fixed=True)
            for rows, rng in zip(
                (n, m), np.random.default_rng(random_state).spawn(2), strict=True
            )
        ]
        self.inner = inner_level(plain.inner, dealt[0], self.ledger, coded)
        self.outer = outer_level(plain.outer, dealt[1], self.ledger, coded)
        self.metric = BatchMetric(
            self.problem.inner, self.inner.batches, self.theta, self.w
        )
        self._window = _Window(self)
        self._reference: tuple[float, float, float] | None = None
        self.history: dict[str, list[float]] = {
            name: [] for name in ("value", "grad_norm", "tol", "passes", "seconds")
        }

    def move_inner(self, rho: float, D_w: Array | None, D_q: Array | None) -> None:
        """Step in w, in q, or in both, in the metric of batches at theta."""
        M = self.metric.at(self.theta, self.w)
        if D_w is not None:
            self.w = self.w - rho * D_w / M
        if D_q is not None:
            self.q = self.q - rho * D_q / M
        self._window.note(M, D_w, D_q)

    def move_outer(self, D_theta: Array, share: float) -> None:
        """Step in theta, for a share of a pass."""
        self._window.note_outer(D_theta)
        step = self.outer_steps.step(D_theta, share)
        self.theta = np.clip(self.theta - step, *self.problem.box)

    def loop(
        self,
        step: Callable[[float], None],
        rows_per_step: float,
        options: StochasticOptions,
        tol: float,
        on_iter: OnIter | None,
    ) -> Result:
        """Repeat steps until a pass ends well, the budget ends, or a callback says so.

        ``step`` is given the passes that it follows.
        """
        per_pass = max(1, round(self.ledger.n_rows / rows_per_step))
        status, n_steps, next_record = Status.BUDGET, 0, 0.0
        while self.ledger.passes < options.max_passes:
            step(n_steps / per_pass)
            n_steps += 1
            if n_steps % per_pass:
                continue
            norms = self._window.close()
            passed = n_steps / per_pass
            done = self._is_done(norms, tol, passed)
            if passed >= next_record or done:
                next_record = passed + options.record_every
                if self._record(n_steps, norms[0], tol, options, on_iter):
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

    def _record(
        self,
        n_iter: int,
        grad_norm: float,
        tol: float,
        options: StochasticOptions,
        on_iter: OnIter | None,
    ) -> bool:
        value = float("nan")
        if options.evaluate:
            value = float(self.problem.outer.at(self.theta, self.w).value)
        passes, seconds = self.ledger.passes, perf_counter() - self._began
        line = (value, grad_norm, tol, passes, seconds)
        for name, number in zip(self.history, line, strict=True):
            self.history[name].append(number)
        if on_iter is None:
            return False
        info = IterInfo(n_iter, self.theta, value, grad_norm, tol, passes, seconds)
        return bool(on_iter(info))

    def _result(self, status: Status, n_steps: int) -> Result:
        values = self.history["value"]
        return Result(
            self.theta,
            np.empty(0),
            values[-1] if values else float("nan"),
            status,
            n_steps,
            {name: np.array(column) for name, column in self.history.items()},
            self.ledger.total,
            w=self.w,
        )


class _Window:
    """Means of directions over a pass, and the size of what they say."""

    def __init__(self, run: StochasticRun) -> None:
        self._run = run
        self._clear()

    def _clear(self) -> None:
        run = self._run
        self._D_w, self._D_q = np.zeros_like(run.w), np.zeros_like(run.q)
        self._D_theta, self._theta = np.zeros_like(run.theta), np.zeros_like(run.theta)
        self._n_w = self._n_q = self._n_theta = 0
        self._metric: Array | None = None

    def note(self, metric: Array, D_w: Array | None, D_q: Array | None) -> None:
        """Directions in w and q."""
        self._metric = metric
        if D_w is not None:
            self._D_w += D_w
            self._n_w += 1
        if D_q is not None:
            self._D_q += D_q
            self._n_q += 1

    def note_outer(self, D_theta: Array) -> None:
        """A direction in theta, at the theta of the run."""
        self._D_theta += D_theta
        self._theta += self._run.theta
        self._n_theta += 1

    def close(self) -> tuple[float, float, float]:
        """Norms of the means; tells the rule for theta and begins again."""
        run = self._run
        low, high = run.problem.box
        mean = self._D_theta / self._n_theta
        blocked = ((run.theta <= low) & (mean > 0)) | ((run.theta >= high) & (mean < 0))
        free = np.where(blocked, 0.0, mean)
        run.outer_steps.after_pass(self._theta / self._n_theta, mean)
        assert self._metric is not None
        norms = (
            float(np.abs(free).max(initial=0.0)),
            metric_norm(self._D_w / self._n_w, self._metric),
            metric_norm(self._D_q / self._n_q, self._metric),
        )
        self._clear()
        return norms


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
        rule = OuterSteps(
            self.reach, decay is None, decay or 0.0, self.warm_up, self.shared_step
        )
        return StochasticRun(problem, theta0, self.batch_size, rule, random_state)
