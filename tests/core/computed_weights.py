"""Ways to compute a weight, which the tests of `az.parametrize` share."""

import jax.numpy as jnp
import numpy as np

import ansatz as az
from ansatz import init, nn

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)), "float32")


def symmetric(weight):
    return jnp.triu(weight) + jnp.triu(weight, 1).T


class Scaled(nn.Module):
    """A step with a parameter of its own, whose size the weight tells."""

    def __init__(self):
        super().__init__()
        self.scale = az.Parameter((None, 1), init=init.Constant(2))

    def infer_shape(self, weight):
        self.scale.shape = (weight.shape[0], 1)

    def forward(self, weight):
        return weight * self.scale.value


class Cayley(nn.Module):
    """An orthogonal matrix from the skew-symmetric part of any square one."""

    def forward(self, weight):
        skew = jnp.triu(weight, 1)
        skew = skew - skew.T
        unit = jnp.eye(len(weight), dtype=weight.dtype)
        return jnp.linalg.solve(unit + skew, unit - skew)


class Difference(nn.Module):
    """A weight from two parameters."""

    def originals(self, weight):
        return {"plus": weight, "minus": az.Parameter(weight.shape, "zeros")}

    def infer_originals(self, plus, minus):
        minus.shape = plus.shape

    def forward(self, plus, minus):
        return plus - minus

    def right_inverse(self, weight):
        return weight, jnp.zeros_like(weight)


def two_layers():
    return nn.Sequential(nn.Dense(4), nn.Dense(3))
