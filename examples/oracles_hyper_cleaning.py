"""Data hyper-cleaning: a few trusted rows tell which labels of others are wrong."""

import numpy as np
from scipy.special import expit, softmax
from sklearn.datasets import load_digits

from skbilevel.problems import InnerOracles, OracleProblem, OuterOracles
from skbilevel.solvers import minimize_bilevel

rng, n = np.random.default_rng(0), 300
X, y = load_digits(return_X_y=True)
train, trusted, test = np.split(X / 16.0, [n, 2 * n])
given = np.where(rng.random(n) < 0.4, rng.integers(10, size=n), y[:n])
wrong, Y, Y_trusted = given != y[:n], np.eye(10)[given], np.eye(10)[y[n : 2 * n]]


def prob(rows, w):
    return softmax(rows @ w.reshape(64, 10), axis=1)


def loss(rows, labels, w):
    return -np.log((prob(rows, w) * labels).sum(axis=1))


def pull(rows, R):  # from derivatives in the scores to one in w
    return (rows.T @ R).ravel() / n


# Row i of the training rows counts with the weight expit(theta_i).
def value(t, w):
    return expit(t) @ loss(train, Y, w) / n + 0.001 * w @ w


def grad(t, w):
    return pull(train, expit(t)[:, None] * (prob(train, w) - Y)) + 0.002 * w


def hvp(t, w, d):
    P, U = prob(train, w), train @ d.reshape(64, 10)
    bent = P * (U - (P * U).sum(axis=1, keepdims=True))
    return pull(train, expit(t)[:, None] * bent) + 0.002 * d


def cross(t, w, d):  # <gradient of row i, d> times the derivative of its weight
    along = ((prob(train, w) - Y) * (train @ d.reshape(64, 10))).sum(axis=1)
    return expit(t) * expit(-t) * along / n


outer = OuterOracles(
    value=lambda t, w: loss(trusted, Y_trusted, w).mean(),
    grad=lambda t, w: pull(trusted, prob(trusted, w) - Y_trusted),
)
inner, box = InnerOracles(value, grad, hvp, cross), (-6.0, 6.0)
problem = OracleProblem(inner, outer, np.zeros(640), np.zeros(n), box)

for max_iter in (0, 30):
    result = minimize_bilevel(problem, max_iter=max_iter)
    error = np.mean(prob(test, result.w).argmax(axis=1) != y[2 * n :])
    weights = [np.median(expit(result.theta)[rows]) for rows in (wrong, ~wrong)]
    print("weights of wrong, right labels {:.2f} {:.2f},".format(*weights), end=" ")
    print(f"test error {error:.3f} after {max_iter} iterations")
