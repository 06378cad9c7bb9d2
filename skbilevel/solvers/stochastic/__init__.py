"""Solvers that read a few rows at a time."""

from skbilevel.solvers.stochastic._amigo import AmigoSGD
from skbilevel.solvers.stochastic._soba import SABA, SOBA

__all__ = ["SABA", "SOBA", "AmigoSGD"]
