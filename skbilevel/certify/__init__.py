"""Certificates: controllers and proofs, found together and verified exactly."""

from skbilevel.certify._barrier import BarrierCertificate
from skbilevel.certify._bernstein import bernstein_coefficients, enclosure
from skbilevel.certify._dynamics import Dynamics, SineRatio, simulate
from skbilevel.certify._exact import Box, Interval, exact
from skbilevel.certify._lyapunov import LyapunovCertificate
from skbilevel.certify._polynomials import Polynomial, monomials, quadratic, variables
from skbilevel.certify._program import Slack
from skbilevel.certify._proof import Proof
from skbilevel.certify._rollout import Rollout
from skbilevel.certify._smooth import SmoothSlack

__all__ = [
    "BarrierCertificate",
    "Box",
    "Dynamics",
    "Interval",
    "LyapunovCertificate",
    "Polynomial",
    "Proof",
    "Rollout",
    "SineRatio",
    "Slack",
    "SmoothSlack",
    "bernstein_coefficients",
    "enclosure",
    "exact",
    "monomials",
    "quadratic",
    "simulate",
    "variables",
]
