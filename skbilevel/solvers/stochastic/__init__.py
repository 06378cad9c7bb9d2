"""Solvers that read a few rows at a time."""
