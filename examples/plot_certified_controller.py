"""
Can a controller come with a proof?
===================================

A controller that is tuned on short simulations may look good and fall over later. Here
a pendulum is held upright, with a gravity that is not known exactly. The cost of
control is minimized together with a certificate, the inner problem, and then a proof is
made in exact arithmetic.
"""

# %%
# The system
# ----------
#
# With the sine written as ``s * angle``, where s has a known range on every part of the
# box, the system is a polynomial. The torque is linear in theta.

import matplotlib.pyplot as plt
import numpy as np
from scipy.linalg import solve_continuous_are
from scipy.optimize import minimize

from skbilevel.certify import (
    Box,
    Dynamics,
    Interval,
    LyapunovCertificate,
    Rollout,
    SineRatio,
    quadratic,
    simulate,
)
from skbilevel.solvers import minimize_bilevel


def torque(x, theta):
    return theta[0] * x[0] + theta[1] * x[1] + theta[2] * x[0] ** 3


def pendulum(x, theta, s):
    return x[1], s[0] * x[0] - x[1] * "0.1" - torque(x, theta)


system = Dynamics(pendulum, 2, 3, [SineRatio(0, gain=Interval(9, 10.5))])

# %%
# The cost
# --------
#
# Torque has a price, and a simulation ends after half a second.

PRICE = 0.3


def running_cost(x, theta, s):
    return x[0] ** 2 + x[1] ** 2 + PRICE * torque(x, theta) ** 2


starts = [[a, v] for a in (-0.5, -0.25, 0.25, 0.5) for v in (-0.25, 0, 0.25)]
cost = Rollout(system, running_cost, starts, horizon=0.5, n_steps=25)

# %%
# Two controllers: the cheapest one, and the linear quadratic regulator, which looks at
# an infinite horizon.

plain = minimize(cost, np.zeros(3), jac=True, method="L-BFGS-B").x
A, B = np.array([[0, 1], [9.75, -0.1]]), np.array([[0], [1]])
P = solve_continuous_are(A, B, np.eye(2), [[PRICE]])
regulator = np.append(P[1] / PRICE, 0.0)

# %%
# Control and certificate together
# --------------------------------
#
# The inner problem looks for a function V that falls along all trajectories; what it
# lacks is a slack, smooth in theta. It enters the door of all bilevel problems, and
# starts from a controller that has a certificate.

certificate = LyapunovCertificate(system, quadratic(2), Box([-1, -1], [1, 1]))
smooth = certificate.smooth(temperature=2e-3)
problem = smooth.problem(cost, regulator, weight=1e4, bounds=(-40, 40))
found = minimize_bilevel(problem, tol=1e-5)
joint = found.theta

# %%
# The proofs
# ----------
#
# Coefficients of V are those of the inner problem; for the others those of the linear
# program. No floating point is in a verdict.

candidates = {
    "plain": (plain, certificate.solve(plain).beta),
    "regulator": (regulator, certificate.solve(regulator).beta),
    "joint": (joint, smooth.beta(found.w)),
}
proofs = {
    name: certificate.prove(theta, beta) for name, (theta, beta) in candidates.items()
}
print("controller   cost  slack   proved  largest |x| after 20 s")
for name, (theta, _) in candidates.items():
    ends = [simulate(system, theta, starts, 20, 1000, where=w)[-1] for w in (0, 1)]
    print(
        f"{name:10} {cost(theta)[0]:6.3f} {certificate.solve(theta).slack:+.4f} "
        f"{proofs[name].holds!s:>6} {np.abs(ends).max():10.1e}"
    )

# %%
# The claim of a proof, word by word:

print(proofs["joint"].claim)

# %%
# Phase portraits
# ---------------
#
# On the left the plain controller: trajectories leave. On the right the joint one, with
# the largest sublevel set of V inside the box, which no trajectory leaves. Of starts
# outside of it the proof says no more than that V falls while they are in the box; in
# the simulation they come back, too, and slowly: the controller is barely stiffer than
# gravity.

angle, velocity = np.meshgrid(np.linspace(-1.2, 1.2, 201), np.linspace(-1.2, 1.2, 201))
states = np.stack([angle, velocity], axis=-1)
figure, axes = plt.subplots(1, 2, figsize=(9, 4.6), layout="constrained", sharey=True)
for ax, name in zip(axes, ("plain", "joint"), strict=True):
    theta = candidates[name][0]
    flow = system(theta, states)
    ax.streamplot(
        angle, velocity, flow[..., 0], flow[..., 1], color="0.75", linewidth=0.7
    )
    for where, style in ((0, "-"), (1, "--")):
        paths = simulate(system, theta, starts, 4, 400, where=where)
        ax.plot(paths[..., 0], paths[..., 1], style, color="tab:blue", linewidth=1)
    ax.plot(*np.transpose(starts), ".", color="tab:blue")
    ax.add_patch(plt.Rectangle((-1, -1), 2, 2, fill=False, color="0.3"))
    ax.set(xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), xlabel="angle")
proof = proofs["joint"]
V = sum(float(b) * m(states) for b, m in zip(proof.beta, quadratic(2), strict=True))
axes[1].contourf(
    angle, velocity, V, [0, float(proof.level)], colors="tab:green", alpha=0.2
)
axes[1].contour(angle, velocity, V, [float(proof.level)], colors="tab:green")
axes[0].set(ylabel="velocity", title="Without a certificate the pendulum falls")
axes[1].set(title="With one: proved to stay in the green set")
plt.show()

# %%
# The answer
# ----------

ratio = cost(joint)[0] / cost(regulator)[0]
print(
    f"It can: the proof holds, at {ratio:.2f} times the cost of the regulator. Without "
    "a certificate the cost would be lower, and the pendulum would fall."
)
