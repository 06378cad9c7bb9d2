"""A quadratic toy whose solution is known in closed form."""

import numpy as np

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import minimize_bilevel
from skbilevel.testing import check_problem

rng = np.random.default_rng(0)
A, B = rng.standard_normal((8, 8)), rng.standard_normal((8, 3))
H, goal, ridge = A.T @ A + np.eye(8), rng.standard_normal(8), 0.1

# g = 0.5 w.H w - w.B theta, so that w(theta) = H^-1 B theta.
inner = InnerOracles(
    value=lambda theta, w: 0.5 * w @ H @ w - w @ B @ theta,
    grad=lambda theta, w: H @ w - B @ theta,
    hvp=lambda theta, w, d: H @ d,
    cross=lambda theta, w, d: -B.T @ d,
)
# f = 0.5 |w - goal|^2 + 0.5 ridge |theta|^2
outer = OuterOracles(
    value=lambda theta, w: 0.5 * ((w - goal) ** 2).sum() + 0.5 * ridge * theta @ theta,
    grad=lambda theta, w: w - goal,
    grad_theta=lambda theta, w: ridge * theta,
)
problem = OracleProblem(inner, outer, w0=np.zeros(8), theta0=np.zeros(3))

print(check_problem(problem))
result = minimize_bilevel(problem, tol=1e-8)

K = np.linalg.solve(H, B)
solution = np.linalg.solve(K.T @ K + ridge * np.eye(3), K.T @ goal)
error = np.abs(result.theta - solution).max()
print(f"{result.n_iter} iterations, largest error of theta {error:.0e}")
