"""Layers."""

from ansatz import init
from ansatz.core.module import Module
from ansatz.nn.containers import Sequential
from ansatz.nn.linear import Dense, Linear

__all__ = ["Dense", "Linear", "Module", "Sequential", "init"]
