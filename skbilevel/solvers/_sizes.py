"""Which form of the data and which solver suit a shape, by name."""

from __future__ import annotations

# Up to this many columns, dense and sparse, Newton's method factors a Hessian.
_NEWTON_UP_TO, _SPARSE_NEWTON_UP_TO = 1500, 200
# Newton's method with factors copies the rows of every training set: of X with more
# numbers than this it takes products instead.
_COPIED_UP_TO = 10_000_000
# Numbers in the factors of all targets with strengths of their own.
_FACTOR_ENTRIES = 50_000_000
# Up to this many columns a factorization costs less than the iterations it saves.
CHOLESKY_UP_TO = 1500
# Beyond so many columns a Gram matrix is neither formed nor factored.
_PRIMAL_UP_TO = 6000
# Beyond so many rows a kernel is neither formed nor factored.
DUAL_UP_TO = 3000
# Products with a sparse X cost less than a kernel of more rows, by Newton's method.
_SPARSE_DUAL_UP_TO = 1000

# What a name of a method for ridge means where the loss is not quadratic.
RELATIVE = {
    "amigo": "newton-cg",
    "cg": "newton-cg",
    "cholesky": "newton-cholesky",
    "dual": "newton-dual",
    "stale": "newton-cholesky",
}


def choose_regime(n: int, p: int, sparse: bool = False) -> str:
    """Which data fit and solver suit n rows and p columns.

    =====================================  ==============  =========================
    shape                                  regime          inner solver
    =====================================  ==============  =========================
    p <= n and p <= 1500                   "primal"        Cholesky
    p <= n and p <= 6000 (dense)           "primal"        stale Cholesky with CG
    n < p and n <= 3000                    "dual"          Cholesky of the kernel
    else                                   "matrix-free"   CG ("amigo")
    =====================================  ==============  =========================
    """
    if p <= n and p <= (CHOLESKY_UP_TO if sparse else _PRIMAL_UP_TO):
        return "primal"
    if n < p and n <= DUAL_UP_TO:
        return "dual"
    return "matrix-free"


def too_many_factors(n: int, p: int, n_own: int) -> bool:
    """Whether ``n_own`` targets with strengths of their own need too much memory.

    Each of them has a factor of the smaller side.
    """
    return n_own > 1 and n_own * min(n, p) ** 2 > _FACTOR_ENTRIES


def choose_newton(
    n: int, p: int, sparse: bool = False, name: str = "auto", n_own: int = 1
) -> str:
    """Which inner solver of Newton's method suits a loss that is not quadratic.

    =====================================  =================
    shape                                  inner solver
    =====================================  =================
    p <= n, p <= 1500, n p <= 1e7 (dense)  "newton-cholesky"
    n < p and n <= 3000                    "newton-dual"
    else                                   "newton-cg"
    =====================================  =================

    Sparse columns are made dense up to 200 of them, and sparse rows have a kernel up to
    1000 of them. ``n_own`` targets with strengths
    of their own need a factor each: "newton-cg" beyond 50 million numbers in all.
    "exact" factors whatever the size; names of methods for ridge mean their relatives.
    """
    if name in RELATIVE.values():
        return name
    if name in RELATIVE:
        return RELATIVE[name]
    if name == "exact":
        return "newton-cholesky" if p <= n else "newton-dual"
    if too_many_factors(n, p, n_own):
        return "newton-cg"
    few = p <= n and p <= (_SPARSE_NEWTON_UP_TO if sparse else _NEWTON_UP_TO)
    if few and n * p <= _COPIED_UP_TO:
        return "newton-cholesky"
    dual_up_to = _SPARSE_DUAL_UP_TO if sparse else DUAL_UP_TO
    return "newton-dual" if n < p and n <= dual_up_to else "newton-cg"
