"""One strength per feature of ridge regression, tuned on validation rows.

Ten features come with thirty shuffled copies, which are of no use. A penalty on the
spread of theta, which is a part of the outer value, makes all strengths alike.
"""

import numpy as np
from sklearn.datasets import load_diabetes

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import minimize_bilevel

X, y = load_diabetes(return_X_y=True)
rng = np.random.default_rng(0)
X = np.hstack([X, *[rng.permutation(X) for _ in range(3)]]) / X.std(axis=0)[0]
y = (y - y.mean()) / y.std()
(A, a), (B, b), (C, c) = [(X[i::3], y[i::3]) for i in range(3)]  # train, valid, test
n, m, p = len(a), len(b), X.shape[1]

# The strength of feature j is exp(theta_j).
inner = InnerOracles(
    value=lambda t, w: 0.5 * ((A @ w - a) ** 2).mean() + 0.5 * np.exp(t) @ w**2,
    grad=lambda t, w: A.T @ (A @ w - a) / n + np.exp(t) * w,
    hvp=lambda t, w, d: A.T @ (A @ d) / n + np.exp(t) * d,
    cross=lambda t, w, d: np.exp(t) * w * d,
)


def outer(spread):
    return OuterOracles(
        value=lambda t, w: 0.5 * ((B @ w - b) ** 2).mean() + 0.5 * spread * t.var() * p,
        grad=lambda t, w: B.T @ (B @ w - b) / m,
        grad_theta=lambda t, w: spread * (t - t.mean()),
    )


for name, spread in {"all alike": 100.0, "one per feature": 0.0}.items():
    start, box = np.full(p, -2.0), (-9.0, 3.0)
    problem = OracleProblem(inner, outer(spread), np.zeros(p), start, box)
    result = minimize_bilevel(problem)
    kinds = np.median(np.exp(result.theta[:10])), np.median(np.exp(result.theta[10:]))
    print(f"{name:<15}  test error {((C @ result.w - c) ** 2).mean():.3f},", end=" ")
    print("median strength {:.2f}, of copies {:.2f}".format(*kinds))
