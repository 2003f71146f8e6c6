"""Distributions."""

from __future__ import annotations

from typing import Any

import numpy as np

from ansatz.core.initializer import Initializer, Spec


class Constant(Initializer):
    def __init__(self, value: Any) -> None:
        self.value = value
        self.blockwise = np.ndim(value) == 0

    def fill(self, rng, out):
        out[...] = self.value

    def draw(self, rng, spec: Spec):
        return np.broadcast_to(np.asarray(self.value, spec.dtype), spec.shape).copy()


class Zeros(Initializer, name="zeros zero"):
    def fill(self, rng, out):
        out[...] = 0


class Ones(Initializer, name="ones one"):
    def fill(self, rng, out):
        out[...] = 1


class Uniform(Initializer, name="uniform"):
    def __init__(self, scale: float = 0.07) -> None:
        self.scale = scale

    def fill(self, rng, out):
        rng.random(out=out, dtype=out.dtype)
        out *= 2 * self.scale
        out -= self.scale


class Normal(Initializer, name="normal"):
    def __init__(self, sigma: float = 0.01) -> None:
        self.sigma = sigma

    def fill(self, rng, out):
        rng.standard_normal(out=out, dtype=out.dtype)
        out *= self.sigma
