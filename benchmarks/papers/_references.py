"""SVRG and SGD with momentum as plain reference code, and the record of a run."""

from itertools import count

import numpy as np
from _logistic import LogisticProblem

BATCH = 64


class SpentError(Exception):
    """All passes are spent."""


class Record:
    """Loss gap and squared gradient norm at every whole effective pass.

    An effective pass is that of the paper: a full gradient is one, a step on b of n
    rows is b / n. ``reads`` counts what was computed: every gradient and every Hessian
    product of a batch is b / n, a third derivative half of it.
    """

    def __init__(self, problem: LogisticProblem, best: float, passes: int) -> None:
        self.problem, self.best, self.limit = problem, best, passes
        self.passes = self.reads = 0.0
        self.lines: list[tuple[float, float, float]] = []

    def spend(self, w: np.ndarray, passes: float, reads: float) -> None:
        """Note w, at which a gradient or a step is about to be computed."""
        while self.passes >= len(self.lines) - 1e-9:
            grad = self.problem.grad(w)
            gap = max(self.problem.value(w) - self.best, 0.0)
            self.lines.append((gap, float(grad @ grad), self.reads))
            if len(self.lines) > self.limit:
                raise SpentError
        self.passes += passes
        self.reads += reads

    def array(self) -> np.ndarray:
        """Rows (gap, squared norm, reads), the last one repeated to the end."""
        lines = self.lines + [self.lines[-1]] * (self.limit + 1 - len(self.lines))
        return np.array(lines)


def batches(n: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of one epoch."""
    return np.array_split(rng.permutation(n), -(-n // BATCH))


def sgd(problem, w, record: Record, rng, step: float, decay: float) -> None:
    """Heavy-ball momentum 0.9; ``step / (1 + decay * epoch)``."""
    move, n = np.zeros_like(w), len(problem.y)
    for epoch in count():
        for rows in batches(n, rng):
            record.spend(w, len(rows) / n, len(rows) / n)
            move = 0.9 * move - step / (1 + decay * epoch) * problem.batch_grad(w, rows)
            w = w + move


def svrg(problem, w, record: Record, rng, step: float) -> None:
    """A full gradient per epoch of corrected steps."""
    n = len(problem.y)
    while True:
        record.spend(w, 1.0, 1.0)
        fixed, full = w, problem.grad(w)
        for rows in batches(n, rng):
            record.spend(w, len(rows) / n, 2 * len(rows) / n)
            change = problem.batch_grad(w, rows) - problem.batch_grad(fixed, rows)
            w = w - step * (change + full)
