"""Dense layers."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from ansatz.core.module import Module
from ansatz.core.parameter import Parameter


class Dense(Module):
    def __init__(self, units, in_units=None, activation=None, use_bias=True, weight_init=None,
                 bias_init="zeros", params=None, dtype="float32"):
        super().__init__()
        self.units = units
        self.activation = activation
        self.weight = Parameter((units, in_units), weight_init, dtype=dtype)
        self.bias = Parameter((units,), bias_init, dtype=dtype) if use_bias else None

    def infer_shape(self, x):
        self.weight.shape = (self.units, x.shape[-1])

    def forward(self, x):
        return _dense(x, self.weight.value, self.bias.value if self.bias is not None else None, self.activation)

    def extra_repr(self):
        a = f", {self.activation}" if self.activation else ""
        return f"{self.weight.shape[1]} -> {self.units}{a}"


class Linear(Dense):
    def __init__(self, in_features, out_features, bias=True):
        super().__init__(out_features, in_features, use_bias=bias)


@functools.partial(jax.jit, static_argnums=3)
def _dense(x, w, b, activation):
    y = x @ w.T
    if b is not None:
        y = y + b
    return jax.nn.relu(y) if activation == "relu" else y
