"""Checks for problems and solvers of your own."""

from skbilevel.testing._check_problem import check_problem
from skbilevel.testing._check_solver import check_solver
from skbilevel.testing._report import Check, ProblemReport, SolverReport, SolverRun

__all__ = [
    "Check",
    "ProblemReport",
    "SolverReport",
    "SolverRun",
    "check_problem",
    "check_solver",
]
