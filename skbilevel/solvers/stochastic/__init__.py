"""Solvers that read a few rows at a time."""

from skbilevel.solvers.stochastic._amigo import AmigoSGD
from skbilevel.solvers.stochastic._saba import SABA
from skbilevel.solvers.stochastic._soba import SOBA

__all__ = ["SABA", "SOBA", "AmigoSGD"]
