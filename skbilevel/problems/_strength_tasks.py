"""How strengths of several tasks enter one vector of coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.problems._bilevel import BilevelProblem, Task
from skbilevel.problems._datafit import DataFit


@record
class StrengthTasks:
    """The penalty of all tasks on one vector w, coefficients side by side.

    ::

        sum_k 0.5 sum_jt d_kjt w_kjt^2,   d_kjt = 1 / (v_kjt W_k)

    with W_k the weight of the training rows: data fits are means over them.

    Parameters
    ----------
    problem : BilevelProblem
        Its variances have to stay positive on the whole box.
    """

    problem: BilevelProblem

    @property
    def tasks(self) -> tuple[Task, ...]:
        """Tasks, or stacks of them."""
        return self.problem.tasks

    @cached_property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shape of the coefficients of every task."""
        return [
            (*task.inner.batch, task.inner.n_features, task.inner.n_targets)
            for task in self.tasks
        ]

    @cached_property
    def size(self) -> int:
        """Length of w."""
        return int(sum(np.prod(shape) for shape in self.shapes))

    def split(self, w: Array) -> list[Array]:
        """Coefficients of every task."""
        out, start = [], 0
        for shape in self.shapes:
            stop = start + int(np.prod(shape))
            out.append(w[start:stop].reshape(shape))
            start = stop
        return out

    @cached_property
    def weight_sums(self) -> list[Array]:
        """W_k of every task, broadcast to its coefficients."""
        return [
            np.asarray(task.inner.weight_sum)[..., None, None] for task in self.tasks
        ]

    def shares(self, outer: bool) -> list[Array]:
        """What each task's summed loss counts at a level.

        Inside that is one over W_k; outside it is a share in the pooled mean, ::

            weight_k / (sum of weights * weight of the rows of task k)
        """
        if not outer:
            return [1.0 / weight[..., 0, 0] for weight in self.weight_sums]
        shares = []
        for task in self.tasks:
            rows = np.asarray(task.outer.weight_sum, dtype=float)
            rows = np.where(rows > 0, rows, 1.0)
            own = np.asarray(task.weight, dtype=float)
            shares.append(own / (self.problem.total_weight * rows))
        return shares

    def fits(self, outer: bool) -> list[DataFit]:
        """Data fits of every task at a level."""
        return [task.outer if outer else task.inner for task in self.tasks]

    def hyperpenalty(self, theta: Array) -> tuple[float, Array]:
        """Hyperpenalty and its gradient in theta."""
        problem = self.problem
        if problem.hyperpenalty is None:
            return 0.0, np.zeros(len(theta))
        v = problem.parametrization.v(theta)
        value, grad = problem.hyperpenalty.value_and_grad(v)
        return float(value), problem.parametrization.vjp(theta, grad)

    def variances(self, theta: Array) -> list[Array]:
        """v of every task, (..., p, 1) or (p, t); infinite for unpenalized columns."""
        return [
            v if v.ndim == len(shape) else v[..., None]
            for v, shape in zip(self._raw(theta), self.shapes, strict=True)
        ]

    def _raw(self, theta: Array) -> list[Array]:
        """v as tasks give it, without an axis for targets where they share it."""
        shared = self.problem.parametrization
        return self._once(  # type: ignore[no-any-return]
            "v", theta, lambda at: [task.variances(shared, at) for task in self.tasks]
        )

    @cached_property
    def _known(self) -> dict[str, tuple[Array, Any]]:
        return {}

    def _once(self, name: str, theta: Array, compute: Callable[[Array], Any]) -> Any:
        """What was computed last, if theta is the same: batches ask many times."""
        known = self._known.get(name)
        if known is None or (known[0] != theta).any():
            known = theta.copy(), compute(theta)
            self._known[name] = known
        return known[1]

    def diagonal(self, theta: Array) -> Array:
        """d, of the length of w."""
        return np.asarray(self._once("d", theta, self._diagonal))

    def _diagonal(self, theta: Array) -> Array:
        parts = []
        weights = self.weight_sums
        for v, weight, shape in zip(
            self.variances(theta), weights, self.shapes, strict=True
        ):
            d = 1.0 / (v * weight)
            whole = d if d.shape == shape else np.broadcast_to(d, shape)
            parts.append(whole.reshape(-1))
        diagonal = np.concatenate(parts)
        diagonal.flags.writeable = False
        return diagonal

    def cross(self, theta: Array, w: Array, d: Array) -> Array:
        """Derivative in theta of ``sum d_kjt(theta) w_kjt direction_kjt``."""
        total = np.zeros(len(theta))
        shared = self.problem.parametrization
        products = self.split(w * d)
        for task, weight, product, v in zip(
            self.tasks, self.weight_sums, products, self._raw(theta), strict=True
        ):
            own = v.ndim == product.ndim
            v = v if own else v[..., None]
            grad = -product / (v * v * weight)  # zero where v is infinite
            total += task.pull_back(shared, theta, grad if own else grad.sum(axis=-1))
        return total
