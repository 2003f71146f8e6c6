"""Initialisers."""

from ansatz.core.initializer import Initializer, Spec
from ansatz.init.distributions import Constant, Normal, Ones, Uniform, Zeros

__all__ = ["Constant", "Initializer", "Normal", "Ones", "Spec", "Uniform", "Zeros"]
