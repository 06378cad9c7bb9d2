"""Likelihoods of rows that come in blocks: a part to tune on, passes over all rows.

At given strengths the coefficients minimize ::

    F(B) = sum_i s_i loss(b + x_i W + o_i, y_i) + 0.5 sum_j alpha_j |W_j|^2,

and a pass over the blocks gives F and its gradient. With ``L L^T`` the Hessian of the
rows that strengths were tuned on, scaled to all rows, plus the penalty, the steps are
those of limited-memory BFGS in ``u = L^T B``: the first one is Newton's with a
subsampled Hessian, whose error falls as the sample grows.

Source of the first step: F. Roosta-Khorasani, M. W. Mahoney, "Sub-sampled Newton
methods", Mathematical Programming 174, 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg, sparse

from skbilevel._records import record
from skbilevel._typing import Array
from skbilevel.blocks import Block, RowBlocks
from skbilevel.model_selection._row_hashes import EVERY_RANK, Dealer, RowSample
from skbilevel.problems import Loss
from skbilevel.problems._dense_spd import diagonal_of
from skbilevel.problems._losses import facts_of
from skbilevel.solvers.inner._lbfgs import LBFGS

# Above this many coefficients the Hessian is its diagonal.
_DENSE_UP_TO = 4000
# Of coupled targets so many rows for each coefficient of a target give the Hessian.
_ROWS_FOR_HESSIAN = 20
# Added to the Hessian of what is not penalized, relative to its size.
_JITTER = 1e-10
# The end: the largest gain left, in nats, is half the square of this.
_DECREMENT, _MOST_PASSES = 1e-6, 200


@record
class RowPart:
    """A random part of the rows, and sums over all of them.

    Parameters
    ----------
    sample : RowSample
        The part; rows of positive weight.
    weight : float
        Sum of all weights.
    n_rows : int
        Rows of positive weight.
    low : float
        Smallest target, of numbers.
    counts : object
        What ``count`` of `PartOfBlock` has made; None without it.
    """

    sample: RowSample
    weight: float
    n_rows: int
    low: float
    counts: Any

    def plus(self, other: RowPart) -> RowPart:
        """Of the rows of both."""
        return RowPart(
            self.sample.plus(other.sample),
            self.weight + other.weight,
            self.n_rows + other.n_rows,
            min(self.low, other.low),
            None if self.counts is None else self.counts.plus(other.counts),
        )


@record
class PartOfBlock:
    """Makes `RowPart` of a block; can be sent to another process.

    Parameters
    ----------
    dealer : Dealer
        Ranks of the rows.
    size : int
        Rows of the sample.
    count : callable or None
        From labels and weights to what is to be counted of them.
    below : int
        Rows of larger ranks are not in the sample, see `rank_limit`.
    """

    dealer: Dealer
    size: int
    count: Callable[[Array, Array], Any] | None = None
    below: int = EVERY_RANK

    def __call__(self, block: Block) -> RowPart:
        """Of one block."""
        counted = np.flatnonzero(block.weight > 0)
        part = block.take(counted)
        part = {name: value for name, value in part.items() if value is not None}
        position = block.position[counted]
        rank = self.dealer.ranks(position, part.get("groups"))
        part["position"] = position
        y, weight = part["y"], block.weight[counted]
        number = self.count is None and len(y) > 0
        return RowPart(
            RowSample.of(self.size, rank, part, self.below),
            float(weight.sum()),
            len(counted),
            float(y.min()) if number else np.inf,
            None if self.count is None else self.count(y, weight),
        )


@record
class AllRows:
    """What the passes over all rows have to know of an estimator.

    Parameters
    ----------
    loss : Loss
        Of a linear prediction and a target.
    classes : ndarray or None
        Labels whose indicators are the targets; one column for two classes.
    factor : callable or None
        From labels to factors of the weights.
    mean_loss : bool
        Whether strengths are in units of the mean loss.
    """

    loss: Loss
    classes: Array | None = None
    factor: Callable[[Array], Array] | None = None
    mean_loss: bool = False


@record
class Link:
    """From a block to linear predictions, targets and weights.

    Parameters
    ----------
    of : AllRows
        Loss, classes and their factors.
    columns : ndarray of int
        Columns of X that have a coefficient.
    origin : ndarray of shape (len(columns),)
        Subtracted from them; zero where X is sparse or there is no intercept.
    intercept : bool
        Whether there is one, in front.
    """

    of: AllRows
    columns: Array
    origin: Array
    intercept: bool

    def taken(self, X: Any) -> Any:
        """The columns that have a coefficient."""
        return X if len(self.columns) == X.shape[1] else X[:, self.columns]

    def targets(self, y: Array) -> Array:
        """Targets (n, t)."""
        classes = self.of.classes
        if classes is None:
            return np.asarray(y, dtype=np.float64).reshape(len(y), 1)
        chosen = classes[1:] if len(classes) == 2 else classes
        return np.asarray(y[:, None] == chosen, dtype=np.float64)

    def weights(self, y: Array, weight: Array) -> Array:
        """Weights (n,) with the factors of the classes."""
        factor = self.of.factor
        return weight if factor is None else weight * factor(y)

    def push(self, X: Any, B: Array, offset: Array | None) -> Array:
        """Linear predictions (n, t) by coefficients (q, t)."""
        W = B[int(self.intercept) :]
        eta = np.asarray(X @ W, dtype=np.float64) - self.origin @ W
        if self.intercept:
            eta += B[0]
        return eta if offset is None else eta + offset[:, None]

    def pull(self, X: Any, R: Array) -> Array:
        """The transpose: (q, t) of (n, t)."""
        total = R.sum(axis=0)
        body = np.asarray(X.T @ R) - self.origin[:, None] * total
        return np.vstack([total, body]) if self.intercept else body


@record
class ValueAndGradient:
    """A sum over rows, and its gradient (q, t)."""

    value: float
    grad: Array

    def plus(self, other: ValueAndGradient) -> ValueAndGradient:
        """Of the rows of both."""
        return ValueAndGradient(self.value + other.value, self.grad + other.grad)


@record
class GradientOfBlock:
    """Loss and gradient of a block at coefficients (q, t)."""

    link: Link
    B: Array

    def __call__(self, block: Block) -> ValueAndGradient:
        """Of one block."""
        link, X = self.link, self.link.taken(block.X)
        y, s = link.targets(block.y), link.weights(block.y, block.weight)[:, None]
        # Single precision products would end the descent early.
        if not sparse.issparse(X):
            X = X.astype(np.float64, copy=False)
        eta = link.push(X, self.B, block.offset)
        with np.errstate(over="ignore", invalid="ignore"):
            value = float((s * link.of.loss.value(eta, y)).sum())
            grad = link.pull(X, s * link.of.loss.grad(eta, y))
        return ValueAndGradient(value, grad)


def sample_hessian(link: Link, parts: dict[str, Any], B: Array, share: float) -> Array:
    """Hessian (q t, q t) of the rows of a sample over ``share``, targets by blocks.

    Of many coefficients the diagonal alone, of shape (q t,).
    """
    q, t = B.shape
    rows = slice(None)
    coupled = facts_of(link.of.loss).coupled
    if coupled and q * t <= _DENSE_UP_TO:
        rows = slice(max(2000, _ROWS_FOR_HESSIAN * q))
    X, y = link.taken(parts["X"])[rows], parts["y"][rows]
    weight = parts.get("sample_weight")
    given = np.ones(len(y)) if weight is None else weight[rows]
    share = share * len(y) / len(parts["y"])
    s = link.weights(y, given)[:, None] / share
    offset = parts["offset"][rows] if "offset" in parts else None
    eta = link.push(X, B, offset)
    if q * t > _DENSE_UP_TO:
        curved = s * link.of.loss.curvature(eta, link.targets(y))
        squares = X.multiply(X) if sparse.issparse(X) else np.square(X, dtype=float)
        mean = 2.0 * link.origin[:, None] * np.asarray(X.T @ curved)
        body = np.asarray(squares.T @ curved) - mean
        body += link.origin[:, None] ** 2 * curved.sum(axis=0)
        head = [curved.sum(axis=0)] if link.intercept else []
        return np.vstack([*head, body]).T.ravel()
    X = X.toarray() if sparse.issparse(X) else X
    Z = X.astype(np.float64) - link.origin
    if link.intercept:
        Z = np.hstack([np.ones((len(Z), 1)), Z])
    apply = link.of.loss.second_derivative(eta, link.targets(y))
    H = np.zeros((t, q, t, q))
    for k in range(t):
        column = s * apply(np.repeat(np.eye(t)[k : k + 1], len(Z), axis=0))
        for j in range(k + 1) if coupled else [k]:
            H[k, :, j] = (Z * column[:, j : j + 1]).T @ Z
            H[j, :, k] = H[k, :, j].T
    return H.reshape(t * q, t * q)


@record
class PooledLoss:
    """F in ``u``, where its Hessian is close to one; what `LBFGS` asks of a problem.

    Parameters
    ----------
    blocks : RowBlocks
        All rows.
    link : Link
        What is computed of a block.
    alpha : ndarray of shape (q, t)
        Strengths; zero of what is not penalized, infinite of what is left out.
    start : ndarray of shape (q, t)
        Where u is zero.
    factor : ndarray
        L of the dense Hessian, or the root of a diagonal one.
    tell : callable
        Is told F after every pass.
    """

    blocks: RowBlocks
    link: Link
    alpha: Array
    start: Array
    factor: Array
    tell: Callable[[float], None]

    provides = frozenset({"smoothness"})

    @property
    def smoothness(self) -> Callable[[Array], Any]:
        """One: the metric is in the coordinates."""
        return lambda theta: 1.0

    @property
    def used(self) -> Array:
        """Mask of the coefficients, target by target, that are not left out."""
        return np.isfinite(self.alpha).T.ravel()

    def coefficients(self, u: Array) -> Array:
        """B (q, t) at u."""
        step = _solve(self.factor, u, True)
        flat = np.zeros(self.alpha.size)
        flat[self.used] = step
        return self.start + flat.reshape(self.alpha.shape[::-1]).T

    def at(self, theta: Array, w: Array) -> ValueAndGradient:
        """One pass; there is no theta."""
        B = self.coefficients(w)
        sums = self.blocks.map_reduce(
            GradientOfBlock(self.link, B), ValueAndGradient.plus
        )
        alpha = np.where(np.isfinite(self.alpha), self.alpha, 0.0)
        value = sums.value + 0.5 * float((alpha * B * B).sum())
        grad = (sums.grad + alpha * B).T.ravel()[self.used]
        self.tell(value)
        value = value if np.isfinite(value) else np.inf
        return ValueAndGradient(value, _solve(self.factor, grad, False))


def _solve(factor: Array, b: Array, transposed: bool) -> Array:
    if factor.ndim == 1:
        return np.asarray(b / factor)
    trans = int(transposed)
    return np.asarray(linalg.solve_triangular(factor, b, trans=trans, lower=True))


def fit_all_rows(
    blocks: RowBlocks,
    link: Link,
    alpha: Array,
    start: Array,
    hessian: Array,
    tell: Callable[[float], None],
) -> tuple[Array, bool]:
    """Coefficients (q, t) at strengths (q, t), and whether they have converged."""
    used = np.isfinite(alpha).T.ravel()
    penalty = np.where(used, alpha.T.ravel(), 0.0)[used]
    problem: Any = PooledLoss(
        blocks, link, alpha, start, _factor(hessian, used, penalty), tell
    )
    descent = LBFGS(scaled=hessian.ndim == 1, max_iter=_MOST_PASSES)
    found = descent.solve(
        problem,
        np.empty(0),
        np.zeros(int(used.sum())),
        threshold=_DECREMENT,
        rng=np.random.default_rng(0),
    )
    return problem.coefficients(found.w), found.converged


def _factor(hessian: Array, used: Array, penalty: Array) -> Array:
    """L of the Hessian and the penalty, or roots where it is diagonal."""
    if hessian.ndim == 1:
        own = hessian[used] + penalty
        return np.sqrt(np.maximum(own, 1e-12 * own.max(initial=1e-300)))
    H = hessian[np.ix_(used, used)]
    diagonal = diagonal_of(H)
    diagonal += penalty
    diagonal += _JITTER * np.maximum(diagonal, diagonal.mean())
    return np.asarray(np.linalg.cholesky(H))
